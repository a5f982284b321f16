//! What one host has and another one does not.

use crate::diverged::{Named, Surplus};
use crate::gtid::{Comparison, GtidSet, GtidView, LogSeen, Origin, compare_own};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// One of both has not told enough yet.
    NotYet,
    Contained,
    Has(Surplus),
    /// What one of both told can't be read.
    Unreadable,
}

/// What a lost writer has of which the new one has nothing. What the new one wrote came from there, however old its last word is.
pub(super) fn compare(old: &GtidView, new: &GtidView, new_uuid: Option<&str>) -> Compared {
    match compare_own(old, new) {
        Comparison::NotYet => Compared::NotYet,
        Comparison::Contained => Compared::Contained,
        Comparison::Unreadable => Compared::Unreadable,
        Comparison::Missing(_) => missing(old, new, new_uuid),
    }
}

fn missing(old: &GtidView, new: &GtidView, new_uuid: Option<&str>) -> Compared {
    if let (Some(end), Some(seen)) = (LogSeen::parse(&old.binlog_state), LogSeen::parse(&new.slave_pos)) {
        let transactions = Named::Between((seen.file, seen.position), (end.file, end.position));
        return Compared::Has(Surplus { transactions, at_most: None });
    }
    let (Some(own), Some(there)) = (own(old), new.set()) else { return Compared::Unreadable };
    let more = own.minus(&there).filter(|origin| !origin.is_of(new.server_id, new_uuid));
    surplus_of(&more).map_or(Compared::Contained, Compared::Has)
}

/// `MySQL` has no server ids in its sets: there it is all that the server has.
fn own(view: &GtidView) -> Option<GtidSet> {
    let is_own = |origin: &Origin| match origin {
        Origin::Server { server, .. } => *server == view.server_id,
        Origin::Uuid { .. } => true,
    };
    Some(view.set()?.filter(is_own))
}

/// What a host has that was never on the writer. `writer` was asked after it: what the host has from there is there too.
///
/// Of `MariaDB` only what the host's own server wrote counts, since a server that was rebuilt tells nothing of those that wrote long
/// ago. `MySQL` sends a transaction before it counts it among its own, so what the writer itself wrote does not count either.
pub(super) fn errant(host: &GtidView, writer: &GtidView, writer_uuid: Option<&str>) -> Option<GtidSet> {
    let (own, there) = (own(host)?, writer.set()?);
    if own.is_of_other_family_than(&there) {
        return None;
    }
    let more = own.minus(&there).filter(|origin| !origin.is_of(writer.server_id, writer_uuid));
    Some(more.filter(|origin| !more.last(origin).is_some_and(|last| is_passed(origin, last, writer))))
}

/// A writer that does not log what it replicates tells only the last transaction of each domain: what came before it has come too.
fn is_passed(origin: &Origin, last: u64, writer: &GtidView) -> bool {
    let Origin::Server { domain, .. } = origin else { return false };
    let of_others = |text: &str| {
        let foreign = |origin: &Origin| match origin {
            Origin::Server { domain: other, server } => other == domain && *server != writer.server_id,
            Origin::Uuid { .. } => false,
        };
        GtidSet::parse(text).map(|set| set.filter(foreign)).unwrap_or_default()
    };
    let logs_replicated = !of_others(&writer.binlog_state).is_empty();
    let applied = of_others(&writer.slave_pos);
    !logs_replicated && applied.ranges().any(|(_, _, to)| to >= last)
}

