//! MariaDB's GTID positions, as far as comparing an old writer with the new one needs them.

use serde::{Deserialize, Serialize};

/// What a server says of its own and of applied transactions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GtidView {
    pub server_id: u64,
    /// `@@gtid_binlog_state`: who wrote what into this server's log.
    pub binlog_state: String,
    /// `@@gtid_slave_pos`: what it applied as a replica.
    pub slave_pos: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gtid {
    domain: u64,
    server_id: u64,
    sequence: u64,
}

fn parse(list: &str) -> Option<Vec<Gtid>> {
    list.split(',')
        .map(str::trim)
        .filter(|gtid| !gtid.is_empty())
        .map(|gtid| {
            let mut parts = gtid.split('-').map(|part| part.parse::<u64>().ok());
            let gtid = Gtid { domain: parts.next()??, server_id: parts.next()??, sequence: parts.next()?? };
            parts.next().is_none().then_some(gtid)
        })
        .collect()
}

/// Result of comparing an old writer's own transactions with what the new writer has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The new writer has everything that the old one wrote.
    Contained,
    /// The old one has more; its sequence numbers go this far beyond what the new one has of it.
    Missing(u64),
    /// One of the positions could not be read.
    Unreadable,
}

/// Whether all that `old`'s own server id wrote into its log is on `new`.
pub fn compare_own(old: &GtidView, new: &GtidView) -> Comparison {
    let (Some(old_log), Some(new_log), Some(new_applied)) =
        (parse(&old.binlog_state), parse(&new.binlog_state), parse(&new.slave_pos))
    else {
        return Comparison::Unreadable;
    };
    let missing = old_log
        .iter()
        .filter(|gtid| gtid.server_id == old.server_id)
        .map(|own| {
            let reached = new_log
                .iter()
                .chain(&new_applied)
                .filter(|gtid| gtid.domain == own.domain && gtid.server_id == own.server_id)
                .map(|gtid| gtid.sequence)
                .max()
                .unwrap_or(0);
            own.sequence.saturating_sub(reached)
        })
        .sum();
    if missing == 0 { Comparison::Contained } else { Comparison::Missing(missing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(server_id: u64, binlog_state: &str, slave_pos: &str) -> GtidView {
        GtidView { server_id, binlog_state: binlog_state.into(), slave_pos: slave_pos.into() }
    }

    #[test]
    fn an_old_writer_whose_transactions_were_all_applied_is_contained() {
        let old = view(12, "0-12-40", "");
        assert_eq!(compare_own(&old, &view(13, "0-13-44", "0-12-40")), Comparison::Contained);
        assert_eq!(compare_own(&old, &view(13, "0-13-44,0-12-40", "0-99-1")), Comparison::Contained);
        assert_eq!(compare_own(&view(12, "", ""), &view(13, "", "")), Comparison::Contained);
    }

    #[test]
    fn a_tail_that_nobody_received_is_counted() {
        let old = view(12, "0-12-43,0-13-44", "");
        assert_eq!(compare_own(&old, &view(13, "0-13-44", "0-12-40")), Comparison::Missing(3));
        assert_eq!(compare_own(&old, &view(13, "", "")), Comparison::Missing(43));
    }

    #[test]
    fn another_domain_is_another_stream() {
        let old = view(12, "0-12-4,1-12-9", "");
        assert_eq!(compare_own(&old, &view(13, "", "0-12-9")), Comparison::Missing(9));
    }

    #[test]
    fn what_cannot_be_read_is_never_called_contained() {
        for text in ["0-12", "0-12-x", "0-12-3-4", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"] {
            assert_eq!(compare_own(&view(12, text, ""), &view(13, "", "")), Comparison::Unreadable, "{text}");
        }
    }
}
