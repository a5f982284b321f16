//! GTIDs of both families, as far as comparing an old writer with the new one needs them.
//!
//! `MariaDB` tells a position for each domain and server (`0-12-40`), `MySQL` a set of intervals for each source
//! (`3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:9`, and since 8.3 with tags: `UUID:1-5:tag:1-3`).
//! Servers without GTIDs are compared by places in the old writer's log, see [`LogEnd`] and [`LogSeen`].

mod received;
mod set;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use received::{Ahead, Compared, Place, Received};
pub use set::{GtidSet, Origin};

/// What a server says of its own and of applied transactions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GtidView {
    pub server_id: u64,
    /// `@@gtid_binlog_state`: who wrote what into this server's log. On `MySQL` `@@gtid_executed`.
    pub binlog_state: String,
    /// `@@gtid_slave_pos`: what it applied as a replica. Empty on `MySQL`.
    pub slave_pos: String,
}

impl GtidView {
    /// Everything that the server has, be it by its own log or as a replica; `None` where that can't be read as GTIDs.
    pub fn set(&self) -> Option<GtidSet> {
        GtidSet::parse(&format!("{},{}", self.binlog_state, self.slave_pos))
    }

    /// Whether it tells how far it has its source's log, in place of GTIDs.
    pub fn is_of_a_log(&self) -> bool {
        self.slave_pos.starts_with(LOG)
    }
}

/// Whether every transaction of one set of `MySQL` is in another; `None` where one of them can't be read.
pub fn is_gtid_subset(subset: &str, of: &str) -> Option<bool> {
    Some(GtidSet::parse(of)?.contains_all(&GtidSet::parse(subset)?))
}

/// Where the log of a server without GTIDs ended when it was closed; written into [`GtidView::binlog_state`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEnd(pub Option<(String, u64)>);

/// How far a server without GTIDs has its source's log: applied, or looked through and found to hold nothing but what came
/// from itself. Written into [`GtidView::slave_pos`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSeen {
    pub file: String,
    pub position: u64,
    /// Transactions follow that it does not have.
    pub more_follows: bool,
}

/// Marks both, so that they are never taken for GTIDs.
const LOG: &str = "log:";
const MORE: &str = ":more";

impl fmt::Display for LogEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((file, position)) => write!(f, "{LOG}{file}:{position}"),
            None => f.write_str(LOG),
        }
    }
}

impl fmt::Display for LogSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LOG}{}:{}{}", self.file, self.position, if self.more_follows { MORE } else { "" })
    }
}

/// File without its number, number and position.
fn parse_place(text: &str) -> Option<(&str, u64, u64)> {
    let (file, position) = text.strip_prefix(LOG)?.rsplit_once(':')?;
    let (base, number) = file.rsplit_once('.')?;
    Some((base, number.parse().ok()?, position.parse().ok()?))
}

impl LogSeen {
    /// What [`LogSeen`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (text, more_follows) = text.strip_suffix(MORE).map_or((text, false), |text| (text, true));
        let (file, position) = text.strip_prefix(LOG)?.rsplit_once(':')?;
        Some(Self { file: file.to_owned(), position: position.parse().ok()?, more_follows })
    }
}

fn compare_logs(end: &str, seen: &str) -> Comparison {
    if end == LOG || seen.is_empty() || seen == LOG {
        return Comparison::NotYet;
    }
    let (seen, more) = seen.strip_suffix(MORE).map_or((seen, false), |seen| (seen, true));
    match (parse_place(end), parse_place(seen)) {
        (Some(end), Some(seen)) if end.0 == seen.0 => {
            if (seen.1, seen.2) >= (end.1, end.2) {
                Comparison::Contained
            } else if more {
                Comparison::Missing(1)
            } else {
                Comparison::NotYet
            }
        }
        _ => Comparison::Unreadable,
    }
}

/// Result of comparing an old writer's own transactions with what the new writer has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// The new writer has everything that the old one wrote.
    Contained,
    /// The old one has more; its sequence numbers go this far beyond what the new one has of it.
    Missing(u64),
    /// One of the servers has not told enough yet.
    NotYet,
    /// One of the positions could not be read.
    Unreadable,
}

