//! What the TLS library found wrong, in words that say what to do about it.

use std::io;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

pub(super) enum Reason {
    /// The peer's certificate is at fault.
    TheirCertificate(String),
    Other(String),
}

pub(super) fn of(error: &Error) -> Reason {
    match error {
        Error::InvalidCertificate(fault) => {
            Reason::TheirCertificate(format!("its certificate {}", certificate(fault)))
        }
        Error::NoCertificatesPresented => Reason::TheirCertificate(
            "it showed no certificate: a peer needs one that is signed by an authority in ca_file".to_owned(),
        ),
        Error::AlertReceived(alert) => Reason::Other(self::alert(*alert)),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => Reason::Other(
            "it answers in plain text: its <socket> has no type ssl, or it is another program".to_owned(),
        ),
        Error::PeerIncompatible(what) => Reason::Other(format!(
            "TLS 1.2 at least is needed, and the other side can't do it as here ({what:?})"
        )),
        other => Reason::Other(other.to_string()),
    }
}

/// An error of an open connection: what the peer thinks of this side's certificate may arrive there.
pub(crate) fn explained(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => {
            io::Error::new(io::ErrorKind::ConnectionAborted, self::alert(*alert))
        }
        _ => error,
    }
}

/// Continues "its certificate …" or "the certificate …".
pub(super) fn certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::ExpiredContext { time, not_after } => {
            format!("expired {} ago: make a new one", between(*not_after, *time))
        }
        CertificateError::Expired => "expired: make a new one".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "is valid only in {}: compare the clocks of the hosts, or make a new one",
            between(*time, *not_before)
        ),
        CertificateError::NotValidYet => {
            "is not valid yet: compare the clocks of the hosts, or make a new one".to_owned()
        }
        CertificateError::UnknownIssuer => "is not signed by an authority in ca_file".to_owned(),
        CertificateError::BadSignature => {
            "is signed by another authority than the one of the same name in ca_file".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for both ends of a connection: its extendedKeyUsage must have serverAuth and clientAuth, or not be there"
                .to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed in a way that is no longer taken (SHA-1, or an RSA key below 2048 bits)".to_owned()
        }
        CertificateError::BadEncoding => "is damaged".to_owned(),
        CertificateError::Other(inner) => match inner.0.to_string().as_str() {
            "UnsupportedCertVersion" => {
                "is of X.509 version 1, which openssl makes when it is given no extensions".to_owned()
            }
            "CaUsedAsEndEntity" => "is that of an authority (CA:TRUE), not of a host".to_owned(),
            other => format!("can't be taken ({other})"),
        },
        other => format!("can't be taken ({other})"),
    }
}

/// What the peer says when it ends the connection.
fn alert(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::CertificateRequired => "it got none",
        AlertDescription::CertificateExpired => "it has expired, or is not valid yet by the clock there",
        AlertDescription::UnknownCA => "no authority in ca_file there signed it",
        AlertDescription::DecryptError => {
            "the authority of that name in ca_file there did not sign it, or in a way that is not taken"
        }
        AlertDescription::UnsupportedCertificate => "it is not for this use (extendedKeyUsage)",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => "the log there says more",
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            return "it has no version or cipher of TLS in common with this side; TLS 1.2 at least is needed"
                .to_owned();
        }
        other => return format!("it ended the connection ({other:?})"),
    };
    format!("it refused the certificate of this side: {why}")
}

fn between(earlier: UnixTime, later: UnixTime) -> String {
    let apart = Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs()));
    let (minutes, hours) = (apart.as_secs() / 60, apart.as_secs() / 3600);
    match (hours / 24, hours, minutes) {
        (0, 0, 0) => format!("{} s", apart.as_secs()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h"),
        (days, ..) => format!("{days} days"),
    }
}
