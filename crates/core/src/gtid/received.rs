//! What a server has received, applied or not: by this, not by what was applied, the next writer is chosen.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::set::{GtidSet, Origin};

/// How far a server has fetched the log of the one it replicates from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    pub source: IpAddr,
    pub file: String,
    pub position: u64,
}

impl Place {
    /// Of the file without its number, the number and the position.
    fn numbered(&self) -> Option<(&str, u64, u64)> {
        let (base, number) = self.file.rsplit_once('.')?;
        Some((base, number.parse().ok()?, self.position))
    }

    /// Bytes of the source's log between two places; `None` where that can't be known.
    pub fn ahead_of(&self, other: &Self) -> Option<Ahead> {
        let (a, b) = (self.numbered()?, other.numbered()?);
        if self.source != other.source || a.0 != b.0 || (a.1, a.2) < (b.1, b.2) {
            return None;
        }
        Some(match (a.1 == b.1, a.2 - b.2.min(a.2)) {
            (true, 0) => Ahead::Not,
            (true, bytes) => Ahead::Bytes(bytes),
            (false, _) => Ahead::Files(a.1 - b.1),
        })
    }
}

/// By how much one place is behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    Not,
    Bytes(u64),
    /// The place is in a later file; how long the ones between are is not known.
    Files(u64),
}

/// Everything that a server has or will have without receiving any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Received {
    pub server_id: u64,
    /// `server_uuid` of `MySQL`.
    #[serde(default)]
    pub server_uuid: Option<String>,
    /// GTIDs of all that is in its own log, was applied, or waits in its relay log, as the server writes them; empty where
    /// transactions have none.
    #[serde(default)]
    pub gtids: String,
    #[serde(default)]
    pub place: Option<Place>,
}

/// How what two servers have received compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    Same,
    /// The first has all that the second has, and more; in words.
    More(String),
    Less(String),
    /// Each has something that the other one lacks: what the first has alone, and what the second.
    Apart(GtidSet, GtidSet),
    /// Not to be told, as of servers that replicate from different ones without GTIDs.
    Unknown,
}

impl Received {
    pub fn set(&self) -> Option<GtidSet> {
        (!self.gtids.is_empty()).then(|| GtidSet::parse(&self.gtids)).flatten()
    }

    fn is_own(&self, origin: &Origin) -> bool {
        origin.is_of(self.server_id, self.server_uuid.as_deref())
    }

    /// What this server has from others, and the other server does not have: its own writings are no argument for it, since a
    /// replica that was written to by mistake would have the most of all.
    pub fn beyond(&self, other: &Self) -> Option<GtidSet> {
        let (own, there) = (self.set()?, other.set()?);
        (!own.is_of_other_family_than(&there)).then(|| {
            // `MariaDB` may tell only the last transaction of a domain: what came before it has come too.
            let passed = |origin: &Origin, number: u64| match origin {
                Origin::Server { domain, .. } => there.ranges().any(|(o, _, to)| {
                    matches!(o, Origin::Server { domain: d, .. } if d == domain)
                        && to >= number
                        && !other.is_own(o)
                }),
                Origin::Uuid { .. } => false,
            };
            let more = own.minus(&there).filter(|origin| !self.is_own(origin));
            more.filter(|origin| more.last(origin).is_some_and(|last| !passed(origin, last)))
        })
    }

