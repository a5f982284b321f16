//! The cluster of a scenario: brought up until it is in service, looked at, and, when the scenario fails, explained.

use std::ops::Deref;
use std::thread;
use std::time::Duration;

use mmm_lab::{Builder, Judge, Lab, M1, M2, MON, Probe, Program, Record, WRITER, wait_for};

/// Anything that takes longer than this is broken, not slow.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// `server-id` of the first master.
pub(crate) const ID1: u32 = 12;
/// `server-id` of the second master.
pub(crate) const ID2: u32 = 13;

/// Checks that see a lost host after two seconds, not ten.
pub(crate) const QUICK_CHECKS: &str = "\
<check ping>\ncheck_period 0.5\ntrap_period 2\ntimeout 1\n</check>\n\
<check mysql>\ncheck_period 0.5\ntrap_period 2\ntimeout 1\n</check>";

/// A lab that tells what its daemons logged when the scenario fails.
pub(crate) struct Cluster {
    lab: Lab,
}

impl Deref for Cluster {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

/// A description of the tutorial's cluster whose hosts come ONLINE after a second.
pub(crate) fn quick(name: &str) -> Builder {
    Lab::for_test(name).auto_set_online(1)
}

impl Cluster {
    /// Makes the lab and takes it as it is.
    pub(crate) fn make(builder: Builder) -> Self {
        Self { lab: builder.up().unwrap() }
    }

    /// Makes the lab and waits until the first master is the writer and each has a reader.
    pub(crate) fn up(builder: Builder) -> Self {
        let cluster = Self::make(builder);
        cluster.expect_writer(M1, &["writer", "reader"]);
        cluster.expect_host(M2, "ONLINE", &["reader"], SOON).unwrap();
        wait_for("the second reader's address", SOON, || match cluster.role_addresses(M2).unwrap().len() {
            1 => Ok(()),
            count => Err(format!("{count} addresses on {M2}")),
        })
        .unwrap();
        cluster
    }

    pub(crate) fn quick(name: &str) -> Self {
        Self::up(quick(name))
    }

    /// Waits until a host has these roles, the writer's address is there and nowhere else, and its server takes writes.
    pub(crate) fn expect_writer(&self, host: &str, roles: &[&str]) {
        self.expect_host(host, "ONLINE", roles, SOON).unwrap();
        wait_for(&format!("{host} in service as the writer"), SOON, || {
            let holders = self.holders(WRITER).unwrap();
            let read_only = self.is_read_only(host).map_err(|error| error.to_string())?;
            let count = self.role_addresses(host).unwrap().len();
            if holders == [host] && !read_only && count == roles.len() {
                return Ok(());
            }
            Err(format!("{WRITER} on {holders:?}, read-only {read_only}, {count} addresses on {host}"))
        })
        .unwrap();
    }

    /// Waits until both masters are ONLINE and share the readers, with the writer on `host`.
    pub(crate) fn expect_pair(&self, host: &str) {
        self.expect_writer(host, &["writer", "reader"]);
        self.expect_host(other(host), "ONLINE", &["reader"], SOON).unwrap();
        self.expect_read_only(other(host), SOON);
    }

    /// Waits until the writer knows that the other master could take over: before that its lease does not run out.
    pub(crate) fn expect_covered(&self) {
        wait_for("a lease that somebody else could take over", SOON, || {
            let shown = self.tell(&["show", "--long"]);
            let is_confirmed = shown.contains("# Could take over: ") && !shown.contains("not confirmed yet");
            if is_confirmed { Ok(()) } else { Err(shown) }
        })
        .unwrap();
    }

