//! What was described is made: namespaces, then configuration, servers, replication and daemons, in that order.

use std::fs;
use std::path::Path;

use super::{Builder, Parts, SemiSync};
use crate::error::{Result, at};
use crate::flavour::Family;
use crate::holder;
use crate::host::{Host, Program};
use crate::lab::Lab;
use crate::network;
use crate::settings::{self, ConfigFile};
use crate::state::HostState;
use crate::template;

impl Builder {
    pub(super) fn furnish(&self, lab: &Lab, template: Option<&Path>) -> Result<()> {
        network::create(&lab.name, &lab.dir, &lab.hosts)?;
        for host in &lab.hosts {
            holder::prepare(host, &lab.hosts)?;
            self.write_files(lab, host)?;
        }
        Self::start_holders(lab)?;
        if let Some(template) = template {
            self.start_servers(lab, template)?;
        }
        if self.parts >= Parts::Daemons {
            lab.start_daemons()?;
        }
        Ok(())
    }

    fn write_files(&self, lab: &Lab, host: &Host) -> Result<()> {
        for file in ConfigFile::ALL.into_iter().filter(|file| file.belongs_on(host.kind)) {
            let text = settings::tutorial(file, host, &lab.hosts);
            let text = self.edits.iter().fold(text, |text, edit| edit(host, file, text));
            if !text.is_empty() {
                lab.write_config(&host.name, file, &text)?;
            }
        }
        if host.has_server() {
            let mut lines = self.server_lines.clone();
            // MySQL does so by itself.
            if self.extras.replicas > 0 && lab.software.family == Family::MariaDb {
                // What comes from the other master must reach the replicas too.
                lines.insert(0, "log-slave-updates = 1".to_owned());
            }
            lines.extend(semi_sync_lines(lab.software.family, self.semi_sync));
            let path = host.dir.join("etc-mysql/my.cnf");
            let text = settings::my_cnf(host, &lab.software, &lines);
            at(fs::write(&path, text), "cannot write", &path)?;
        }
        Ok(())
    }

    fn start_holders(lab: &Lab) -> Result<()> {
        let mut starting = Vec::new();
        for host in &lab.hosts {
            starting.push((host, holder::start(&lab.dir, host)?));
        }
        lab.store.update(|state| {
            state.started.extend(starting.iter().filter_map(|(_, starting)| starting.process()));
            Ok(())
        })?;
        for (host, starting) in starting {
            let process = starting.finish(host)?;
            lab.store.update(|state| {
                let running = HostState { holder: Some(process), ..HostState::default() };
                state.running.insert(host.name.clone(), running);
                state.started.push(process);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn start_servers(&self, lab: &Lab, template: &Path) -> Result<()> {
        let mut starting = Vec::new();
        for host in lab.hosts.iter().filter(|host| host.has_server()) {
            template::copy(template, &host.dir.join("mysql"), &lab.dir)?;
            starting.push((host, lab.launch(host, Program::Server)?));
        }
        for (host, process) in starting {
            lab.wait_server(host, process)?;
        }
        lab.replicate_all(self.gtid)
    }
}

/// MariaDB has it built in; MySQL loads it, here in a way that also brings it back after a restart.
fn semi_sync_lines(family: Family, semi_sync: SemiSync) -> Vec<String> {
    if semi_sync == SemiSync::Unknown {
        return Vec::new();
    }
    let (source, replica) = match family {
        Family::MariaDb => ("master", "slave"),
        Family::MySql => ("source", "replica"),
    };
    let mut lines = Vec::new();
    if family == Family::MySql {
        lines.push("plugin-load-add = semisync_source.so;semisync_replica.so".to_owned());
    }
    lines.push(format!("rpl_semi_sync_{source}_wait_point = AFTER_SYNC"));
    if let SemiSync::On { timeout_ms } = semi_sync {
        lines.push(format!("rpl_semi_sync_{source}_enabled = 1"));
        lines.push(format!("rpl_semi_sync_{replica}_enabled = 1"));
        lines.push(format!("rpl_semi_sync_{source}_timeout = {timeout_ms}"));
    }
    lines
}
