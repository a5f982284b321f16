//! The cluster under test: the tutorial's two masters, and up to two more hosts, with quicker checks so that a run is
//! short.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mmm_core::lease::{LeaseLength, LeaseRules};
use mmm_core::{
    CheckKind, DataRule, FailoverPolicy, HostMode, HostName, HostSettings, LeaseTerms, Mode, RoleMode,
    RoleName, RoleSettings, Settings,
};

use crate::random::Random;
use crate::run::Options;

/// Between two runs of one check.
pub(crate) const CHECK_PERIOD: u64 = 1_000;
/// How long a check fails before it counts.
pub(crate) const TRAP: Duration = Duration::from_secs(3);
pub(crate) const NAMES: [&str; 4] = ["db1", "db2", "db3", "db4"];
pub(crate) const WRITER: &str = "writer";

/// How the servers replicate, and what their agents tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replication {
    /// Nobody tells whom a master replicates from, so that nobody counts as blind.
    Untold,
    Told,
    /// The same, and commits wait so many milliseconds for an acknowledgement.
    SemiSync {
        timeout: u64,
        consistency: bool,
    },
}

impl Replication {
    pub(crate) fn is_told(self) -> bool {
        self != Self::Untold
    }
}

/// How the servers of this run replicate, and whether it is about an outage of everything.
pub(crate) fn replication(random: &mut Random, options: &Options, candidates: usize) -> (Replication, bool) {
    // Longer than any lease lasts unheard; one in a few could run out before.
    let timeout =
        if random.one_in(5) { random.between(2_000, 6_000) } else { random.between(10_000, 12_000) };
    let (semi_sync, consistency) = (random.one_in(2), random.one_in(2));
    let (told, outage) = (random.one_in(2), random.one_in(4));
    match options.left_out {
        Some(DataRule::TheBlindWait) => return (Replication::Told, true),
        Some(DataRule::AcknowledgedIsProven) => {
            return (Replication::SemiSync { timeout: 2_000, consistency: true }, false);
        }
        Some(_) => return (Replication::Told, false),
        None => {}
    }
    if options.untold || options.aim.is_some() || options.rules != LeaseRules::ALL || !told {
        return (Replication::Untold, false);
    }
    // Only masters and replicas that follow one of them acknowledge what it commits.
    let replication = if semi_sync && candidates == 2 {
        Replication::SemiSync { timeout, consistency }
    } else {
        Replication::Told
    };
    (replication, outage)
}

/// What differs from run to run and not within one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many hosts could be the writer, and how many there are.
    pub(crate) candidates: usize,
    pub(crate) hosts: usize,
    pub(crate) kills: bool,
    pub(crate) prefer: bool,
    /// Seconds; changed by a restart of the monitor.
    pub(crate) lease: u64,
    pub(crate) replication: Replication,
}

pub(crate) fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 168, 8, last))
}

/// A host's own address.
pub(crate) fn ip_of(host: &HostName) -> IpAddr {
    let index = NAMES.iter().position(|name| *name == host.as_str()).unwrap_or_default();
    ip(32 + u8::try_from(index).unwrap_or_default())
}

pub(crate) fn names(count: usize) -> Vec<HostName> {
    NAMES.into_iter().take(count).map(HostName::from).collect()
}

pub(crate) fn role_hosts(shape: Shape) -> BTreeMap<RoleName, BTreeSet<HostName>> {
    BTreeMap::from([
        (RoleName::from(WRITER), names(shape.candidates).into_iter().collect()),
        (RoleName::from("reader"), names(shape.hosts).into_iter().collect()),
    ])
}

pub(crate) fn lease_length(shape: Shape) -> LeaseLength {
    LeaseLength::new(Duration::from_secs(shape.lease)).unwrap_or_default()
}

pub(crate) fn cluster_settings(instance: u64, shape: Shape) -> Settings {
    let role = |mode, hosts: usize, ips: &[u8], prefer: Option<HostName>| RoleSettings {
        mode,
        hosts: names(hosts),
        ips: ips.iter().map(|last| ip(*last)).collect::<BTreeSet<_>>(),
        prefer,
    };
    let host = |index: usize| HostSettings {
        ip: ip(32 + u8::try_from(index).unwrap_or_default()),
        port: 3306,
        mode: if index < 2 { HostMode::Master } else { HostMode::Slave },
        peer: (index < 2).then(|| HostName::from(NAMES[1 - index])),
    };
    Settings {
        instance,
        hosts: names(shape.hosts).into_iter().enumerate().map(|(index, name)| (name, host(index))).collect(),
        roles: BTreeMap::from([
            (
                RoleName::from(WRITER),
                role(
                    RoleMode::Exclusive,
                    shape.candidates,
                    &[30],
                    shape.prefer.then(|| HostName::from("db2")),
                ),
            ),
            (RoleName::from("reader"), role(RoleMode::Balanced, shape.hosts, &[44, 45], None)),
        ]),
        active_master_role: RoleName::from(WRITER),
        mode: Mode::Active,
        trap: CheckKind::ALL.into_iter().map(|kind| (kind, TRAP)).collect(),
        flap_duration: Duration::from_secs(3600),
        // A flapping host waits for the operator, which is not what these runs are about.
        flap_count: 1_000,
        auto_set_online: Duration::from_secs(4),
        careful_startup: true,
        wait_for_other_master: Duration::from_secs(120),
        kill_host: if shape.kills { Ok(()) } else { Err("kill_host".to_owned()) },
        terms: LeaseTerms { length: lease_length(shape), fence_hung_server: true, ..LeaseTerms::default() },
        leases_run_out: true,
        failover_grace: Duration::ZERO,
        reader_return_after: Duration::ZERO,
        diverged: mmm_core::Diverged::default(),
        failover_policy: match shape.replication {
            Replication::SemiSync { consistency: true, .. } => FailoverPolicy::Consistency,
            _ => FailoverPolicy::Availability,
        },
        on_stalled_writes: mmm_core::OnStalledWrites::Show,
        semi_sync: mmm_core::SemiSyncMode::Watch,
        // The model has its steps; `each_rule_is_needed` aims its faults at a course of events without them.
        salvage_timeout: Duration::from_secs(10),
        approach_limit: Duration::from_secs(2),
        close_limit: Duration::from_secs(8),
        handover_limit: Duration::from_secs(5),
    }
}