    pub(crate) fn expect_read_only(&self, host: &str, limit: Duration) {
        wait_for(&format!("{host} read-only"), limit, || match self.is_read_only(host) {
            Ok(true) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .unwrap();
    }

    pub(crate) fn expect_addresses(&self, host: &str, count: usize, limit: Duration) {
        wait_for(&format!("{count} addresses on {host}"), limit, || {
            let addresses = self.role_addresses(host).unwrap();
            if addresses.len() == count { Ok(()) } else { Err(format!("{addresses:?}")) }
        })
        .unwrap();
    }

    /// The answer of `mmm_control`, which must not be an error.
    pub(crate) fn tell(&self, words: &[&str]) -> String {
        let output = self.control(words).unwrap();
        assert!(output.success(), "mmm_control {words:?}: {output}");
        output.stdout.trim_end().to_owned()
    }

    /// The answer of `mmm_control`, which must be an error.
    pub(crate) fn refusal(&self, words: &[&str]) -> String {
        let output = self.control(words).unwrap();
        assert_eq!(output.code, 1, "mmm_control {words:?}: {output}");
        output.stdout.trim_end().to_owned()
    }

    /// What the monitor has logged since its log had this length; see [`Cluster::log_length`].
    pub(crate) fn log_since(&self, length: usize) -> String {
        self.log(MON, Program::Monitor).unwrap().get(length..).unwrap_or_default().to_owned()
    }

    pub(crate) fn log_length(&self) -> usize {
        self.log(MON, Program::Monitor).unwrap().len()
    }

    /// Waits for words in what the monitor has logged since.
    pub(crate) fn wait_log_since(&self, length: usize, words: &str, limit: Duration) -> String {
        wait_for(&format!("`{words}` in the monitor's log"), limit, || {
            let log = self.log_since(length);
            log.lines().find(|line| line.contains(words)).map(str::to_owned).ok_or(log)
        })
        .unwrap()
    }

    /// Waits for words in the answer to `show`, warnings included.
    pub(crate) fn wait_shown(&self, words: &str, limit: Duration) {
        self.wait_show(&format!("`{words}` in `show`"), limit, |show| show.text.contains(words)).unwrap();
    }

    /// Ends a probe after everything has reached both masters; nothing may be lost or doubled.
    pub(crate) fn judge_clean(&self, probe: &Probe) -> Record {
        let record = probe.stop().unwrap();
        for (here, there) in [(M1, M2), (M2, M1)] {
            self.wait_replicating(there, SOON).unwrap();
            self.wait_replicated(here, there, SOON).unwrap();
        }
        let judge = Judge::new(self, record.clone());
        let verdict = judge.verdict(&[M1, M2]).unwrap();
        eprint!("{verdict}");
        assert!(verdict.acknowledged > 0 && verdict.is_clean(), "{verdict}");
        record
    }

    /// Ends a probe during whose run nothing was to be noticed: one server took all writes, none of them late.
    pub(crate) fn judge_undisturbed(&self, probe: &Probe, server_id: u32) {
        let record = self.judge_clean(probe);
        assert_eq!(writers(&record), [server_id], "the writer changed");
        // Starting and ending programs on a busy machine holds writes up for some 100 ms; moving a role takes more
        // than one failed attempt.
        let failed: Vec<_> = record.attempts.iter().filter(|attempt| !attempt.is_acknowledged()).collect();
        assert!(failed.is_empty(), "writes that failed: {failed:?}");
        let longest = record.gaps().iter().map(mmm_lab::Gap::length).max().unwrap();
        assert!(longest < Duration::from_secs(1), "no write for {longest:?}");
    }

    fn explain(&self) {
        eprintln!(
            "--- show ---\n{}",
            self.control(&["show"]).map_or_else(|e| e.to_string(), |o| o.to_string())
        );
        let agents = self.servers().into_iter().map(|host| (host, Program::Agent));
        let servers = self.servers().into_iter().map(|host| (host, Program::Server));
        for (host, program) in [(MON, Program::Monitor)].into_iter().chain(agents).chain(servers) {
            let log = self.log(host, program).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
            eprintln!("--- {program} on {host} ---\n{last}");
            let addresses = self.addresses(host).unwrap_or_default();
            eprintln!("--- addresses on {host}: {addresses:?}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            self.explain();
        }
    }
}

pub(crate) fn other(host: &str) -> &'static str {
    if host == M1 { M2 } else { M1 }
}

/// The servers that acknowledged writes, in the order in which they took turns.
pub(crate) fn writers(record: &Record) -> Vec<u32> {
    let mut turns: Vec<u32> = record.acknowledged().filter_map(|attempt| attempt.server_id).collect();
    turns.dedup();
    turns
}
