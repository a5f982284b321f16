//! What a replica has received of a lost writer and the next writer has not: handed over out of the replica's log, while its
//! server runs on.
//!
//! Only what the lost writer itself wrote is asked for. Whatever else the replica has alone was written there by mistake.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Candidate, Lack, Lacking};
use crate::gtid::{GtidSet, Origin};

/// What is wanted of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Wanted {
    /// The lost writer's server.
    pub server_id: u64,
    pub server_uuid: Option<String>,
    /// What the replica is known to have received, as [`GtidSet`] shows it. Its log has it when it has applied that.
    pub at_least: String,
}

impl Wanted {
    pub fn is_by_the_writer(&self, origin: &Origin) -> bool {
        origin.is_of(self.server_id, self.server_uuid.as_deref())
    }
}

/// How much of what is wanted has been found in the replica's log.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// What the next writer lacks of it.
    wanted: GtidSet,
    found: u64,
    last: BTreeMap<Origin, u64>,
}

impl Gathered {
    /// `None` where what is wanted can't be told by GTIDs.
    pub fn begin(lacking: &Lacking) -> Option<Self> {
        let at_least = GtidSet::parse_shown(&lacking.lent.as_ref()?.at_least)?;
        let has = GtidSet::parse(&lacking.gtids)?;
        let lack = Lack::new(lacking);
        let wanted = at_least.minus(&has);
        let wanted = wanted.filter(|origin| {
            wanted.last(origin).is_some_and(|last| {
                let gtid = Some((origin.clone(), last));
                lack.lacks(&Candidate { file: "", to: 0, gtid })
            })
        });
        lack.goes_by_gtid().then(|| Self { wanted, found: 0, last: BTreeMap::new() })
    }

    /// A transaction that is in the log.
    pub fn take_in(&mut self, origin: &Origin, number: u64) {
        if self.wanted.contains(origin, number) {
            self.found += 1;
            let last = self.last.entry(origin.clone()).or_default();
            *last = number.max(*last);
        }
    }

    pub fn of(&self) -> u64 {
        self.wanted.count()
    }

    pub fn have(&self) -> u64 {
        self.found
    }

    /// Numbers of `MariaDB` belong to a whole domain, so that those of one server have gaps, and only grow. A `MySQL` that applies
    /// by several threads may log a later one first.
    pub fn is_whole(&self) -> bool {
        let last_is_there = |origin: &Origin| self.last.get(origin).copied() >= self.wanted.last(origin);
        let mut origins = self.wanted.ranges().map(|(origin, _, _)| origin);
        self.found >= self.of()
            || origins.all(|origin| matches!(origin, Origin::Server { .. }) && last_is_there(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    fn lacking(gtids: &str, at_least: &str) -> Lacking {
        let wanted = Wanted { server_id: 12, server_uuid: Some(A.to_owned()), at_least: at_least.to_owned() };
        Lacking { server_id: 13, gtids: gtids.to_owned(), lent: Some(wanted), ..Lacking::default() }
    }

    fn server(server: u64) -> Origin {
        Origin::Server { domain: 0, server }
    }

    fn uuid(uuid: &str) -> Origin {
        Origin::Uuid { uuid: uuid.to_owned(), tag: String::new() }
    }

    fn lacks(lack: &Lack, origin: Origin, number: u64) -> bool {
        lack.lacks(&Candidate { file: "bin.000001", to: 9, gtid: Some((origin, number)) })
    }

    #[test]
    fn of_a_replica_only_what_the_lost_writer_wrote_is_lacking() {
        let lack = Lack::new(&lacking("0-12-40", "0-12-41..45"));
        assert!(
            lacks(&lack, server(12), 41) && lacks(&lack, server(12), 46) && !lacks(&lack, server(12), 40)
        );
        assert!(!lacks(&lack, server(14), 44), "somebody wrote to the replica");
        assert!(!lack.lacks(&Candidate { file: "bin.000001", to: 9, gtid: None }));
        // What was written there by mistake is in every file before.
        assert!(lack.has_all("0-12-40,0-14-7") && !lack.has_all("0-12-41,0-14-7"));
        let lack = Lack::new(&lacking(&format!("{A}:1-40"), &format!("{A}:41-45")));
        assert!(lacks(&lack, uuid(A), 41) && !lacks(&lack, uuid(B), 1));
    }

    #[test]
    fn mariadb_has_it_all_when_the_last_number_is_there() {
        let mut gathered = Gathered::begin(&lacking("0-12-40", "0-12-41..45")).unwrap();
        assert!(!gathered.is_whole());
        gathered.take_in(&server(12), 41);
        gathered.take_in(&server(14), 45);
        assert!(!gathered.is_whole());
        gathered.take_in(&server(12), 45);
        assert!(gathered.is_whole());
        assert_eq!((gathered.have(), gathered.of()), (2, 5));
    }

    #[test]
    fn mysql_has_it_all_when_each_is_there() {
        let mut gathered = Gathered::begin(&lacking(&format!("{A}:1-42"), &format!("{A}:41-45"))).unwrap();
        for number in [45, 43] {
            gathered.take_in(&uuid(A), number);
            assert!(!gathered.is_whole());
        }
        gathered.take_in(&uuid(A), 44);
        assert!(gathered.is_whole());
    }

    #[test]
    fn what_came_meanwhile_is_not_waited_for() {
        assert!(Gathered::begin(&lacking("0-12-45", "0-12-41..45")).unwrap().is_whole());
        assert!(Gathered::begin(&lacking("", "0-12-41..45")).is_none(), "it does not go by GTID");
        let of_others = Gathered::begin(&lacking("0-12-40", "0-12-41..45,0-14-7")).unwrap();
        assert_eq!(of_others.of(), 5, "nor is what others wrote");
        assert!(Gathered::begin(&lacking("0-12-40", "nonsense")).is_none());
    }
}
