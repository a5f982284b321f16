//! What must hold after every event, one file a promise.

pub(crate) mod caught_up;
mod epochs;
pub(crate) mod followers;
pub(crate) mod kept;
pub(crate) mod lanes;
pub(crate) mod ledger;
pub(crate) mod let_go;
mod liveness;
pub(crate) mod named;
mod one_address;
mod one_writer;
mod undisturbed;

use std::collections::BTreeMap;

use mmm_core::HostName;
use mmm_core::lease::Epoch;

use crate::world::World;

/// What is remembered from one check to the next.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) accepted: BTreeMap<HostName, (u64, Epoch)>,
    /// The writer before the first fault, where only the monitor is in trouble.
    pub(crate) writer: Option<HostName>,
    pub(crate) hangs_since: BTreeMap<HostName, u64>,
}

pub(crate) fn check(world: &mut World) {
    one_writer::check(world);
    one_address::check(world);
    epochs::check(world);
    undisturbed::check(world);
    liveness::check(world);
}
