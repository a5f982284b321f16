//! Another configuration while the agent runs: its parts follow it, and neither session nor address is dropped.

use std::sync::Arc;

use anyhow::{Result, bail};
use mmm_config::{SectionKind, Settings, differences};
use mmm_core::AgentEvent;
use mmm_daemon::{Fixed, log_differences};

use crate::line_port::LineRules;
use crate::options::Options;
use crate::setup::Setup;
use crate::worker::Worker;

/// What is looked at only when the agent starts; of hosts only the agent's own.
const FIXED: &[Fixed] = &[
    Fixed::new(SectionKind::Global, "debug"),
    Fixed::new(SectionKind::Global, "active_master_role"),
    Fixed::new(SectionKind::Host, "ip"),
    Fixed::new(SectionKind::Host, "agent_port"),
    Fixed::new(SectionKind::Host, "pid_path"),
];

/// Where the configuration comes from, and what it was when it was read last.
pub(crate) struct Files {
    pub(crate) config: Settings,
    pub(crate) options: Options,
}

/// What a running agent goes by from now on.
pub(crate) fn next_setup(config: &Settings, options: &Options, running: &Setup) -> Result<Setup> {
    let setup = Setup::new(config, options)?;
    if setup.host != running.host {
        bail!(
            "`this` is {}, it was {}: which host this is changes only with a restart of the agent",
            setup.host,
            running.host
        );
    }
    Ok(setup.following(running))
}

impl Worker {
    /// Goes by another configuration from now on, or says why not.
    pub(crate) fn reload(&mut self, config: Settings) {
        let setup = match next_setup(&config, &self.files.options, &self.setup) {
            Ok(setup) => Arc::new(setup),
            Err(error) => {
                tracing::error!("The new configuration is not taken in; nothing is changed: {error:#}");
                return;
            }
        };
        let found = differences(&self.files.config, &config);
        log_differences(&found, FIXED, Some(setup.host.as_str()));
        self.files.config = config;
        self.setup = Arc::clone(&setup);
        self.setups.send_replace(Arc::clone(&setup));
        self.server_pid_file.send_replace(setup.server_pid_file.clone());
        self.line_rules.send_replace(Arc::new(LineRules::new(&setup)));
        self.calls.follow(&setup, &self.events);
        self.take_in(AgentEvent::Reconfigured(setup.mind.clone()));
        tracing::info!("The configuration is in force: {} differences", found.len());
    }
}
