//! What the worker has written down about its lease, for the parent, who has to fence when the worker can't.

use std::time::Duration;

use crate::setup::Setup;

/// The lease of the writer role, as it stands in the run directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaseOnDisk {
    /// On the boot clock; `None` for a lease that does not run out.
    pub(crate) ends: Option<Duration>,
    /// Whether a server that can't be made read-only is killed.
    pub(crate) fence_hung_server: bool,
}

/// The lease that this host holds since it was booted, if any is known. Without one there is nothing to fence.
pub(crate) fn read(_setup: &Setup) -> Option<LeaseOnDisk> {
    None
}
