//! No address of a role is on two live hosts at once.

use crate::world::World;

pub(crate) fn check(world: &mut World) {
    let mut hosts = world.hosts.values().filter(|host| host.powered);
    let (Some(first), Some(second)) = (hosts.next(), hosts.next()) else { return };
    let shared = first.addresses.intersection(&second.addresses).next().cloned();
    if let Some(role) = shared {
        let text = format!("{role} is on {} and {}", first.name, second.name);
        world.break_promise("one address", text);
    }
}
