//! Authorities and the hosts they make certificates for, good ones and others.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mmm_wire::{TlsFiles, Transport};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A host with the files that this authority would give it.
    pub(crate) fn host(&self, name: &str) -> Host {
        self.host_with(name, |_| {})
    }

    pub(crate) fn host_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let file = |file: &str| dir.path().join(file);
        let files =
            TlsFiles { cert_file: file("cert.pem"), key_file: file("key.pem"), ca_file: file("ca.pem") };
        let host = Host { dir, files };
        self.renew(&host, name, change);
        host
    }

    /// Gives a host new files in place of the ones it has.
    pub(crate) fn renew(&self, host: &Host, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = named(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        write(&host.files.cert_file, params.signed_by(&key, &self.0).unwrap().pem().as_bytes());
        write(&host.files.key_file, key.serialize_pem().as_bytes());
        write(&host.files.ca_file, self.0.pem().as_bytes());
    }

    /// The authority's own certificate and key, as if they were a host's.
    pub(crate) fn as_host(&self) -> Host {
        let host = self.host("authority");
        write(&host.files.cert_file, self.0.pem().as_bytes());
        write(&host.files.key_file, self.0.key().serialize_pem().as_bytes());
        host
    }
}

/// A certificate without names a library would look at, as many users of 2.2.1 have.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

pub(crate) fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2020, 1, 1);
}

pub(crate) fn not_yet_valid(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2990, 1, 1);
    params.not_after = date_time_ymd(2999, 1, 1);
}

pub(crate) fn for_servers_only(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
}

pub(crate) struct Host {
    /// Kept for as long as the files are needed.
    dir: TempDir,
    pub(crate) files: TlsFiles,
}

impl Host {
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::new(Some(self.files.clone())).unwrap()
    }
}

pub(crate) fn write(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