/// A set in the words of the order to the host that has it; `None` for the empty one.
pub(super) fn surplus_of(set: &GtidSet) -> Option<Surplus> {
    (!set.is_empty())
        .then(|| Surplus { transactions: Named::Gtids(set.to_string()), at_most: Some(set.count()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gtid::LogEnd;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    fn view(server_id: u64, binlog_state: &str, slave_pos: &str) -> GtidView {
        GtidView { server_id, binlog_state: binlog_state.to_owned(), slave_pos: slave_pos.to_owned() }
    }

    #[test]
    fn what_a_lost_writer_has_alone_is_named() {
        let Compared::Has(surplus) =
            compare(&view(12, "0-12-43,0-13-50", ""), &view(13, "0-13-60", "0-12-40"), None)
        else {
            panic!("it has more")
        };
        assert_eq!(surplus.transactions.to_string(), "0-12-41..43");
        assert_eq!(surplus.counted(), "3 transactions");
        let old = view(12, &format!("{A}:1-8"), "");
        let Compared::Has(surplus) = compare(&old, &view(13, &format!("{A}:1-7,{B}:1-9"), ""), Some(B))
        else {
            panic!("it has more")
        };
        assert_eq!(surplus.transactions, Named::Gtids(format!("{A}:8")));
        assert_eq!(surplus.counted(), "1 transaction");
    }

    #[test]
    fn what_the_next_writer_wrote_is_not_the_old_ones_alone_though_it_told_of_it_later() {
        // It follows the next writer already, whose last word is older than what it has from there.
        let old = view(12, &format!("{A}:1-7,{B}:1-30"), "");
        let new = view(13, &format!("{A}:1-7,{B}:1-9"), "");
        assert_eq!(compare(&old, &new, Some(B)), Compared::Contained);
        let old = view(12, &format!("{A}:1-8,{B}:1-30"), "");
        let Compared::Has(surplus) = compare(&old, &new, Some(&B.to_uppercase())) else {
            panic!("it has more")
        };
        assert_eq!(surplus.transactions, Named::Gtids(format!("{A}:8")));
    }

    #[test]
    fn without_gtids_a_part_of_the_log_is_named() {
        let end = LogEnd(Some(("bin.000003".to_owned(), 900))).to_string();
        let seen = LogSeen { file: "bin.000003".to_owned(), position: 157, more_follows: true }.to_string();
        let Compared::Has(surplus) = compare(&view(12, &end, ""), &view(13, "", &seen), None) else {
            panic!("it has more")
        };
        assert_eq!(surplus.transactions.to_string(), "bin.000003:157 to bin.000003:900 of its log");
        assert_eq!(surplus.counted(), "transactions");
    }

    #[test]
    fn a_replica_that_was_written_to_is_found_by_its_own_numbers() {
        let errant = |host: &GtidView, writer: &GtidView| errant(host, writer, None).unwrap().to_string();
        let writer = view(12, "0-12-60", "");
        assert_eq!(errant(&view(14, "0-12-60,0-14-61", "0-12-60"), &writer), "0-14-1..61");
        assert_eq!(errant(&view(14, "0-12-60", "0-12-60"), &writer), "");
        assert_eq!(errant(&view(14, "0-12-61", "0-12-61"), &writer), "", "the writer's own come from there");
        assert_eq!(errant(&view(14, "0-9-7,0-12-60", ""), &writer), "", "of a server that is long gone");
        // The next writer got more from the last one since: that is no word of what the replica wrote.
        let next = view(13, "0-12-65,0-13-70", "0-12-65");
        assert_eq!(errant(&view(14, "0-12-65,0-14-61", ""), &next), "0-14-1..61");
        let logs_nothing_replicated = view(13, "0-13-70", "0-12-65");
        assert_eq!(errant(&view(14, "0-12-65,0-14-61", ""), &logs_nothing_replicated), "");
    }

    #[test]
    fn of_mysql_everything_counts_but_the_writers_own() {
        let writer = view(12, &format!("{A}:1-60"), "");
        let host = view(14, &format!("{A}:1-61,{B}:1-2"), "");
        assert_eq!(errant(&host, &writer, Some(A)).unwrap().to_string(), format!("{B}:1-2"));
        assert_eq!(errant(&host, &view(12, "0-12-4", ""), None), None, "nothing to compare");
    }
}
