//! Epochs never go back, and one that was given back never writes again.

use mmm_core::lease::HolderLease;

use crate::settings::WRITER;
use crate::world::World;

pub(crate) fn check(world: &mut World) {
    let mut broken = None;
    for host in world.hosts.values().filter(|host| host.powered) {
        let Some(durable) = &host.durable else { continue };
        let before = world.seen.accepted.insert(host.name.clone(), (host.boot, durable.accepted));
        // A file that was lost or torn with a power cut is another one.
        if let Some((boot, accepted)) = before
            && boot == host.boot
            && durable.accepted < accepted
        {
            broken =
                Some(("epochs go forward", format!("{} went back to epoch {}", host.name, durable.accepted)));
        }
        let writes =
            host.server.serves_writes() && host.addresses.keys().any(|role| role.name().as_str() == WRITER);
        let held = host.memory.as_ref().and_then(|memory| memory.lease.as_ref()).map(HolderLease::epoch);
        if writes && held.is_none_or(|held| held <= durable.released) && durable.accepted <= durable.released
        {
            let text = format!("{} takes writes after it gave back epoch {}", host.name, durable.released);
            broken = Some(("given back for good", text));
        }
    }
    if let Some((invariant, text)) = broken {
        world.break_promise(invariant, text);
    }
}
