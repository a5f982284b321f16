//! Whole clusters in virtual time: the monitor's mind and the agents' minds run against modelled hosts, servers and
//! connections, with faults, and invariants are checked after every event. A run is given by its seed alone.
//!
//! The minds are those of the product, unchanged. What is not here yet, since only leases make it safe: networks that
//! part, and agents that cannot be reached while their servers are alive. (An agent's worker does die and come back
//! here, but without a program for killing hosts never while its server is in trouble.) There is no I/O and no clock.
#![forbid(unsafe_code)]

mod agent_side;
mod fault;
mod fault_acts;
mod happening;
mod host;
mod invariants;
mod monitor_side;
mod queue;
mod random;
mod run;
mod server;
mod settings;
mod steps;
mod trace;
mod world;

pub use run::{Options, Report, Sabotage, Violation, run};
