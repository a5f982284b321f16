//! The number of one choice of a writer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Greater is newer. The start number of the monitor that made it keeps two monitors on one state file from issuing
/// the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    pub number: u64,
    pub origin: u64,
}

impl Epoch {
    /// What a host that never had one holds; a running 2.2.1 writer holds it too.
    pub const NONE: Epoch = Epoch { number: 0, origin: 0 };

    /// The next one, as made by the monitor with this start number.
    #[must_use]
    pub fn next(self, origin: u64) -> Self {
        Self { number: self.number.saturating_add(1), origin }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)
    }
}
