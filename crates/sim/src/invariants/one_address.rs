//! No address of a role is on two live hosts at once. Addresses of readers hold no lease, so that two monitors by
//! mistake may place them twice; the writer's address not even they.

use crate::settings::WRITER;
use crate::world::World;

pub(crate) fn check(world: &mut World) {
    let two_monitors = world.monitors.iter().all(|monitor| monitor.life > 0);
    let hosts: Vec<_> = world.hosts.values().filter(|host| host.powered).collect();
    let shared = hosts.iter().enumerate().find_map(|(place, first)| {
        hosts.iter().skip(place + 1).find_map(|second| {
            let role = first.addresses.keys().find(|role| {
                second.addresses.contains_key(*role) && (!two_monitors || role.name().as_str() == WRITER)
            })?;
            Some(format!("{role} is on {} and {}", first.name, second.name))
        })
    });
    if let Some(text) = shared {
        world.break_promise("one address", text);
    }
}
