//! Another configuration while the monitor runs: the parts follow it, the mind is told of it, and no session is dropped.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mmm_config::{SectionKind, Settings, differences};
use mmm_core::{Event, HostName, ToAgent};
use mmm_daemon::{Fixed, log_differences};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::options::Options;
use crate::sessions::AgentSession;
use crate::setup::{HostSetup, Setup};
use crate::shell::{Shell, Wiring};
use crate::{pairs, probes};

/// Messages to one agent; a session that lets so many pile up is dead.
const MESSAGES_MAX: usize = 64;

/// What is looked at only when the monitor starts.
const FIXED: &[Fixed] = &[
    Fixed::new(SectionKind::Global, "debug"),
    Fixed::new(SectionKind::Monitor, "ip"),
    Fixed::new(SectionKind::Monitor, "port"),
    Fixed::new(SectionKind::Monitor, "status_path"),
    Fixed::new(SectionKind::Monitor, "pid_path"),
    Fixed::new(SectionKind::Monitor, "mode"),
    Fixed::new(SectionKind::Monitor, "careful_startup"),
];

/// Where the configuration comes from, and what it was when it was read last.
pub(crate) struct Files {
    pub(crate) config: Settings,
    pub(crate) options: Options,
}

/// What goes on for one host.
pub(crate) struct Watched {
    pub(crate) messages: mpsc::Sender<ToAgent>,
    /// None of a host that is leaving the configuration.
    probes: Vec<AbortHandle>,
    session: AbortHandle,
    agent: SocketAddr,
}

impl Watched {
    pub(crate) fn start(wiring: &Wiring, host: &HostSetup) -> Self {
        let (messages, inbox) = mpsc::channel(MESSAGES_MAX);
        let checkups = wiring.checkups.renew(&host.name);
        let session = AgentSession { wiring: wiring.clone(), host: host.clone(), checkups };
        let session = tokio::spawn(session.run(inbox));
        let (probes, session) = (probes::start(wiring, host), session.abort_handle());
        Self { messages, probes, session, agent: host.agent }
    }

    fn end_probes(&mut self) {
        self.probes.drain(..).for_each(|probe| probe.abort());
    }

    pub(crate) fn end(mut self) {
        self.end_probes();
        self.session.abort();
    }
}

impl Shell {
    /// Goes by another configuration from now on, or says why not.
    pub(crate) fn reload(&mut self, config: Settings, began: Instant) {
        let found = differences(&self.files.config, &config);
        let running = self.wiring.setup();
        // Made anew even where nothing is different: files that are only named in it may be.
        let setup = match Setup::new(&config, &self.files.options) {
            Ok(setup) => setup.following(&running),
            Err(error) => {
                tracing::error!("The new configuration is not taken in; nothing is changed: {error:#}");
                return;
            }
        };
        let objections = self.mind.objections(&setup.mind);
        if !objections.is_empty() {
            for objection in objections {
                tracing::error!("The new configuration is not taken in; nothing is changed: {objection}");
            }
            return;
        }
        log_differences(&found, FIXED, None);
        let changed: BTreeSet<HostName> = found
            .iter()
            .filter(|difference| difference.section() == SectionKind::Host)
            .filter_map(|difference| difference.section_name().map(HostName::from))
            .collect();
        self.files.config = config;
        let setup = Arc::new(setup);
        self.setups.send_replace(Arc::clone(&setup));
        self.take_in(Event::Reconfigured(Box::new(setup.mind.clone())));
        self.follow_hosts(&setup, &changed);
        if !changed.is_empty() {
            tokio::spawn(pairs::check_auto_increment(self.wiring.clone()));
        }
        tracing::info!(
            "The configuration is in force: {} differences, {} hosts, {:.1} ms",
            found.len(),
            setup.hosts.len(),
            began.elapsed().as_secs_f64() * 1000.0
        );
    }

    /// Whoever is new is watched, whoever is reached in another way now is asked in that way, and nothing but the
    /// session goes on with whoever has to let go of roles before it is dismissed.
    fn follow_hosts(&mut self, setup: &Setup, changed: &BTreeSet<HostName>) {
        for (name, watched) in &mut self.watched {
            match setup.host(name) {
                None => watched.end_probes(),
                Some(host) if changed.contains(name) => {
                    watched.end_probes();
                    watched.probes = probes::start(&self.wiring, host);
                }
                Some(_) => {}
            }
        }
        for host in &setup.hosts {
            match self.watched.get(&host.name) {
                Some(watched) if watched.agent == host.agent => continue,
                Some(_) => {
                    if let Some(watched) = self.watched.remove(&host.name) {
                        watched.end();
                    }
                    let reason = "its address in the configuration is another one now".to_owned();
                    self.take_in(Event::AgentLost { host: host.name.clone(), reason });
                }
                None => {}
            }
            self.watched.insert(host.name.clone(), Watched::start(&self.wiring, host));
        }
    }
}
