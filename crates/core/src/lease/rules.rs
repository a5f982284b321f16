//! Which rules of the lease are in force. Binaries take the default, which is all of them.

use serde::{Deserialize, Serialize};

/// Each field is a rule that was once missing in a model of the plan and then showed two writers, or none for ever.
/// Dropping one is for the proof that the checks notice it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one rule")]
pub struct LeaseRules {
    /// Monitor, promiser and a rebooted host count longer than the holder does.
    pub waiters_count_longer: bool,
    /// The monitor drops a renewal whose reading is not newer than the last it took in.
    pub readings_go_forward_at_monitor: bool,
    /// The agent drops a grant whose reading is not newer than the last it took in.
    pub readings_go_forward_at_agent: bool,
    /// The last lease granted counts; whom the monitor chose since is only a plan.
    pub grants_count_and_plans_do_not: bool,
    /// After the lease has run out only a host of its list may be promoted.
    pub only_listed_hosts: bool,
    /// A host is in the list only after the holder has said that it knows so.
    pub joining_is_confirmed: bool,
    /// A release names an epoch and also stops a promotion that is still on its way.
    pub release_covers_promotions_on_their_way: bool,
    /// A promotion because the lease ran out waits for the end of a running promise.
    pub promises_hold_against_time: bool,
}

impl LeaseRules {
    pub const ALL: LeaseRules = LeaseRules {
        waiters_count_longer: true,
        readings_go_forward_at_monitor: true,
        readings_go_forward_at_agent: true,
        grants_count_and_plans_do_not: true,
        only_listed_hosts: true,
        joining_is_confirmed: true,
        release_covers_promotions_on_their_way: true,
        promises_hold_against_time: true,
    };
}

impl Default for LeaseRules {
    fn default() -> Self {
        Self::ALL
    }
}
