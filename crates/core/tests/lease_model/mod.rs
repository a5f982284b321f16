//! The lease protocol alone, as a model small enough to be explored completely.
//!
//! Two candidates, one monitor and what is on its way between them. All decisions are the product's own: the monitor
//! asks its `GrantBook`, the candidates their `Promiser` and `HolderLease`. Only what a shell does around them is
//! written here, and where a shell has a choice the model takes every one: each message may be late, overtaken or
//! lost, so that a cut in any direction is among the behaviours without being one of its own.
//!
//! It does not model servers, replication, the kernel's timers or a second monitor; the simulator does.

mod action;
mod fingerprint;
mod protocol;
mod state;

pub(crate) use action::Action;
pub(crate) use protocol::{Bounds, Check, LeaseModel};
