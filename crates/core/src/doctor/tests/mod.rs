//! Each finding, made by the one fact that is wrong in a cluster where everything else is right.

mod accounts;
mod cluster;
mod fixture;
mod host;
mod kept;
mod replication;
mod report;
mod server;
