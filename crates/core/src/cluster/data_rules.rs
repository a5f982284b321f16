//! The rules by which no acknowledged transaction is lost, each with a name, so that one can be left out to show what it is for.
//! Every program but the simulator goes by all of them.

use super::Cluster;

/// What the choice of a writer and the account of it rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataRule {
    /// Of several hosts the one that has received most becomes the writer.
    ReceivedDecides,
    /// The next writer gets from a dead server's log what it lacks.
    TailsAreSalvaged,
    /// It gets from a replica what only that one has received.
    ReplicasLend,
    /// Nobody follows who has not reached the last writer since its server was started.
    TheBlindWait,
    /// With `failover_policy consistency` nobody follows who is not proven to have all that was acknowledged.
    AcknowledgedIsProven,
    /// What only a lost writer has is named in the record of its loss.
    SurplusIsRecorded,
    /// A lost writer is compared before it serves again, whoever writes meanwhile.
    TheLostStayHeld,
}

impl DataRule {
    pub const ALL: [DataRule; 7] = [
        Self::ReceivedDecides,
        Self::TailsAreSalvaged,
        Self::ReplicasLend,
        Self::TheBlindWait,
        Self::AcknowledgedIsProven,
        Self::SurplusIsRecorded,
        Self::TheLostStayHeld,
    ];

    /// As an operator types it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReceivedDecides => "received-decides",
            Self::TailsAreSalvaged => "tails-are-salvaged",
            Self::ReplicasLend => "replicas-lend",
            Self::TheBlindWait => "the-blind-wait",
            Self::AcknowledgedIsProven => "acknowledged-is-proven",
            Self::SurplusIsRecorded => "surplus-is-recorded",
            Self::TheLostStayHeld => "the-lost-stay-held",
        }
    }
}

impl Cluster {
    /// The same without one rule, to show what that one is for.
    #[must_use]
    pub fn without_data_rule(self, rule: DataRule) -> Self {
        Self { left_out: Some(rule), ..self }
    }

    pub(super) fn goes_by(&self, rule: DataRule) -> bool {
        self.left_out != Some(rule)
    }
}
