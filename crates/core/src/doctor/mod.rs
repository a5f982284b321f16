//! What must be right before a bad night: facts about servers, hosts and the cluster in, findings out.
//!
//! Nothing here is decided about roles, and nothing is asked of anybody: agents and monitor gather the facts. A fact that
//! could not be had is never taken for a good one, and never for a bad one either: the finding says that it is not known.

mod account;
mod cluster;
mod extras;
mod facts;
mod finding;
mod heartbeat;
mod host;
mod kept;
mod report;
mod server;

#[cfg(test)]
mod tests;

pub use account::judge_account;
pub use cluster::{ClusterFacts, HostExamined, judge_cluster};
pub use extras::{Extras, judge_extras};
pub use facts::{
    AccountFacts, AtBoot, Checkup, InterfaceFacts, LocalFacts, Login, PeerFacts, Periods, ReplicationFacts,
    ServerFacts, Whose,
};
pub use finding::{Finding, Fix, Place, Severity};
pub use heartbeat::judge_heartbeat;
pub use host::judge_host;
pub use kept::{SetByHand, judge_kept, watched};
pub use report::{describe, news};
pub use server::judge_server;
