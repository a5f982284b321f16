//! Whole clusters in virtual time: the monitor's mind and the agents' minds run against modelled hosts, servers and
//! connections, with faults, and invariants are checked after every event. A run is given by its seed alone.
//!
//! The minds are those of the product, unchanged, and so are the messages between them. Everything around them is
//! modelled: clocks that are off, networks that part in one direction, programs that hang, files that are lost or torn,
//! the kernel's timers. There is no I/O and no clock.
#![forbid(unsafe_code)]

mod agent_side;
mod aim;
mod data;
mod drill;
mod fault;
mod fault_acts;
mod happening;
mod host;
mod invariants;
mod monitor;
mod monitor_side;
mod queue;
mod random;
mod run;
mod salvage;
mod semi_sync;
mod server;
mod settings;
mod steps;
mod trace;
mod world;

pub use drill::{Drill, Procedure, Victim};
pub use run::{Options, Report, Sabotage, Violation, run};
