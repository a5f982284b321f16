//! Once everything is healed, the cluster is whole again within a stated time: every host ONLINE, one writer that takes
//! writes at its address, every reader address somewhere, and so it stays. Where one host stays away for good, there is
//! a writer all the same, unless the monitor's record says that nobody could take over from that very host.

use mmm_core::{HostState, Mode};

use crate::settings::WRITER;
use crate::world::World;

/// Milliseconds from the healing until the cluster has to be whole: a restart of everything, the longest wait of a host
/// whose epoch file was lost (61.5 s), `auto_set_online` and an operator who looks every 3 s.
const BOUND: u64 = 90_000;
/// How long it has to stay whole.
const STEADY: u64 = 2_000;
const ADDRESSES: usize = 3;

pub(crate) fn check(world: &mut World) {
    if !world.healed {
        return;
    }
    let now = world.now;
    match lacking(world) {
        None => {
            let since = *world.well_since.get_or_insert(now);
            if now - since >= STEADY {
                world.tell(|| "the cluster is whole".to_owned());
                super::ledger::every_record_has_ended(world);
                super::named::every_loss_is_named(world);
                world.finish();
            }
        }
        Some(what) => {
            if world.well_since.is_some() {
                world.tell(|| format!("not whole any more: {what}"));
            }
            world.well_since = None;
            let healed_at = *world.healed_since.get_or_insert(now);
            if now - healed_at > BOUND {
                if nobody_may_follow(world) {
                    world.tell(|| "nobody may follow the host that stays away".to_owned());
                    world.finish();
                    return;
                }
                world.break_promise("whole again", format!("{} s after the healing {what}", BOUND / 1000));
            }
        }
    }
}

/// The holder stays away, and it did not know of anybody who could take its place: only the operator's word helps.
fn nobody_may_follow(world: &World) -> bool {
    let Some(away) = world.hosts.values().find(|host| host.away_for_good) else { return false };
    let Some((_, state)) = world.monitors.first().and_then(|monitor| monitor.states.last()) else {
        return true;
    };
    match &state.record {
        Some(record) => {
            let joined = record.list.values().any(|listed| *listed == mmm_core::lease::Listed::Joined);
            record.host == away.name && record.ended.is_none() && !joined
        }
        // Nothing is known any more, and the host that stays away might know.
        None => true,
    }
}

fn lacking(world: &World) -> Option<String> {
    let Some(cluster) = world.monitors.first().and_then(|monitor| monitor.cluster.as_ref()) else {
        return Some("there is no monitor".into());
    };
    if cluster.mode() != Mode::Active {
        return Some(format!("the mode is {}", cluster.mode()));
    }
    if !cluster.knows_leases() {
        // Nor has it compared anybody yet.
        return Some("the monitor does not know who holds the lease".into());
    }
    if let Some(record) = cluster.open_record() {
        return Some(format!("record {} has not ended: {record:?}", record.number));
    }
    let there: Vec<_> = world.hosts.values().filter(|host| !host.away_for_good).collect();
    for host in &there {
        let state = cluster.state_of(host.name.as_str());
        if state == Some(HostState::ReplicationFail) && super::named::is_held_honestly(world, &host.name) {
            continue;
        }
        if state != Some(HostState::Online) {
            return Some(format!("{} is {state:?}", host.name));
        }
    }
    let placed: usize = there.iter().map(|host| host.addresses.len()).sum();
    if placed != ADDRESSES {
        let on: Vec<String> =
            there.iter().map(|host| format!("{}: {:?}", host.name, host.addresses.keys())).collect();
        return Some(format!("{placed} of {ADDRESSES} addresses are there ({})", on.join(", ")));
    }
    let writers: Vec<bool> = there
        .iter()
        .filter(|host| host.server.answers() && host.server.writable)
        .map(|host| host.addresses.keys().any(|role| role.name().as_str() == WRITER))
        .collect();
    (writers != [true]).then(|| format!("servers that take writes, with the address or not: {writers:?}"))
}
