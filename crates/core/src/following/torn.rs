//! A receiver that stopped for good where a file of its source's log ends inside an event: a server that died while it wrote leaves such
//! an end behind, and went on in its next file when it was started. The receiver may go on there as well, where it is proven that it has
//! everything that the file has whole.

use serde::{Deserialize, Serialize};

use super::written;
use crate::message::LogPosition;

/// Every file of a log begins with four bytes that mark it as one.
const FIRST: u64 = 4;

/// How far a server has the file that its receiver stopped in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TornPlace {
    /// The server whose log it is.
    pub source_id: u64,
    pub file: String,
    /// Between two transactions, all before which it has applied.
    pub applied: u64,
    /// Up to here it has received, perhaps to the middle of a transaction.
    pub received: u64,
}

/// What the agent beside that log finds in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TornEnd {
    /// Behind the last whole transaction.
    pub whole: u64,
    /// Where the event begins that has no end.
    pub torn: u64,
    /// The next file.
    pub next: String,
    /// The server began the next file when it was started.
    pub after_start: bool,
    /// The transaction that has no end may have left something behind that the server did not take back.
    pub lasting: bool,
    /// The host went down since, and the server does not write each transaction to the disk before it counts.
    pub unsynced: bool,
}

/// Agent to agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TearRequest {
    Torn(TornPlace),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TearAnswer {
    Torn(TornEnd),
    /// It is something else that stopped the receiver; what was found, for people.
    Not(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passing {
    /// Nothing is left out if it goes on here.
    GoOn(LogPosition),
    /// Something that was received has to be applied first; what, for people.
    Wait(String),
    /// It can't be shown that nothing would be left out; why, for people.
    Refuse(String),
}

/// Whether whoever has this much may go on behind this end.
pub fn judge_torn(place: &TornPlace, end: &TornEnd) -> Passing {
    let at = |position| written(&LogPosition { file: place.file.clone(), position });
    if place.received > end.torn {
        return Passing::Refuse(format!(
            "it has received up to {}, more than the file has, which ends at {}: it may have transactions that its source lost",
            at(place.received),
            at(end.torn)
        ));
    }
    // Of the transaction that has no end a server does not send every event.
    if place.received < end.whole {
        return Passing::Refuse(format!(
            "it stopped at {}, before the end of the last whole transaction at {}: what is between would be left out",
            at(place.received),
            at(end.whole)
        ));
    }
    if !end.after_start {
        return Passing::Refuse(format!(
            "the server did not die there but went on in {}: what has no end in the log may be in its data",
            end.next
        ));
    }
    if end.unsynced {
        return Passing::Refuse(
            "the whole host went down with it, and sync_binlog is not 1: its data may have transactions that its log lost"
                .to_owned(),
        );
    }
    if end.lasting {
        return Passing::Refuse(
            "the transaction that has no end is not one that a server takes back as a whole: a part of it may be in the data of its source"
                .to_owned(),
        );
    }
    if place.applied < end.whole {
        return Passing::Wait(format!(
            "it has applied {}, the last whole transaction ends at {}",
            at(place.applied),
            at(end.whole)
        ));
    }
    Passing::GoOn(LogPosition { file: end.next.clone(), position: FIRST })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> TornPlace {
        TornPlace { source_id: 12, file: "bin.000002".to_owned(), applied: 700, received: 900 }
    }

    fn end() -> TornEnd {
        TornEnd {
            whole: 700,
            torn: 900,
            next: "bin.000003".to_owned(),
            after_start: true,
            lasting: false,
            unsynced: false,
        }
    }

    fn refused(place: &TornPlace, end: &TornEnd) -> String {
        match judge_torn(place, end) {
            Passing::Refuse(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_receiver_with_everything_that_is_whole_goes_on_in_the_next_file() {
        let next = LogPosition { file: "bin.000003".to_owned(), position: 4 };
        assert_eq!(judge_torn(&place(), &end()), Passing::GoOn(next.clone()));
        let between = TornPlace { applied: 900, ..place() };
        assert_eq!(judge_torn(&between, &TornEnd { whole: 900, ..end() }), Passing::GoOn(next));
        let in_between = TornPlace { received: 742, ..place() };
        assert!(matches!(judge_torn(&in_between, &end()), Passing::GoOn(_)), "the rest was not sent");
        let behind = TornPlace { applied: 600, ..place() };
        assert!(
            matches!(judge_torn(&behind, &end()), Passing::Wait(what) if what.contains("bin.000002 600"))
        );
    }

    #[test]
    fn nothing_is_left_out_on_a_guess() {
        assert!(
            refused(&TornPlace { applied: 600, received: 699, ..place() }, &end())
                .contains("would be left out")
        );
        assert!(refused(&TornPlace { received: 901, ..place() }, &end()).contains("more than the file has"));
        assert!(refused(&place(), &TornEnd { after_start: false, ..end() }).contains("did not die there"));
        assert!(refused(&place(), &TornEnd { lasting: true, ..end() }).contains("a part of it"));
        assert!(refused(&place(), &TornEnd { unsynced: true, ..end() }).contains("sync_binlog"));
    }
}
