//! This crate against real servers. Needs root and the packages mariadb-server and iproute2.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod read_only;
mod replication;
mod rig;
mod sessions;
