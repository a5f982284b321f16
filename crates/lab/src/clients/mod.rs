//! Clients that change data in every way that a lost or doubled transaction would show in: rows that are only inserted, counters that
//! several of them add to, and transfers between accounts whose sum never changes. What each was told is kept in files, one a client, and
//! held against what the servers have in the end.
//!
//! `deed` is what a client does and its line in the file, `worker` the process that does it, `books` what one server has of it,
//! `judgement` the comparison.

mod books;
mod deed;
mod judgement;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

pub use books::Books;
pub use deed::{Deed, Done};
pub use judgement::{Judgement, Tolerance};
pub use worker::ClientWorker;

use crate::error::{LabError, Result, at};
use crate::host::{CLIENT, WRITER};
use crate::lab::Lab;
use crate::moment::Moment;
use crate::process::ProcessId;
use crate::record::{Attempt, Outcome, Record};
use crate::wait::wait_for;

/// Counters that clients add to.
pub(crate) const COUNTERS: u32 = 6;
/// Accounts that they transfer between.
pub(crate) const ACCOUNTS: u32 = 12;
/// What is on each account at first.
pub(crate) const BALANCE: i64 = 1000;
/// Numbers of a client; those of different clients and runs never meet.
const NUMBERS_PER_CLIENT: u64 = 10_000_000;
const CLIENTS_PER_RUN: u64 = 5_000;

/// What the clients need in the schema `lab`, one statement a line.
pub(crate) fn tables() -> String {
    let mut text = "\
CREATE TABLE lab.entry (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, server_id INT UNSIGNED NOT NULL) ENGINE=InnoDB;
CREATE TABLE lab.transfer (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, server_id INT UNSIGNED NOT NULL, \
source INT UNSIGNED NOT NULL, target INT UNSIGNED NOT NULL, amount BIGINT NOT NULL) ENGINE=InnoDB;
CREATE TABLE lab.counter (id INT UNSIGNED NOT NULL PRIMARY KEY, value BIGINT NOT NULL) ENGINE=InnoDB;
CREATE TABLE lab.account (id INT UNSIGNED NOT NULL PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB;
"
    .to_owned();
    let rows = |count, value| (0..count).map(|id| format!("({id}, {value})")).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "INSERT INTO lab.counter VALUES {};", rows(COUNTERS, 0));
    let _ = writeln!(text, "INSERT INTO lab.account VALUES {};", rows(ACCOUNTS, BALANCE));
    text
}

/// How many clients, how busy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The host they run on.
    pub on: String,
    /// Address they write to.
    pub target: String,
    pub clients: u32,
    /// From one attempt of a client to its next.
    pub every: Duration,
}

impl Default for Load {
    /// Four clients on the client host that together write 200 times a second through the writer's address.
    fn default() -> Self {
        Self {
            on: CLIENT.to_owned(),
            target: WRITER.to_owned(),
            clients: 4,
            every: Duration::from_millis(20),
        }
    }
}

/// Clients that were started.
#[derive(Clone, Debug)]
pub struct Clients {
    process: ProcessId,
    records: Vec<PathBuf>,
}

impl Lab {
    /// Starts clients; returns once each has made its first attempt.
    pub fn start_clients(&self, load: &Load) -> Result<Clients> {
        let host = self.host(&load.on)?;
        let program = self.program("mmm_lab")?;
        let base = self.dir.join("clients");
        at(fs::create_dir_all(&base), "cannot create", &base)?;
        let clients = self.store.update(|state| {
            let run = at(fs::read_dir(&base), "cannot list", &base)?.count();
            let dir = base.join(run.to_string());
            at(fs::create_dir(&dir), "cannot create", &dir)?;
            let first = u64::try_from(run).unwrap_or(u64::MAX) * CLIENTS_PER_RUN * NUMBERS_PER_CLIENT + 1;
            let records: Vec<PathBuf> =
                (0..load.clients).map(|client| dir.join(format!("{client}.record"))).collect();
            let (program, every) = (program.to_string_lossy(), load.every.as_millis().to_string());
            let first = first.to_string();
            let words =
                [&*program, "clients-run", "--target", &load.target, "--first", &first, "--every-ms", &every];
            let mut argv: Vec<String> = words.map(str::to_owned).to_vec();
            argv.extend(records.iter().map(|path| path.to_string_lossy().into_owned()));
            let process = self.spawn(host, &argv, &dir.join("log"))?;
            state.started.push(process);
            Ok(Clients { process, records })
        })?;
        wait_for("every client's first attempt", Duration::from_secs(20), || {
            let made = clients.done().map_err(|error| error.to_string())?;
            match made.iter().position(Vec::is_empty) {
                None => Ok(()),
                Some(client) => Err(format!("none of client {client}")),
            }
        })?;
        Ok(clients)
    }
}

