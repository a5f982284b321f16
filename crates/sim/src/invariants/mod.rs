//! What must hold after every event, one file a promise.

pub(crate) mod caught_up;
pub(crate) mod lanes;
mod liveness;
mod one_address;
mod one_writer;

use crate::world::World;

pub(crate) fn check_safety(world: &mut World) {
    one_writer::check(world);
    one_address::check(world);
}

pub(crate) fn check_liveness(world: &mut World) {
    liveness::check(world);
}
