//! Certificate, key and authorities made ready for both ends of connections, after a look at them with a peer's eyes.

use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, ServerConfig};

use super::files::{Content, TlsFileError, TlsFiles};
use super::peer_check::PeerCheck;
use super::reason;

/// From here on the end of the own certificate is told of.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The only place that chooses who does the cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What one state of the files makes possible.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
    /// What is wrong with the own certificate and may pass: a clock that is still wrong, an authority that only others have.
    pub(super) warnings: Vec<String>,
}

impl Certificates {
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TlsFileError> {
        let provider = provider();
        let Content { chain, key, authorities } = files.read()?;
        let library = |error: Error| TlsFileError::Library { fault: error.to_string() };
        let certified =
            CertifiedKey::from_der(chain, key, &provider).map_err(|error| unfit(files, &error))?;
        let certified = Arc::new(certified);
        let authorities = Arc::new(authorities);
        let callers = WebPkiClientVerifier::builder_with_provider(authorities.clone(), provider.clone())
            .build()
            .map_err(|error| TlsFileError::Library { fault: error.to_string() })?;
        let called = PeerCheck { authorities, provider: provider.clone() };
        let warnings = look_at_own(files, &certified, &callers, &called)?;
        let own = Arc::new(SingleCertAndKey::from(certified));
        let versions = &[&TLS13, &TLS12];
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(library)?
            .with_client_cert_verifier(callers)
            .with_cert_resolver(own.clone());
        // Connections are kept, so nothing is gained by resuming; a resumed one would not be checked anew.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(library)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(called))
            .with_client_cert_resolver(own);
        client.resumption = Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client), warnings })
    }
}

/// Certificate and key do not make a pair that can be used.
fn unfit(files: &TlsFiles, error: &Error) -> TlsFileError {
    match error {
        Error::InconsistentKeys(_) => {
            TlsFileError::OtherKey { certificate: files.cert_file.clone(), key: files.key_file.clone() }
        }
        Error::InvalidCertificate(fault) => {
            TlsFileError::Certificate { files: files.clone(), fault: reason::certificate(fault) }
        }
        other => TlsFileError::Key { path: files.key_file.clone(), fault: other.to_string() },
    }
}

/// Looks at the own certificate as those will who are shown it. Nobody will ever take one that has a fault in itself; what
/// depends on the time and on who looks is only told of.
fn look_at_own(
    files: &TlsFiles,
    own: &CertifiedKey,
    callers: &Arc<dyn ClientCertVerifier>,
    called: &PeerCheck,
) -> Result<Vec<String>, TlsFileError> {
    let Some((certificate, between)) = own.cert.split_first() else { return Ok(Vec::new()) };
    let judge = |now: UnixTime| {
        called.judge(certificate, between, now)?;
        callers.verify_client_cert(certificate, between, now).map(drop)
    };
    let now = UnixTime::now();
    let fault = match judge(now) {
        Ok(()) => {
            let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + EXPIRES_SOON);
            let Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) =
                judge(soon)
            else {
                return Ok(Vec::new());
            };
            let days = not_after.as_secs().saturating_sub(now.as_secs()) / (24 * 3600);
            return Ok(vec![format!(
                "cert_file {} expires in {days} days: make a new one; it is taken in without a restart",
                files.cert_file.display()
            )]);
        }
        Err(Error::InvalidCertificate(fault)) => fault,
        Err(other) => return Err(TlsFileError::Library { fault: other.to_string() }),
    };
    let error = TlsFileError::Certificate { files: files.clone(), fault: reason::certificate(&fault) };
    match fault {
        CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYetContext { .. }
        | CertificateError::UnknownIssuer
        | CertificateError::BadSignature => Ok(vec![error.to_string()]),
        _ => Err(error),
    }
}