/// Whether all that `old`'s own server id wrote into its log is on `new`. Where a server tells sets, whether all that it
/// has is there: that is no less.
pub fn compare_own(old: &GtidView, new: &GtidView) -> Comparison {
    if old.binlog_state.starts_with(LOG) || new.slave_pos.starts_with(LOG) {
        return compare_logs(&old.binlog_state, &new.slave_pos);
    }
    let (Some(old_set), Some(new_set)) = (old.set(), new.set()) else { return Comparison::Unreadable };
    if old_set.is_of_other_family_than(&new_set) {
        return Comparison::Unreadable;
    }
    // `MySQL` has no server ids in its sets: there all that the old one has is compared.
    let own = old_set.filter(|origin| match origin {
        Origin::Server { server, .. } => *server == old.server_id,
        Origin::Uuid { .. } => true,
    });
    match own.minus(&new_set).count() {
        0 => Comparison::Contained,
        missing => Comparison::Missing(missing),
    }
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
        for text in ["0-12", "0-12-x", "0-12-3-4", "3e11fa47-71ca-11e1-9e33:1-5", "0-12-3:1"] {
            assert_eq!(compare_own(&view(12, text, ""), &view(13, "", "")), Comparison::Unreadable, "{text}");
        }
        // One of each family, whichever is the old one.
        let sets = view(12, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", "");
        assert_eq!(compare_own(&sets, &view(13, "0-13-4", "0-12-5")), Comparison::Unreadable);
        assert_eq!(compare_own(&view(12, "0-12-5", ""), &sets), Comparison::Unreadable);
    }

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    #[test]
    fn sets_of_mysql_are_compared_as_a_whole() {
        let compare = |old: String, new: String| compare_own(&view(12, &old, ""), &view(13, &new, ""));
        assert_eq!(compare(format!("{A}:1-5,{B}:1-7"), format!("{B}:1-9,\n{A}:1-5")), Comparison::Contained);
        assert_eq!(compare(format!("{A}:1-8"), format!("{A}:1-5,{B}:1-9")), Comparison::Missing(3));
        assert_eq!(compare(format!("{A}:1-8"), format!("{A}:1-2:4:7-8")), Comparison::Missing(3));
        assert_eq!(compare(format!("{A}:1-3"), String::new()), Comparison::Missing(3));
        assert_eq!(compare(String::new(), format!("{A}:1-3")), Comparison::Contained);
        assert_eq!(
            compare(format!("{A}:1-2:3:4-6"), format!("{}:1-6", A.to_uppercase())),
            Comparison::Contained
        );
    }

    #[test]
    fn without_gtids_the_places_in_the_old_log_are_compared() {
        let end = |file: &str, position| LogEnd(Some((file.to_owned(), position))).to_string();
        let seen = |file: &str, position, more_follows| {
            LogSeen { file: file.to_owned(), position, more_follows }.to_string()
        };
        let closed = end("bin.000003", 157);
        for (end, seen, expected) in [
            (closed.clone(), seen("bin.000003", 157, false), Comparison::Contained),
            (closed.clone(), seen("bin.000004", 4, false), Comparison::Contained),
            // Behind its end there may be whatever it got from others since.
            (closed.clone(), seen("bin.000003", 900, true), Comparison::Contained),
            (closed.clone(), seen("bin.000002", 5000, false), Comparison::NotYet),
            (closed.clone(), seen("bin.000002", 5000, true), Comparison::Missing(1)),
            (closed.clone(), String::new(), Comparison::NotYet),
            (LogEnd(None).to_string(), seen("bin.000002", 5000, true), Comparison::NotYet),
            (closed.clone(), seen("other.000004", 4, false), Comparison::Unreadable),
            (closed.clone(), "0-12-5".to_owned(), Comparison::Unreadable),
            ("0-12-5".to_owned(), seen("bin.000004", 4, false), Comparison::Unreadable),
            (String::new(), seen("bin.000004", 4, false), Comparison::Unreadable),
        ] {
            assert_eq!(compare_own(&view(12, &end, ""), &view(13, "", &seen)), expected, "{end} {seen}");
        }
    }

    #[test]
    fn a_tag_begins_numbers_of_its_own() {
        let of = format!("{A}:1-5:blue:1-3");
        for (subset, expected) in [
            (format!("{A}:1-5"), Some(true)),
            (format!("{A}:blue:3"), Some(true)),
            (format!("{A}:blue:4"), Some(false)),
            (format!("{A}:red:1"), Some(false)),
            (A.to_owned(), None),
            (format!("{A}:blue"), None),
            (format!("{A}:0-3"), None),
            (format!("{A}:5-3"), None),
        ] {
            assert_eq!(is_gtid_subset(&subset, &of), expected, "{subset}");
        }
    }
}
