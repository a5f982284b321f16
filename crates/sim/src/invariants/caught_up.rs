//! No server is opened for writes before it has applied all that it had received when it was chosen.

use mmm_core::HostName;

use crate::world::World;

pub(crate) fn check(world: &mut World, name: &HostName) {
    let Some(host) = world.hosts.get(name) else { return };
    let Some((_, received)) = &host.chosen else {
        world.break_promise("caught up", format!("{name} is opened without having been chosen"));
        return;
    };
    if !host.server.has_applied(received) {
        let text = format!("{name} is opened before it has applied all of {received:?} that it had received");
        world.break_promise("caught up", text);
    }
}
