//! Where the monitor is, and what it wants shown, by the configuration that the monitor itself reads.

use std::net::SocketAddr;

use mmm_config::{Program, Request, SocketSettings};
use mmm_wire::{TlsFiles, Transport};

use crate::arguments::Arguments;

/// The folder to look for configuration files in before the usual ones.
const CONFIG_DIR_VARIABLE: &str = "MMM_CONFIG_DIR";

/// The monitor's control port.
pub(crate) struct Target {
    pub(crate) monitor: SocketAddr,
    pub(crate) transport: Transport,
}

pub(crate) fn find(arguments: &Arguments) -> anyhow::Result<Target> {
    let request = Request {
        program: Program::Control,
        cluster: arguments.cluster.clone(),
        config: arguments.config.clone(),
        config_dir: std::env::var_os(CONFIG_DIR_VARIABLE).map(Into::into),
    };
    let loaded = mmm_config::load(&request)?;
    let files = match loaded.settings.socket.clone() {
        SocketSettings::Plain => None,
        SocketSettings::Tls { cert_file, key_file, ca_file } => {
            Some(TlsFiles { cert_file, key_file, ca_file })
        }
    };
    Ok(Target { monitor: loaded.settings.control_view()?.address, transport: Transport::new(files)? })
}
