//! The ledger's records with wall-clock times: answers `history`, and hands each record to the file.

mod file;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mmm_core::ledger::{Record, table, tale};
use tokio::sync::watch;

pub(crate) use file::{path_beside, write_changes};

/// Records that are kept at hand; the file may have more.
const KEPT_MAX: usize = 300;
/// Rows of the table where nothing else is asked for.
const ROWS: usize = 20;

/// Records by their numbers, as they are to be on disk.
pub(crate) type Records = BTreeMap<u64, Arc<Record>>;

pub(crate) struct History {
    records: Records,
    disk: watch::Sender<Records>,
}

/// What is on disk, and what is to be.
pub(crate) struct Unwritten {
    written: Records,
    records: watch::Receiver<Records>,
}

/// What an operator wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    json: bool,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Rows(usize),
    Newest,
    Number(u64),
}

impl History {
    /// With what the file has; the other half is for the task that writes it.
    pub(crate) fn load(path: &Path) -> (Self, Unwritten) {
        let mut records: Records =
            file::load(path).into_iter().map(|record| (record.number, Arc::new(record))).collect();
        while records.len() > KEPT_MAX {
            records.pop_first();
        }
        let written = records.clone();
        let (disk, wanted) = watch::channel(records.clone());
        (Self { records, disk }, Unwritten { written, records: wanted })
    }

    /// What the mind needs of it: each record, and how long ago it began.
    pub(crate) fn to_recall(&self) -> Vec<(Record, Duration)> {
        let now = unix_ms();
        let recent = self.records.values().rev().take(64).rev();
        recent
            .map(|record| {
                let latest = record.steps.iter().map(|step| step.at_ms).max().unwrap_or_default();
                let began = record.began_unix_ms.unwrap_or(now);
                // A wall clock that was set back must not turn the order of events around.
                let ago = now.saturating_sub(began).max(latest).max(0);
                ((**record).clone(), Duration::from_millis(u64::try_from(ago).unwrap_or_default()))
            })
            .collect()
    }

    /// Takes in a record as it is now.
    pub(crate) fn take_in(&mut self, mut record: Record) {
        let known = self.records.get(&record.number).and_then(|known| known.began_unix_ms);
        record.began_unix_ms = known.or(record.began_unix_ms).or_else(|| Some(unix_ms()));
        self.records.insert(record.number, Arc::new(record));
        while self.records.len() > KEPT_MAX {
            self.records.pop_first();
        }
        self.disk.send_replace(self.records.clone());
    }

    /// Whether a line of the control port asks for the history.
    pub(crate) fn is_asked(line: &str) -> Option<Question> {
        if line.starts_with(char::is_whitespace) {
            return None;
        }
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let json = words.first() == Some(&"--json");
        if json {
            words.remove(0);
        }
        let what = match words[..] {
            ["history"] => What::Rows(ROWS),
            ["history", "all"] => What::Rows(KEPT_MAX),
            ["history", "last"] => What::Newest,
            ["history", number] | ["history", "show", number] => What::Number(number.parse().ok()?),
            _ => return None,
        };
        Some(Question { json, what })
    }

    pub(crate) fn answer(&self, question: &Question) -> String {
        let one = match question.what {
            What::Rows(rows) => {
                let records: Vec<&Record> =
                    self.records.values().rev().take(rows).map(|record| &**record).collect();
                if question.json {
                    return serde_json::to_string(&records).unwrap_or_else(|error| format!("ERROR: {error}"));
                }
                return table(records, &mmm_daemon::wall_clock_of);
            }
            What::Newest => self.records.values().next_back(),
            What::Number(number) => self.records.get(&number),
        };
        match (one, question.what) {
            (Some(record), _) if question.json => {
                serde_json::to_string(&**record).unwrap_or_else(|error| format!("ERROR: {error}"))
            }
            (Some(record), _) => tale(record, &mmm_daemon::wall_clock_of),
            (None, What::Number(number)) => {
                let known = match (self.records.first_key_value(), self.records.last_key_value()) {
                    (Some((first, _)), Some((last, _))) => format!("There are records {first} to {last}."),
                    _ => "Nothing has been recorded yet.".to_owned(),
                };
                format!("ERROR: There is no record {number}. {known}")
            }
            (None, _) => "ERROR: Nothing has been recorded yet.".to_owned(),
        }
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> Record {
        let line = format!(r#"{{"number":{number},"kind":"failover","role":"writer(192.168.8.30)"}}"#);
        serde_json::from_str(&line).unwrap()
    }

    fn history() -> History {
        History::load(Path::new("/nowhere/x.history")).0
    }

    fn ask(history: &History, line: &str) -> String {
        history.answer(&History::is_asked(line).unwrap())
    }

    #[test]
    fn a_record_keeps_the_time_at_which_it_was_first_heard_of() {
        let mut history = history();
        history.take_in(record(1));
        let began = history.records[&1].began_unix_ms.unwrap();
        std::thread::sleep(Duration::from_millis(5));
        history.take_in(record(1));
        assert_eq!(history.records[&1].began_unix_ms, Some(began));
        let (_, ago) = &history.to_recall()[0];
        assert!(*ago >= Duration::from_millis(5));
    }

    #[test]
    fn the_newest_comes_first_and_one_is_found_by_its_number() {
        let mut history = history();
        assert_eq!(ask(&history, "history"), "Nothing has been recorded yet.\n");
        assert!(ask(&history, "history last").starts_with("ERROR: "));
        for number in 1..=25 {
            history.take_in(record(number));
        }
        let table = ask(&history, "history");
        let numbers: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!((numbers[1], numbers[20], numbers.len()), ("25", "6", 21));
        assert_eq!(ask(&history, "history all").lines().count(), 26);
        for line in ["history 7", "history show 7"] {
            assert!(ask(&history, line).starts_with("failover 7 of role writer(192.168.8.30)"));
        }
        assert!(ask(&history, "history last").starts_with("failover 25 "));
        assert_eq!(ask(&history, "history 99"), "ERROR: There is no record 99. There are records 1 to 25.");
        let json: serde_json::Value = serde_json::from_str(&ask(&history, "--json history")).unwrap();
        assert_eq!((json[0]["number"].as_u64(), json[19]["number"].as_u64()), (Some(25), Some(6)));
        let json: serde_json::Value = serde_json::from_str(&ask(&history, "--json history 7")).unwrap();
        assert_eq!(json["number"], 7);
    }

    #[test]
    fn other_lines_are_not_for_the_history() {
        for line in [" history", "history x", "history 1 2", "historian", "--json", "show"] {
            assert_eq!(History::is_asked(line), None, "{line}");
        }
    }

    #[test]
    fn no_more_than_the_newest_are_kept_at_hand() {
        let mut history = history();
        for number in 1..=400 {
            history.take_in(record(number));
        }
        assert_eq!(history.records.len(), KEPT_MAX);
        assert_eq!(history.records.first_key_value().unwrap().0, &101);
        assert_eq!(history.disk.borrow().len(), KEPT_MAX);
    }
}
