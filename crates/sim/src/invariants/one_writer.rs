//! At most one host has the writer address on its interface and a running server that takes writes.

use crate::world::World;

pub(crate) fn check(world: &mut World) {
    let writers = world.writers();
    if writers.len() > 1 {
        let names: Vec<&str> = writers.iter().map(mmm_core::HostName::as_str).collect();
        let text = format!("{} have the writer address and take writes", names.join(" and "));
        world.break_promise("one writer", text);
    }
}
