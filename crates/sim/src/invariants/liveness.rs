//! Once everything is healed, the cluster is whole again within a stated time: both hosts ONLINE, one writer that takes
//! writes at its address, every reader address somewhere, and so it stays.

use mmm_core::{HostState, Mode};

use crate::settings::{NAMES, WRITER};
use crate::world::World;

/// Milliseconds from the healing until the cluster has to be whole. It holds a quick restart of everything, the
/// trap period, `auto_set_online` and an operator who looks every 3 s.
const BOUND: u64 = 60_000;
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
                world.finish();
            }
        }
        Some(what) => {
            world.well_since = None;
            let healed_at = *world.healed_since.get_or_insert(now);
            if now - healed_at > BOUND {
                world.break_promise("whole again", format!("{} s after the healing {what}", BOUND / 1000));
            }
        }
    }
}

fn lacking(world: &World) -> Option<String> {
    let Some(cluster) = &world.monitor.cluster else { return Some("there is no monitor".into()) };
    if cluster.mode() != Mode::Active {
        return Some(format!("the mode is {}", cluster.mode()));
    }
    for name in NAMES {
        let state = cluster.state_of(name);
        if state != Some(HostState::Online) {
            return Some(format!("{name} is {state:?}"));
        }
    }
    let placed: usize = world.hosts.values().map(|host| host.addresses.len()).sum();
    if placed != ADDRESSES {
        return Some(format!("{placed} of {ADDRESSES} addresses are there"));
    }
    let writers = world
        .hosts
        .values()
        .filter(|host| host.server.answers() && host.server.writable)
        .map(|host| host.addresses.iter().any(|role| role.name().as_str() == WRITER))
        .collect::<Vec<_>>();
    (writers != [true]).then(|| format!("servers that take writes, with the address or not: {writers:?}"))
}