    /// Which of two servers has received more from others. Transactions of their own don't count.
    pub fn compare(&self, other: &Self) -> Compared {
        if let (Some(here), Some(there)) = (self.beyond(other), other.beyond(self)) {
            let words = |set: &GtidSet| format!("{} transactions more ({set})", set.count());
            return match (here.is_empty(), there.is_empty()) {
                (true, true) => Compared::Same,
                (false, true) => Compared::More(words(&here)),
                (true, false) => Compared::Less(words(&there)),
                (false, false) => Compared::Apart(here, there),
            };
        }
        let (Some(here), Some(there)) = (&self.place, &other.place) else { return Compared::Unknown };
        let words = |ahead| match ahead {
            Ahead::Not => None,
            Ahead::Bytes(bytes) => Some(format!("{bytes} bytes more of the log of {}", here.source)),
            Ahead::Files(1) => Some(format!("one file more of the log of {}", here.source)),
            Ahead::Files(files) => Some(format!("{files} files more of the log of {}", here.source)),
        };
        match (here.ahead_of(there), there.ahead_of(here)) {
            (Some(ahead), _) => words(ahead).map_or(Compared::Same, Compared::More),
            (None, Some(ahead)) => words(ahead).map_or(Compared::Same, Compared::Less),
            (None, None) => Compared::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    fn by_gtid(server_id: u64, gtids: &str) -> Received {
        Received { server_id, gtids: gtids.to_owned(), ..Received::default() }
    }

    fn by_place(source: &str, file: &str, position: u64) -> Received {
        let place = Place { source: source.parse().unwrap(), file: file.to_owned(), position };
        Received { place: Some(place), ..Received::default() }
    }

    #[test]
    fn who_received_more_is_told_with_what_it_is() {
        let (more, less) = (by_gtid(2, "0-1-45,0-2-7"), by_gtid(3, "0-1-41,0-2-7"));
        assert_eq!(more.compare(&less), Compared::More("4 transactions more (0-1-42..45)".to_owned()));
        assert_eq!(less.compare(&more), Compared::Less("4 transactions more (0-1-42..45)".to_owned()));
        assert_eq!(more.compare(&more), Compared::Same);
    }

    #[test]
    fn transactions_of_its_own_are_no_argument_for_a_server() {
        let errant = by_gtid(3, "0-1-40,0-3-900");
        assert_eq!(
            errant.compare(&by_gtid(2, "0-1-41")),
            Compared::Less("1 transactions more (0-1-41)".to_owned())
        );
        let uuid = |own: &str, gtids: String| Received {
            server_uuid: Some(own.to_owned()),
            gtids,
            ..Received::default()
        };
        let errant = uuid(B, format!("{A}:1-40,{B}:1-900"));
        assert_eq!(errant.compare(&uuid("x", format!("{A}:1-40"))), Compared::Same);
    }

    #[test]
    fn the_last_of_a_domain_stands_for_those_before_it() {
        // The second keeps no log of what it replicates and tells only the last one.
        assert_eq!(by_gtid(2, "0-1-40,0-9-44").compare(&by_gtid(3, "0-9-44")), Compared::Same);
        assert_eq!(
            by_gtid(2, "0-1-40").compare(&by_gtid(3, "0-9-44")),
            Compared::Less("44 transactions more (0-9-1..44)".to_owned())
        );
    }

    #[test]
    fn each_may_have_what_the_other_lacks() {
        let (a, b) = (by_gtid(2, "0-1-45,1-1-3"), by_gtid(3, "0-1-41,1-1-9"));
        assert!(
            matches!(a.compare(&b), Compared::Apart(here, there) if here.count() == 4 && there.count() == 6)
        );
    }

    #[test]
    fn without_gtids_places_in_the_same_log_are_compared() {
        let here = by_place("10.0.0.1", "bin.000002", 700);
        assert_eq!(here.compare(&by_place("10.0.0.1", "bin.000002", 700)), Compared::Same);
        assert_eq!(
            here.compare(&by_place("10.0.0.1", "bin.000002", 500)),
            Compared::More("200 bytes more of the log of 10.0.0.1".to_owned())
        );
        assert_eq!(
            here.compare(&by_place("10.0.0.1", "bin.000004", 4)),
            Compared::Less("2 files more of the log of 10.0.0.1".to_owned())
        );
        assert_eq!(here.compare(&by_place("10.0.0.2", "bin.000002", 500)), Compared::Unknown);
        assert_eq!(here.compare(&by_place("10.0.0.1", "other.000002", 500)), Compared::Unknown);
        assert_eq!(here.compare(&by_gtid(2, "0-1-5")), Compared::Unknown);
        assert_eq!(Received::default().compare(&Received::default()), Compared::Unknown);
    }
}
