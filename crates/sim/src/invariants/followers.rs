//! A server that takes writes is never pointed at another one: its threads and its clients are left alone.

use mmm_core::HostName;

use crate::world::World;

pub(crate) fn broken(world: &mut World, host: &HostName, source: &HostName) {
    world.break_promise("followers", format!("{host} is writable and is told to follow {source}"));
}
