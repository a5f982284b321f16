//! Nothing that was acknowledged to a client is lost where it could be kept. A host that is opened for writes after another one
//! has all of it under `failover_policy consistency`; all that the other one wrote where that one's server is dead and its agent
//! was in reach; as much as any other host that could have been chosen, or that could hand it over; and it has been in touch with the other one since its
//! server was started. The operator's word counts for more.

use mmm_core::lease::Listed;
use mmm_core::{HostName, HostState};

use crate::data::Change;
use crate::happening::Node;
use crate::run::Sabotage;
use crate::settings::{self, Replication};
use crate::world::World;

/// What happened less than so long before a server's end may still have been under way then.
const BEFORE: u64 = 3_000;

pub(crate) fn opened(world: &mut World, name: &HostName) {
    let Some(change) = world.change_to(name) else { return };
    if world.options.sabotage == Sabotage::None && world.all_rules() {
        consistency(world, &change);
        reachable(world, &change);
        sighted(world, &change);
        best(world, &change);
        lent(world, &change);
    }
    world.data.opened = Some(change);
}

/// Only a host that has everything acknowledged follows, whoever acknowledged it.
fn consistency(world: &mut World, change: &Change) {
    let Replication::SemiSync { consistency: true, .. } = world.shape.replication else { return };
    if world.data.as_first.contains(&change.to) {
        return;
    }
    let Some(here) = world.hosts.get(&change.to).map(|host| &host.server) else { return };
    let lacking = world.hosts.values().filter(|host| host.name != change.to).find(|host| {
        host.server.acknowledged > here.applied_of(&host.name) && !world.data.given_up.contains(&host.name)
    });
    if let Some(other) = lacking {
        let text = format!(
            "{} is opened with {} rows of {}, and {} were acknowledged",
            change.to,
            here.applied_of(&other.name),
            other.name,
            other.server.acknowledged
        );
        world.break_promise("acknowledged is kept", text);
    }
}

/// Whether this host's server ran some time before the old writer's ended, and runs.
fn is_up_since(world: &World, name: &HostName, ended: u64) -> bool {
    let started = world.data.started.get(name).copied();
    !world.data.ended.contains_key(name) && started.is_none_or(|started| started + BEFORE < ended)
}

/// The old writer's server is dead, and everybody who has to hand over its last rows was there all the time.
fn reachable(world: &mut World, change: &Change) {
    let Some(ended) = world.data.ended.get(&change.from).copied() else { return };
    let quiet = [Node::Host(change.from.clone()), Node::Host(change.to.clone()), Node::Monitor(0)];
    let undisturbed =
        quiet.iter().all(|node| world.quiet_since(node).is_some_and(|since| since + BEFORE < ended));
    if undisturbed && is_up_since(world, &change.to, ended) && change.lacking.0 < change.lacking.1 {
        let text = format!(
            "{} is opened without rows {:?} of {}, whose server is dead and whose agent was there",
            change.to, change.lacking, change.from
        );
        world.break_promise("reachable is kept", text);
    }
}

/// Whoever was started after the last writer had gone can't know what it lacks.
fn sighted(world: &mut World, change: &Change) {
    if !world.shape.replication.is_told() || world.data.given_up.contains(&change.from) {
        return;
    }
    let Some(here) = world.hosts.get(&change.to).map(|host| &host.server) else { return };
    let lacks = here.applied_of(&change.from) < change.acknowledged;
    // What it had received when it was chosen first is there after a restart as well.
    let sighted = here.reached || world.data.chosen.get(&change.to) == Some(&true);
    if !sighted && lacks && world.source_of(&change.to) == change.from {
        let text = format!(
            "{} is opened with {} of {} rows of {}, which it has not reached since it was started",
            change.to, change.lacking.0, change.acknowledged, change.from
        );
        world.break_promise("nobody is blind", text);
    }
}

/// Whether the last lease of this holder could be followed by that host, as its record says: one that became ONLINE a moment before
/// the holder vanished may be in no list yet.
fn was_known(world: &World, name: &HostName, holder: &HostName) -> bool {
    let states = world.monitors.first().into_iter().flat_map(|monitor| monitor.states.iter().rev());
    let record = states.filter_map(|(_, state)| state.record.as_ref()).find(|record| record.host == *holder);
    record.is_none_or(|record| record.ended.is_some() || record.list.get(name) == Some(&Listed::Joined))
}

/// The old writer is gone, and another host that could have been chosen as well has received more.
fn best(world: &mut World, change: &Change) {
    let Some(ended) = world.data.ended.get(&change.from).copied() else { return };
    let before = |node: &Node| world.quiet_since(node).is_some_and(|since| since + BEFORE < ended);
    let Some(cluster) = world.monitors.first().and_then(|monitor| monitor.cluster.as_ref()) else { return };
    let received =
        |name: &HostName| world.hosts.get(name).map_or(0, |host| host.server.received_of(&change.from));
    let could = |name: &HostName| {
        *name != change.to
            && *name != change.from
            && before(&Node::Host(name.clone()))
            && is_up_since(world, name, ended)
            && cluster.state_of(name.as_str()) == Some(HostState::Online)
            && was_known(world, name, &change.from)
    };
    if !before(&Node::Monitor(0)) || !before(&Node::Host(change.to.clone())) {
        return;
    }
    let better = settings::names(world.shape.candidates)
        .into_iter()
        .find(|name| could(name) && received(name) > received(&change.to));
    if let Some(better) = better {
        let text = format!(
            "{} is opened with {} rows of {}, and {better} has received {}",
            change.to,
            received(&change.to),
            change.from,
            received(&better)
        );
        world.break_promise("the newest data wins", text);
    }
}

/// The old writer is gone, and a host that can't be chosen has received more and was there to hand it over.
fn lent(world: &mut World, change: &Change) {
    let Some(ended) = world.data.ended.get(&change.from).copied() else { return };
    let before = |node: &Node| world.quiet_since(node).is_some_and(|since| since + BEFORE < ended);
    let concerned = [Node::Monitor(0), Node::Host(change.to.clone())];
    if !world.logs_replicated()
        || !world.shape.replication.is_told()
        || !concerned.iter().all(before)
        || !is_up_since(world, &change.to, ended)
    {
        return;
    }
    let candidates = settings::names(world.shape.candidates);
    let better = world.hosts.values().find(|host| {
        !candidates.contains(&host.name)
            && before(&Node::Host(host.name.clone()))
            && is_up_since(world, &host.name, ended)
            && host.server.applying
            && host.server.received_of(&change.from) > change.lacking.0
    });
    if let Some(better) = better {
        let text = format!(
            "{} is opened with {} rows of {}, and {}, which can't be chosen, has received {}",
            change.to,
            change.lacking.0,
            change.from,
            better.name,
            better.server.received_of(&change.from)
        );
        world.break_promise("what a replica has is kept", text);
    }
}
