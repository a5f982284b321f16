//! At most one host has the writer address on its interface and a running server that takes writes.

use crate::settings::WRITER;
use crate::world::World;

pub(crate) fn check(world: &mut World) {
    let writers: Vec<&str> = world
        .hosts
        .values()
        // A frozen server that takes writes will take them again as soon as it goes on.
        .filter(|host| host.powered && host.server.serves_writes())
        .filter(|host| host.addresses.iter().any(|role| role.name().as_str() == WRITER))
        .map(|host| host.name.as_str())
        .collect();
    if writers.len() > 1 {
        let text = format!("{} have the writer address and take writes", writers.join(" and "));
        world.break_promise("one writer", text);
    }
}
