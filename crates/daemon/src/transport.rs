//! From `<socket>` of the configuration to how connections are made.

use mmm_config::SocketSettings;
use mmm_wire::{TlsFileError, TlsFiles, Transport};

/// Reads the certificates where `<socket>` has `type ssl`.
pub fn transport(socket: &SocketSettings) -> Result<Transport, TlsFileError> {
    Transport::new(match socket {
        SocketSettings::Plain => None,
        SocketSettings::Tls { cert_file, key_file, ca_file } => Some(TlsFiles {
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
            ca_file: ca_file.clone(),
        }),
    })
}