impl Clients {
    /// What each client did, as far as it is written.
    pub fn done(&self) -> Result<Vec<Vec<Done>>> {
        self.records.iter().map(|path| read(path)).collect()
    }

    /// All attempts of all clients, by the time of their ends: for the times that a [`Record`] tells.
    pub fn record(&self) -> Result<Record> {
        let mut attempts: Vec<Attempt> =
            self.done()?.into_iter().flatten().map(|done| done.attempt).collect();
        attempts.sort_by_key(|attempt| attempt.end);
        Ok(Record { attempts })
    }

    /// Ends the clients; those that have ended already are no error.
    pub fn stop(&self) -> Result<()> {
        self.process.signal(Signal::TERM);
        let limit = Duration::from_secs(5);
        if self.process.wait_end(limit) {
            return Ok(());
        }
        Err(LabError::Timeout {
            what: "the clients' end".to_owned(),
            limit,
            last: format!("process {} is still there", self.process.pid),
        })
    }

    /// Waits until a change is acknowledged by this server after a moment.
    pub fn wait_by(&self, server_id: u32, after: Moment, limit: Duration) -> Result<Attempt> {
        wait_for(&format!("a change being acknowledged by server {server_id}"), limit, || {
            let record = self.record().map_err(|error| error.to_string())?;
            let first = record
                .acknowledged()
                .find(|attempt| attempt.end > after && attempt.server_id == Some(server_id))
                .cloned();
            first.ok_or_else(|| record.attempts.last().map_or("nothing".to_owned(), ToString::to_string))
        })
    }
}

impl Lab {
    /// Holds what all clients that ever ran in this lab were told against what the servers on these hosts have, once all have the same or
    /// the time is up. Clients that still run make the answer wrong.
    pub fn judge_clients(&self, hosts: &[&str], tolerance: Tolerance, limit: Duration) -> Result<Judgement> {
        let records = self.client_records()?;
        let done: Vec<Vec<Done>> = records.iter().map(|path| read(path)).collect::<Result<_>>()?;
        let done = done.concat();
        Ok(Judgement::of(&done, &self.wait_identical(hosts, limit)?, tolerance))
    }

    /// The files of all clients that ever ran in this lab.
    pub fn client_records(&self) -> Result<Vec<PathBuf>> {
        let list = |dir: &Path| at(fs::read_dir(dir), "cannot list", dir);
        let mut records = Vec::new();
        for run in list(&self.dir.join("clients"))?.flatten() {
            let files = list(&run.path())?.flatten().map(|file| file.path());
            records.extend(files.filter(|file| file.extension().is_some_and(|end| end == "record")));
        }
        records.sort();
        Ok(records)
    }

    /// What the servers on these hosts have, as soon as all have the same, or at the limit.
    pub fn wait_identical(&self, hosts: &[&str], limit: Duration) -> Result<Vec<(String, Books)>> {
        let mut last = Vec::new();
        let waited = wait_for("the same data on all hosts", limit, || {
            last = hosts
                .iter()
                .map(|host| Ok(((*host).to_owned(), self.books(host)?)))
                .collect::<Result<Vec<_>>>()
                .map_err(|error| error.to_string())?;
            if last.windows(2).all(|pair| pair[0].1 == pair[1].1) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
            Err(String::new())
        });
        match waited {
            // That they differ is for the judgement to say; that one does not answer is not.
            Err(LabError::Timeout { last: reason, .. }) if !reason.is_empty() => Err(LabError::Other(reason)),
            _ => Ok(last),
        }
    }
}

/// Reads what a client did, also while it is still at it.
fn read(path: &Path) -> Result<Vec<Done>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        result => at(result, "cannot read", path)?,
    };
    // A last line without its end is still being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |(index, line): (usize, &str)| {
        line.parse().map_err(|reason| LabError::BadRecord { path: path.to_owned(), line: index + 1, reason })
    };
    whole.lines().enumerate().map(parse).collect()
}

impl Done {
    pub fn outcome(&self) -> Outcome {
        self.attempt.outcome
    }
}
