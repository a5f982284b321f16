//! What one host has and another one does not.

use crate::diverged::{Named, Surplus};
use crate::gtid::{Comparison, GtidView, compare_own};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// One of both has not told enough yet.
    NotYet,
    Contained,
    Has(Surplus),
    /// What one of both told can't be read.
    Unreadable,
}

/// What a lost writer has of which the new one has nothing.
pub(super) fn compare(old: &GtidView, new: &GtidView) -> Compared {
    match compare_own(old, new) {
        Comparison::NotYet => Compared::NotYet,
        Comparison::Contained => Compared::Contained,
        Comparison::Unreadable => Compared::Unreadable,
        Comparison::Missing(count) => Compared::Has(Surplus {
            transactions: Named::Gtids(old.binlog_state.clone()),
            at_most: Some(count),
        }),
    }
}
