//! Where the monitor is, by the configuration that the monitor itself reads.

use std::net::SocketAddr;

use mmm_config::{Program, Request};

use crate::arguments::Arguments;

/// The folder to look for configuration files in before the usual ones.
const CONFIG_DIR_VARIABLE: &str = "MMM_CONFIG_DIR";

/// The address of the monitor's control port.
pub(crate) fn monitor(arguments: &Arguments) -> anyhow::Result<SocketAddr> {
    let request = Request {
        program: Program::Control,
        cluster: arguments.cluster.clone(),
        config: arguments.config.clone(),
        config_dir: std::env::var_os(CONFIG_DIR_VARIABLE).map(Into::into),
    };
    let loaded = mmm_config::load(&request)?;
    Ok(loaded.settings.control_view()?.address)
}
