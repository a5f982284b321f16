//! Both minds, small and in service, for what is said to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use mmm_core::lease::LeaseRules;
use mmm_core::{
    AgentMind, AgentSettings, Cluster, FoundState, HostMode, HostName, HostSettings, LeaseTerms, Mode,
    Moment, RoleMode, RoleSettings, Settings,
};

pub(crate) fn cluster() -> Cluster {
    let ip = |last| IpAddr::from([192, 168, 8, last]);
    let master = |last, peer: &str| HostSettings {
        ip: ip(last),
        port: 3306,
        mode: HostMode::Master,
        peer: Some(peer.into()),
    };
    let role = |mode, ips: &[u8]| RoleSettings {
        mode,
        hosts: vec!["db1".into(), "db2".into()],
        ips: ips.iter().map(|last| ip(*last)).collect(),
        prefer: None,
    };
    let settings = Settings {
        on_stalled_writes: mmm_core::OnStalledWrites::Move,
        instance: 7,
        hosts: BTreeMap::from([("db1".into(), master(32, "db2")), ("db2".into(), master(33, "db1"))]),
        roles: BTreeMap::from([
            ("writer".into(), role(RoleMode::Exclusive, &[30])),
            ("reader".into(), role(RoleMode::Balanced, &[34, 35])),
        ]),
        active_master_role: "writer".into(),
        mode: Mode::Active,
        trap: BTreeMap::new(),
        flap_duration: Duration::from_secs(3600),
        flap_count: 3,
        auto_set_online: Duration::ZERO,
        careful_startup: true,
        wait_for_other_master: Duration::from_secs(120),
        kill_host: Err("none".to_owned()),
        terms: LeaseTerms::default(),
        leases_run_out: true,
        failover_grace: Duration::ZERO,
        reader_return_after: Duration::ZERO,
        diverged: mmm_core::Diverged::default(),
        failover_policy: mmm_core::FailoverPolicy::Availability,
        semi_sync: mmm_core::SemiSyncMode::Watch,
        salvage_timeout: Duration::from_secs(10),
        approach_limit: Duration::from_secs(10),
        close_limit: Duration::from_secs(8),
        handover_limit: Duration::from_secs(5),
    };
    let found = FoundState::Lost(None, "there is no state file yet".to_owned());
    Cluster::new(settings, None, found, Moment::ZERO)
}

pub(crate) fn agent() -> AgentMind {
    let hosts: BTreeSet<HostName> = ["db1", "db2"].into_iter().map(HostName::from).collect();
    let settings = AgentSettings {
        host: "db1".into(),
        active_master_role: "writer".into(),
        max_kill_retries: 2,
        role_hosts: BTreeMap::from([("writer".into(), hosts.clone()), ("reader".into(), hosts)]),
        rules: LeaseRules::ALL,
    };
    AgentMind::new(settings, None, None, Moment::ZERO)
}
