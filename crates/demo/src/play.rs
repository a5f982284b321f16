//! The tutorial, act by act. Each act shows what an operator would do and see, and fails when the cluster does not come to the state the
//! tutorial promises within the act's limit.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mmm_lab::{Lab, M1, M2, MON, Moment, Program, READERS, Show, WRITER, wait_for};

use crate::events::Events;
use crate::stage::Stage;

/// For states that come by themselves at once.
const SOON: Duration = Duration::from_secs(8);
/// For states that come `auto_set_online` (10 s) after something.
const AFTER_AUTO_SET_ONLINE: Duration = Duration::from_secs(20);
/// So that the client's writes before and after an event are more than a handful.
const BREATH: Duration = Duration::from_secs(2);
/// Server ids of the tutorial.
const M1_ID: u32 = 12;
const M2_ID: u32 = 13;

pub(crate) struct Play<'a> {
    lab: &'a Lab,
    stage: &'a Stage,
    /// Lines of each log that were shown already.
    shown: Vec<(&'static str, Program, usize)>,
}

impl<'a> Play<'a> {
    pub(crate) fn new(lab: &'a Lab, stage: &'a Stage) -> Result<Self> {
        let shown = [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)]
            .map(|(host, program)| (host, program, 0));
        for name in ["mmm_mond", "mmm_agentd", "mmm_control", "mmm_lab"] {
            lab.program(name)?;
        }
        Ok(Self { lab, stage, shown: shown.into() })
    }

    pub(crate) fn run(mut self) -> Result<()> {
        self.introduce()?;
        self.start()?;
        self.wait_online()?;
        self.stage
            .heading("A client writes through the writer address from now on: a numbered row every 5 ms.");
        self.stage.command("client", "mmm_lab probe start");
        let probe = self.lab.start_probe().context("start the writing client")?;
        probe.wait_write_by(M1_ID, Moment::from_micros(0), SOON)?;
        self.stage.confirmed(&format!("{M1} acknowledges writes at {WRITER}"));
        let mut events = Events::new(self.lab, probe);
        self.stop_server(&mut events)?;
        self.start_server(&mut events)?;
        self.move_role(&mut events)?;
        self.maintain(&mut events)?;
        self.stage.heading("Everything that mmm_control can do.");
        self.control(&["help"])?;
        self.finish(&events)
    }

    fn control(&self, words: &[&str]) -> Result<String> {
        Ok(self.stage.control(self.lab, MON, words)?.text())
    }

    /// Waits for a state of both masters, then shows `mmm_control show` as the operator sees it.
    fn expect(&self, what: &str, limit: Duration, m1: (&str, &[&str]), m2: (&str, &[&str])) -> Result<()> {
        let is = |show: &Show, host: &str, (state, roles): (&str, &[&str])| {
            show.host(host).is_some_and(|shown| shown.state == state && shown.has_exactly(roles))
        };
        let accept = |show: &Show| is(show, M1, m1) && is(show, M2, m2);
        self.lab.wait_show(what, limit, accept)?;
        let shown = Show::parse(&self.control(&["show"])?);
        if !accept(&shown) {
            bail!("{what} was so for a moment only; `show` now:\n{}", shown.text);
        }
        self.stage.confirmed(what);
        Ok(())
    }

    /// Waits until both masters have the addresses of these roles, then shows them.
    fn addresses(&self, m1: &[&str], m2: &[&str]) -> Result<()> {
        for (host, roles) in [(M1, m1), (M2, m2)] {
            wait_for(&format!("{host} having the addresses of {roles:?}, and no others"), SOON, || {
                let found = self.lab.role_addresses(host).map_err(|error| error.to_string())?;
                let readers = READERS.into_iter().filter(|ip| found.contains(*ip)).count();
                let wanted_readers = roles.iter().filter(|role| **role == "reader").count();
                let writer = found.contains(WRITER) == roles.contains(&"writer");
                let complete = writer && readers == wanted_readers && found.len() == roles.len();
                if complete { Ok(()) } else { Err(format!("{found:?}")) }
            })?;
            self.stage.shell(self.lab, host, "ip a show eth0 | grep 'inet '")?;
        }
        self.stage.confirmed("each host has the addresses of its roles, and no others");
        Ok(())
    }

    /// Shows what was logged since the last call.
    fn logs(&mut self) -> Result<()> {
        for (host, program, shown) in &mut self.shown {
            let count = self.lab.log(host, *program)?.lines().count();
            let new = count.saturating_sub(*shown);
            *shown = count;
            if new > 0 {
                let file = format!("/var/log/mysql-mmm/{}.log", program.executable());
                self.stage.shell(self.lab, host, &format!("tail -n {new} {file}"))?;
            }
        }
        Ok(())
    }

    fn introduce(&self) -> Result<()> {
        self.stage.heading(
            "Three hosts and a client, each with its own network, files and name; MariaDB on two of them.",
        );
        for host in self.lab.hosts() {
            let server = host.server_id.map_or(String::new(), |id| format!(", server-id {id}"));
            Stage::remark(&format!("{:<9}  {}  {}{server}", host.name, host.ip, host.kind));
        }
        Stage::remark(&format!(
            "writer address {WRITER}, reader addresses {} and {}",
            READERS[0], READERS[1]
        ));
        let sql = "SHOW SLAVE STATUS\\G";
        for host in [M1, M2] {
            let typed = format!("mariadb -e '{sql}' | grep -E 'Master_Host|Running:'");
            let output = self.stage.shell(self.lab, host, &typed)?;
            if output.stdout.matches("Running: Yes").count() != 2 {
                bail!("replication does not run on {host}");
            }
        }
        self.stage.confirmed("the two masters replicate from each other");
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        self.stage.heading("Start the agents on both masters, then the monitor.");
        for (host, program) in [(M1, Program::Agent), (M2, Program::Agent), (MON, Program::Monitor)] {
            self.stage.command(host, &format!("{} &", program.executable()));
            self.lab.start(host, program)?;
        }
        self.lab.wait_show("the monitor knowing both masters", SOON, |show| {
            [M1, M2].iter().all(|host| show.state(host) == "AWAITING_RECOVERY")
        })?;
        self.stage.heading(
            "The monitor has checked everything once. Hosts it did not know before wait to be set online.",
        );
        self.expect(
            "both masters AWAITING_RECOVERY",
            SOON,
            ("AWAITING_RECOVERY", &[]),
            ("AWAITING_RECOVERY", &[]),
        )?;
        wait_for("all 8 checks OK", SOON, || {
            let answer = self.lab.control(&["checks", "all"]).map_err(|error| error.to_string())?;
            let good = answer.stdout.lines().filter(|line| line.contains("]  OK")).count();
            if good == 8 { Ok(()) } else { Err(format!("\n{answer}")) }
        })?;
        self.control(&["checks", "all"])?;
        self.stage.confirmed("all 8 checks OK");
        if self.control(&["mode"])?.trim() != "ACTIVE" {
            bail!("the monitor should be in the mode ACTIVE");
        }
        self.logs()
    }

    fn wait_online(&mut self) -> Result<()> {
        self.stage.heading(
            "auto_set_online is 10: after ten seconds the monitor sets both online and hands out the roles.",
        );
        let what = "both masters ONLINE, MySQL-M1 the writer, one reader each";
        let (m1, m2) = (["writer", "reader"], ["reader"]);
        self.expect(what, AFTER_AUTO_SET_ONLINE, ("ONLINE", &m1), ("ONLINE", &m2))?;
        self.stage.heading("The addresses are where the roles are.");
        self.addresses(&m1, &m2)?;
        self.logs()
    }

    fn stop_server(&mut self, events: &mut Events<'_>) -> Result<()> {
        thread::sleep(BREATH);
        self.stage.heading("Stop the server of MySQL-M1, the writer.");
        self.stage
            .command(M1, "kill $(cat /run/mysqld/mysqld.pid)     # where systemd is: systemctl stop mariadb");
        let stopped = self.lab.stop(M1, Program::Server)?;
        events.probe().wait_write_by(M2_ID, stopped, SOON)?;
        let roles = ["writer", "reader", "reader"];
        let what = "MySQL-M1 HARD_OFFLINE without roles, MySQL-M2 with the writer and both readers";
        self.expect(what, SOON, ("HARD_OFFLINE", &[]), ("ONLINE", &roles))?;
        self.addresses(&[], &roles)?;
        thread::sleep(BREATH);
        let gap = events.note("mysqld of the writer MySQL-M1 stopped", stopped, M2)?;
        Stage::remark(&format!(
            "the client's writes were interrupted for {gap:.1} ms; MySQL-M2 takes them now"
        ));
        self.logs()
    }

    fn start_server(&mut self, events: &mut Events<'_>) -> Result<()> {
        self.stage.heading(
            "Start it again. It was away for less than a minute, so MySQL-M1 comes back at once, with one reader; the writer stays.",
        );
        self.stage.command(M1, "mariadbd &     # where systemd is: systemctl start mariadb");
        let started = self.lab.start(M1, Program::Server)?;
        let (m1, m2) = (["reader"], ["writer", "reader"]);
        let what = "MySQL-M1 ONLINE with one reader, MySQL-M2 still the writer";
        self.lab.wait_show(
            "the old writer's transactions being compared",
            AFTER_AUTO_SET_ONLINE,
            |show| show.state(M1) == "ONLINE" && !show.text.contains("Warning:"),
        )?;
        self.expect(what, AFTER_AUTO_SET_ONLINE, ("ONLINE", &m1), ("ONLINE", &m2))?;
        self.addresses(&m1, &m2)?;
        wait_for("MySQL-M1 being read-only", SOON, || match self.lab.is_read_only(M1) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it is writable".to_owned()),
            Err(error) => Err(error.to_string()),
        })?;
        self.stage.shell(self.lab, M1, "mariadb -te 'SELECT @@hostname, @@read_only'")?;
        self.stage.confirmed("MySQL-M1 is read-only, because it does not hold the writer role");
        events.note("mysqld of MySQL-M1 started again", started, M2)?;
        self.settle()?;
        self.logs()
    }

    fn move_role(&mut self, events: &mut Events<'_>) -> Result<()> {
        thread::sleep(BREATH);
        self.stage.heading("Move the writer role back to MySQL-M1, while the client writes.");
        let moved = Moment::now();
        let answer = self.control(&["move_role", "writer", M1])?;
        if !answer.starts_with("OK: Role 'writer' has been moved") {
            bail!("the monitor refused to move the role: {answer}");
        }
        events.probe().wait_write_by(M1_ID, moved, SOON)?;
        let (m1, m2) = (["writer", "reader"], ["reader"]);
        self.expect("MySQL-M1 is the writer, one reader each", SOON, ("ONLINE", &m1), ("ONLINE", &m2))?;
        self.addresses(&m1, &m2)?;
        let gap = events.note("move_role writer MySQL-M1", moved, M1)?;
        Stage::remark(&format!("the client's writes were interrupted for {gap:.1} ms"));
        self.settle()?;
        self.logs()
    }

    fn maintain(&mut self, events: &mut Events<'_>) -> Result<()> {
        thread::sleep(BREATH);
        self.stage.heading("Take MySQL-M1, the writer, out of service for maintenance.");
        let offline = Moment::now();
        let answer = self.control(&["set_offline", M1])?;
        if !answer.starts_with("OK: State of 'MySQL-M1' changed to ADMIN_OFFLINE") {
            bail!("the monitor refused: {answer}");
        }
        events.probe().wait_write_by(M2_ID, offline, SOON)?;
        let roles = ["writer", "reader", "reader"];
        let what = "MySQL-M1 ADMIN_OFFLINE without roles, MySQL-M2 has them all";
        self.expect(what, SOON, ("ADMIN_OFFLINE", &[]), ("ONLINE", &roles))?;
        self.addresses(&[], &roles)?;
        thread::sleep(BREATH);
        let gap = events.note("set_offline MySQL-M1 (the writer)", offline, M2)?;
        Stage::remark(&format!("the client's writes were interrupted for {gap:.1} ms"));
        self.stage.heading("And back into service.");
        let online = Moment::now();
        self.control(&["set_online", M1])?;
        let (m1, m2) = (["reader"], ["writer", "reader"]);
        self.expect("MySQL-M1 ONLINE with one reader", SOON, ("ONLINE", &m1), ("ONLINE", &m2))?;
        self.addresses(&m1, &m2)?;
        self.settle()?;
        events.note("set_online MySQL-M1", online, M2)?;
        self.logs()
    }

    /// Both masters replicate again and have what the other has, so that the next step starts from a whole cluster.
    fn settle(&self) -> Result<()> {
        for (host, other) in [(M1, M2), (M2, M1)] {
            self.lab.wait_replicating(host, SOON)?;
            self.lab.wait_replicated(other, host, SOON)?;
        }
        self.stage.confirmed("the masters replicate from each other and neither is behind");
        Ok(())
    }

    fn finish(&self, events: &Events<'_>) -> Result<()> {
        events.probe().wait_write(Moment::now(), SOON)?;
        let record = events.probe().stop()?;
        for (host, other) in [(M1, M2), (M2, M1)] {
            self.lab.wait_replicated(other, host, SOON)?;
        }
        let summary = events.finish(record, [M1, M2])?;
        self.stage.heading("What the client noticed.");
        Stage::lines(&summary.to_string());
        if summary.is_clean() {
            Ok(())
        } else {
            bail!("acknowledged writes are missing or double; none should be")
        }
    }
}
