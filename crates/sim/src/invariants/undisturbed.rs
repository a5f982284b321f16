//! Where nothing but the monitor is in trouble, the writer stays the writer and never loses its address.

use crate::fault::Theme;
use crate::world::World;

/// From here on the cluster is in service; the first fault comes later.
const IN_SERVICE: u64 = 12_000;

pub(crate) fn check(world: &mut World) {
    if world.theme != Theme::MonitorOnly || world.now < IN_SERVICE || !world.all_rules() {
        return;
    }
    let writers = world.writers();
    match &world.seen.writer {
        None => world.seen.writer = writers.into_iter().next(),
        Some(writer) if !writers.contains(writer) => {
            let text = format!("{writer} was disturbed by the monitor's trouble; writing: {writers:?}");
            world.break_promise("undisturbed", text);
        }
        Some(_) => {}
    }
}
