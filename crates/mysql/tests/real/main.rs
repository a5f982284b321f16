//! This crate against real servers. Needs root and the packages mariadb-server (or what brings the server of `MMM_TEST_SERVER`) and iproute2.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod binlogs;
mod read_only;
mod replication;
mod repointing;
mod rig;
mod salvaging;
mod sessions;
