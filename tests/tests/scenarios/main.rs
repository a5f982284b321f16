//! Whole clusters with real servers, each scenario on a lab of its own. Needs root and the built programs.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test, in functions too")]

mod accounts;
mod agent;
mod agent_away;
mod bad_input;
mod clocks;
mod cluster;
mod comes_back;
mod configuration;
mod confirmed;
mod control;
mod cuts;
mod data;
mod doctor;
mod fencing;
mod flavours;
mod frozen;
mod full_disks;
mod grace;
mod host_lost;
mod idle;
mod isolation;
mod lifetimes;
mod locks;
mod losses;
mod many_moves;
mod modes;
mod monitor;
mod monitor_away;
mod name_server;
mod overlap;
mod places;
mod protocol1_agent;
mod protocol1_monitor;
mod reload;
mod repairs;
mod replica_away;
mod replicas;
mod server_lost;
mod sides;
mod state_files;
mod tls;
mod tutorial;
mod two_writers;
mod watchers;
