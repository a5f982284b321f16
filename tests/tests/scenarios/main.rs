//! Whole clusters with real servers, each scenario on a lab of its own. Needs root and the built programs.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test, in functions too")]

mod accounts;
mod agent;
mod bad_input;
mod cluster;
mod configuration;
mod control;
mod data;
mod frozen;
mod host_lost;
mod locks;
mod modes;
mod monitor;

mod repairs;
mod server_lost;
mod tutorial;
mod watchers;
