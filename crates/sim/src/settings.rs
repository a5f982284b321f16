//! The cluster under test: the tutorial's two masters, with quicker checks so that a run is short.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mmm_core::{
    CheckKind, HostMode, HostName, HostSettings, Mode, RoleMode, RoleName, RoleSettings, Settings,
};

/// Between two runs of one check.
pub(crate) const CHECK_PERIOD: u64 = 1_000;
/// How long a check fails before it counts.
pub(crate) const TRAP: Duration = Duration::from_secs(3);
pub(crate) const NAMES: [&str; 2] = ["db1", "db2"];
pub(crate) const WRITER: &str = "writer";

pub(crate) fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 168, 8, last))
}

pub(crate) fn cluster_settings(instance: u64, kills: bool, prefer: bool) -> Settings {
    let hosts: Vec<HostName> = NAMES.into_iter().map(HostName::from).collect();
    let role = |mode, ips: &[u8], prefer: Option<HostName>| RoleSettings {
        mode,
        hosts: hosts.clone(),
        ips: ips.iter().map(|last| ip(*last)).collect::<BTreeSet<_>>(),
        prefer,
    };
    let master = |last, peer: &str| HostSettings {
        ip: ip(last),
        mode: HostMode::Master,
        peer: Some(HostName::from(peer)),
    };
    Settings {
        instance,
        hosts: BTreeMap::from([
            (HostName::from("db1"), master(32, "db2")),
            (HostName::from("db2"), master(33, "db1")),
        ]),
        roles: BTreeMap::from([
            (RoleName::from(WRITER), role(RoleMode::Exclusive, &[30], prefer.then(|| HostName::from("db2")))),
            (RoleName::from("reader"), role(RoleMode::Balanced, &[34, 35], None)),
        ]),
        active_master_role: RoleName::from(WRITER),
        mode: Mode::Active,
        trap: CheckKind::ALL.into_iter().map(|kind| (kind, TRAP)).collect(),
        flap_duration: Duration::from_secs(3600),
        // A flapping host waits for the operator, which is not what these runs are about.
        flap_count: 1_000,
        auto_set_online: Duration::from_secs(10),
        careful_startup: true,
        wait_for_other_master: Duration::from_secs(120),
        kill_host: if kills { Ok(()) } else { Err("kill_host".to_owned()) },
        approach_limit: Duration::from_secs(2),
    }
}
