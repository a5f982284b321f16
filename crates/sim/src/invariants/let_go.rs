//! What waits for an acknowledgement on a server that was opened for the writer's clients is never let go by its agent.

use mmm_core::HostName;

use crate::world::World;

pub(crate) fn happens(world: &mut World, name: &HostName, closed: bool) {
    let Some(host) = world.hosts.get_mut(name) else { return };
    host.server.let_go(closed);
    if host.server.opened {
        let text = format!("the agent of {name} lets go what waits there, and has opened that server itself");
        world.break_promise("nothing is let go", text);
    }
}
