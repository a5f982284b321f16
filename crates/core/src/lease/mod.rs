//! The writer lease: who may write, for how long, and when somebody else may.
//!
//! Three parts, each a value that is stepped with explicit time. The [`GrantBook`] is the monitor's: it remembers the
//! last lease it granted and says when another host may be promoted. The [`HolderLease`] is the writer's own: how long it
//! may go on. The [`Promiser`] is every candidate's: which promotions it accepts. None of them does I/O; what has to be
//! durable before an answer leaves is returned together with the answer.
//!
//! Nobody may write who is not named by an unexpired grant, and whoever waits counts longer than whoever acts.

mod book;
mod epoch;
mod holder;
mod promiser;
mod rules;
mod times;

pub use book::{Ended, Grant, GrantBook, GrantRecord, Listed, Obstacle, Proof, Renewal};
pub use epoch::Epoch;
pub use holder::{Duty, HolderLease};
pub use promiser::{Durable, Promise, Promiser, Refusal, Waits};
pub use rules::{LeaseRule, LeaseRules};
pub use times::{LeaseLength, kernel_lifetime, wait_for};
