//! What the worker has written down about its lease, for the parent, who has to fence when the worker can't.

use std::path::Path;
use std::time::Duration;

use mmm_core::lease::HolderLease;
use mmm_core::{AgentMemory, Isolated};

use crate::memory::{Found, read as read_memory};
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
pub(crate) fn read(setup: &Setup) -> Option<LeaseOnDisk> {
    read_from(&setup.state_path, &mmm_net::boot_id().ok()?)
}

fn read_from(path: &Path, boot_id: &str) -> Option<LeaseOnDisk> {
    match read_memory(path, boot_id) {
        Found::Of(memory) => lease_of(&memory),
        Found::Missing | Found::OtherBoot | Found::Unusable(_) => None,
    }
}

fn lease_of(memory: &AgentMemory) -> Option<LeaseOnDisk> {
    let lease = memory.lease.as_ref()?;
    let terms = memory.order.as_ref().map(|order| order.terms).unwrap_or_default();
    // Who accepts two writers is not fenced by anybody.
    let ends = lease_end(lease).filter(|_| terms.isolated == Isolated::Fence);
    Some(LeaseOnDisk { ends, fence_hung_server: terms.fence_hung_server })
}

fn lease_end(lease: &HolderLease) -> Option<Duration> {
    lease.ends().map(mmm_core::Moment::since_zero)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mmm_core::lease::{Epoch, Grant, LeaseLength, LeaseRules};
    use mmm_core::{HostName, HostState, LeaseTerms, Moment, Order, OrderId};

    use super::*;
    use crate::memory::MemoryFile;

    fn lease(list: &[&str]) -> HolderLease {
        let epoch = Epoch { number: 3, origin: 1 };
        let mut lease = HolderLease::new(epoch, LeaseRules::ALL);
        let list = list.iter().map(|name| HostName::from(*name)).collect();
        assert!(lease.take_in(&Grant {
            epoch,
            reading: Moment::from_secs(100),
            length: LeaseLength::DEFAULT,
            list
        }));
        lease
    }

    fn order(terms: LeaseTerms) -> Order {
        Order {
            source: None,
            id: OrderId::default(),
            state: HostState::Online,
            roles: std::collections::BTreeSet::new(),
            active_master: None,
            writer: None,
            release: None,
            terms,
            absolved: false,
            stand_still: false,
            surplus: None,
            semi_sync: None,
            rebuild: None,
            generation: 1,
        }
    }

    #[test]
    fn the_parent_reads_the_end_and_the_terms_that_the_worker_has_kept() {
        let path = std::env::temp_dir().join(format!("mmm-agent-lease-{}.state", std::process::id()));
        let mut file = MemoryFile::new(path.clone(), "boot-1".to_owned());
        let terms = LeaseTerms { fence_hung_server: true, ..LeaseTerms::default() };
        let memory =
            AgentMemory { lease: Some(lease(&["db2"])), order: Some(order(terms)), ..AgentMemory::default() };
        file.save(&memory).unwrap();
        let wanted = LeaseOnDisk { ends: Some(Duration::from_secs(105)), fence_hung_server: true };
        assert_eq!(read_from(&path, "boot-1"), Some(wanted));
        assert_eq!(read_from(&path, "boot-2"), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(read_from(&path, "boot-1"), None);
    }

    #[test]
    fn nobody_is_fenced_without_a_lease_or_by_one_that_does_not_run_out() {
        assert_eq!(lease_of(&AgentMemory::default()), None);
        let endless = AgentMemory { lease: Some(lease(&[])), ..AgentMemory::default() };
        assert_eq!(lease_of(&endless).unwrap().ends, None);
        let keep = LeaseTerms { isolated: Isolated::Keep, ..LeaseTerms::default() };
        let keeping =
            AgentMemory { lease: Some(lease(&["db2"])), order: Some(order(keep)), ..AgentMemory::default() };
        assert_eq!(lease_of(&keeping).unwrap().ends, None);
    }
}
