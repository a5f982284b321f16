//! The agent's mind: what the host should look like, what it looks like, and the next step from one to the other.
//!
//! It carries out nothing. Two lanes of steps go on side by side, one for addresses and one for the server, so that an
//! address never waits for a server that hangs.

mod catching_up;
mod closing;
mod event;
mod following;
mod lease;
mod looks;
mod mind;
mod plan;
mod protocol1;
mod rebuilding;
mod reload;
mod report;
mod salvaging;
mod semi_sync;
mod step;
mod torn;
mod writes;

#[cfg(test)]
mod tests;

pub use event::{AgentAction, AgentEvent};
pub use following::{AtTear, FollowingMemory, ReplicaView, Unreached};
pub use lease::Fencing;
pub(crate) use lease::describe as describe_proof;
pub use mind::{AgentMemory, AgentMind, AgentSettings, HeldAddress};
pub use protocol1::{LineAnswer, LineRequest};
pub use step::{Lane, Lifetime, Step, StepOutcome};
