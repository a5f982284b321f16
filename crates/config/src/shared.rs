//! What monitor and agents must agree on, as text that can be compared between hosts. Holds no secret.

use std::collections::BTreeMap;

use crate::settings::{HostMode, Settings};

/// `<host db1> ip` and the like, with their values. Lists whose order means nothing are sorted.
pub fn shared(settings: &Settings) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    values.insert("active_master_role".to_owned(), settings.active_master_role.clone());
    for (name, host) in &settings.hosts {
        let mut put =
            |variable: &str, value: String| values.insert(format!("<host {name}> {variable}"), value);
        put("ip", host.ip.to_string());
        let mode = match host.mode {
            HostMode::Master => "master",
            HostMode::Slave => "slave",
        };
        put("mode", mode.to_owned());
        if let Some(peer) = &host.peer {
            put("peer", peer.clone());
        }
        put("agent_port", host.agent_port.to_string());
        put("mysql_port", host.mysql_port.to_string());
    }
    for (name, role) in &settings.roles {
        let mut put =
            |variable: &str, value: String| values.insert(format!("<role {name}> {variable}"), value);
        let mut ips = role.ips.clone();
        ips.sort();
        put("ips", joined(&ips));
        // An agent's file may leave it out.
        if !role.hosts.is_empty() {
            let mut hosts = role.hosts.clone();
            hosts.sort();
            put("hosts", joined(&hosts));
        }
    }
    values
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
