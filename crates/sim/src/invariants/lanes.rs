//! A mind never asks for a second step of a lane before it has heard how the first one ended.

use mmm_core::{HostName, Step};

use crate::world::World;

pub(crate) fn broken(world: &mut World, host: &HostName, before: &Step, step: &Step) {
    let text =
        format!("the agent of {host} wants to {} while it is to {}", step.describe(), before.describe());
    world.break_promise("one step a lane", text);
}
