//! The three files of `<socket>`, read with limits, and what can be wrong with them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Longer files are refused; a chain has some kilobytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// How `cert_file`, `key_file` and `ca_file` are told apart in messages.
const CERTIFICATE: &str = "cert_file";
const KEY: &str = "key_file";
const AUTHORITY: &str = "ca_file";

/// What `<socket>` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub ca_file: PathBuf,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    #[error("cannot read {what} {}: {source}", path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{what} {} is not a regular file", path.display())]
    NotAFile { what: &'static str, path: PathBuf },
    #[error("{what} {} is longer than {FILE_BYTES_MAX} bytes", path.display())]
    TooLong { what: &'static str, path: PathBuf },
    #[error(
        "key_file {} is open to everybody (mode {mode:04o}); make it readable by its owner only: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{what} {} has no {wanted} in PEM form in it{}", path.display(), in_parentheses(fault.as_deref()))]
    Empty { what: &'static str, wanted: &'static str, path: PathBuf, fault: Option<String> },
    #[error(
        "key_file {} is protected by a passphrase, and nobody is there to type it; take it off: openssl pkey -in {} -out {}.open",
        path.display(), path.display(), path.display()
    )]
    Encrypted { path: PathBuf },
    #[error(
        "key_file {} cannot be used ({fault}): expected an RSA key of 2048 bits or more, P-256, P-384 or Ed25519; make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {}",
        path.display(), path.display()
    )]
    Key { path: PathBuf, fault: String },
    #[error(
        "cert_file {} and key_file {} do not belong together: the certificate is of another key",
        certificate.display(), key.display()
    )]
    OtherKey { certificate: PathBuf, key: PathBuf },
    #[error(
        "cert_file {} {fault}; make one that can be used, with the same key: {}",
        files.cert_file.display(), recipe(files, fault)
    )]
    Certificate { files: TlsFiles, fault: String },
    #[error("ca_file {} has a certificate in it that cannot be used ({fault})", path.display())]
    Authority { path: PathBuf, fault: String },
    #[error("TLS cannot be set up: {fault}")]
    Library { fault: String },
}

fn in_parentheses(fault: Option<&str>) -> String {
    fault.map(|fault| format!(" ({fault})")).unwrap_or_default()
}

/// The line that makes a good certificate for the key that is there. Of an authority's own certificate another one is made
/// beside it, so that nobody loses the authority.
fn recipe(files: &TlsFiles, fault: &str) -> String {
    let (key, authority) = (files.key_file.display(), files.ca_file.display());
    let line = |authority, its_key, to| {
        format!(
            "openssl req -new -key {key} -subj /CN=$(hostname) | openssl x509 -req -CA {authority} -CAkey {its_key} -CAcreateserial -days 825 -extfile <(echo basicConstraints=CA:FALSE) -out {to}"
        )
    };
    if fault.contains("CA:TRUE") || files.cert_file == files.ca_file {
        let beside = files.cert_file.with_extension("host.pem");
        let to = format!("{}, and name that file as cert_file", beside.display());
        return line(files.cert_file.display(), key.to_string(), to);
    }
    let its_key = files.ca_file.with_extension("key").display().to_string();
    line(authority, its_key, files.cert_file.display().to_string())
}

/// What the files hold.
pub(super) struct Content {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) authorities: RootCertStore,
}

impl TlsFiles {
    pub(super) fn read(&self) -> Result<Content, TlsFileError> {
        let chain = certificates(CERTIFICATE, &self.cert_file)?;
        let key = key(&self.key_file)?;
        let mut authorities = RootCertStore::empty();
        for certificate in certificates(AUTHORITY, &self.ca_file)? {
            authorities.add(certificate).map_err(|error| TlsFileError::Authority {
                path: self.ca_file.clone(),
                fault: error.to_string(),
            })?;
        }
        Ok(Content { chain, key, authorities })
    }

    /// What tells that a file has been changed or replaced; `None` while one cannot be looked at.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let look = |path: &Path| {
            let data = fs::metadata(path).ok()?;
            Some((data.ino(), data.size(), data.ctime(), data.ctime_nsec()))
        };
        Some(Stamp([look(&self.cert_file)?, look(&self.key_file)?, look(&self.ca_file)?]))
    }
}

/// The state of the files on the disk. The time of a change also grows when a file is put in place with its old times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([(u64, u64, i64, i64); 3]);

impl Stamp {
    /// Whether the last change is that long ago: certificate and key are replaced one after the other.
    pub(super) fn has_settled(&self, settle: Duration) -> bool {
        let newest = self.0.iter().map(|(_, _, seconds, nanos)| (*seconds, *nanos)).max().unwrap_or_default();
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(newest.0), u32::try_from(newest.1)) else {
            return true;
        };
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        // A change in the future means a clock that was set back.
        SystemTime::now().duration_since(changed).is_ok_and(|age| age >= settle)
            || changed.duration_since(SystemTime::now()).is_ok_and(|ahead| ahead > settle)
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let owned = || path.to_owned();
    let failed = |source| TlsFileError::Read { what, path: owned(), source };
    // Looked at before it is opened, because opening a FIFO waits for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(TlsFileError::NotAFile { what, path: owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if what == KEY && mode & 0o006 != 0 {
        return Err(TlsFileError::Exposed { path: owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsFileError::TooLong { what, path: owned() });
    }
    Ok(bytes)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let bytes = read(what, path)?;
    let empty = |fault| TlsFileError::Empty { what, wanted: "certificate", path: path.to_owned(), fault };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| empty(Some(error.to_string())))?;
    if found.is_empty() { Err(empty(None)) } else { Ok(found) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let bytes = read(KEY, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("4,ENCRYPTED") {
            TlsFileError::Encrypted { path: path.to_owned() }
        } else {
            // The library's words could hold a part of the key.
            TlsFileError::Empty { what: KEY, wanted: "private key", path: path.to_owned(), fault: None }
        }
    })
}
