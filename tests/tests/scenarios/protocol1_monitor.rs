//! Our monitor and a host that still has an agent of 2.2.1: the role moves there and back, and moves away from a crash.
//!
//! The agent is a double that does what 2.2.1's does, on the real host: SQL for the server, `ip` for the addresses, one
//! connection at a time, and no memory.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mmm_lab::{CLIENT, CLIENT2, Lab, M1, M2, Moment, Program, READERS, WRITER, base_dir, wait_for};

use crate::cluster::{ID1, ID2, SOON};
use crate::locks::Session;
use crate::sides::{Sides, quick_sides};
use crate::watchers::on_host;

const PORT: u16 = 9989;
const NOT_FENCED: &str = "# Warning: agent on host MySQL-M2 speaks protocol 1: not fenced";

/// An agent of 2.2.1 on a host of the lab.
struct OldAgent {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl OldAgent {
    fn start(lab: &Lab, host: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let own = Lab::open(lab.dir().parent().unwrap_or(&base_dir()), lab.name()).unwrap();
        let thread = on_host(lab, host, move || {
            let listener = TcpListener::bind(("0.0.0.0", PORT)).unwrap();
            listener.set_nonblocking(true).unwrap();
            let mut agent = Served { lab: own, host, state: "UNKNOWN".to_owned(), roles: BTreeSet::new() };
            while !stopped.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => agent.serve(stream),
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self { stop, thread }
    }

    /// Ends as 2.2.1's agent does: addresses and server stay as they are.
    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

struct Served {
    lab: Lab,
    host: &'static str,
    state: String,
    /// As they stand in the lines: `writer(192.168.8.30)`.
    roles: BTreeSet<String>,
}

impl Served {
    /// Answers each line of a connection, and looks after the roles before it takes the next.
    fn serve(&mut self, stream: TcpStream) {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        if reader.read_line(&mut line).is_ok() && line.ends_with('\n') {
            let answer = format!("{}|UP:{}\n", self.answer(line.trim_end_matches('\n')), uptime());
            // A monitor that is gone needs no answer.
            let _ = reader.get_mut().write_all(answer.as_bytes());
            let _ = reader.read_to_end(&mut Vec::new());
        }
        self.check_roles();
    }

    fn answer(&mut self, line: &str) -> String {
        let fields: Vec<&str> = line.split('|').collect();
        let [word, _, host, params @ ..] = fields.as_slice() else {
            return format!("ERROR: Invalid command '{line}'!");
        };
        if *host != self.host {
            return format!("ERROR: Invalid hostname in command ({host})! My name is '{}'", self.host);
        }
        match (*word, params) {
            ("PING", _) => "OK: Pinged!".to_owned(),
            ("SET_STATUS", [state, roles, ..]) => {
                self.set_status(state, roles);
                "OK: Status applied successfully!".to_owned()
            }
            ("GET_AGENT_STATUS", _) => format!("OK: Returning status!|{}|{}|", self.state, join(&self.roles)),
            ("GET_SYSTEM_STATUS", _) => {
                let writable = if self.is_writable() { "1" } else { "" };
                format!("OK: Returning status!|{writable}|{}|192.168.8.32", join(&self.configured()))
            }
            ("CLEAR_BAD_ROLES", _) => {
                let bad: Vec<String> = self.configured().difference(&self.roles).cloned().collect();
                for role in &bad {
                    self.remove(role);
                }
                format!("OK: Removed {} roles", bad.len())
            }
            _ => format!("ERROR: Invalid command '{word}'!"),
        }
    }

    fn set_status(&mut self, state: &str, roles: &str) {
        let roles: BTreeSet<String> =
            roles.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect();
        for gone in self.roles.difference(&roles) {
            self.remove(gone);
        }
        let new: Vec<String> = roles.difference(&self.roles).cloned().collect();
        state.clone_into(&mut self.state);
        self.roles = roles;
        for role in new {
            if is_writer(&role) {
                self.catch_up();
            }
            self.add(&role);
        }
    }

    /// Errors are only in the log of an agent of 2.2.1.
    fn sql(&self, statement: &str) -> Option<String> {
        self.lab.sql_within(self.host, statement, SOON).ok()?.value().map(str::to_owned)
    }

    fn is_writable(&self) -> bool {
        self.sql("SELECT @@read_only").as_deref() == Some("0")
    }

    fn configured(&self) -> BTreeSet<String> {
        let here = self.lab.addresses(self.host).unwrap();
        let known =
            [format!("writer({WRITER})")].into_iter().chain(READERS.map(|ip| format!("reader({ip})")));
        known.filter(|role| here.iter().any(|ip| ip == address(role))).collect()
    }

    fn remove(&self, role: &str) {
        if is_writer(role) {
            self.sql("SET GLOBAL read_only = 1");
            let clients = "SELECT id FROM information_schema.processlist WHERE user = 'probe'";
            for row in
                self.lab.sql_within(self.host, clients, SOON).map(|table| table.rows).unwrap_or_default()
            {
                let id = row[0].as_deref().unwrap();
                self.sql(&format!("KILL {id}"));
            }
        }
        self.ip("del", role);
    }

    fn add(&self, role: &str) {
        if is_writer(role) {
            self.sql("SET GLOBAL read_only = 0");
        }
        if self.configured().contains(role) {
            return;
        }
        self.ip("add", role);
        // Stands for its ARP announcements.
        for client in [CLIENT, CLIENT2] {
            let argv = ["ip", "neigh", "flush", "to", address(role), "dev", "eth0"];
            self.lab.exec(client, &argv).unwrap();
        }
    }

    /// Waits for what the other master has in its log, where that one answers.
    fn catch_up(&self) {
        let Ok(position) = self.lab.sql_within(M1, "SHOW MASTER STATUS", Duration::from_secs(1)) else {
            return;
        };
        if let (Some(file), Some(end)) = (position.get("File"), position.get("Position")) {
            self.sql(&format!("SELECT MASTER_POS_WAIT('{file}', {end}, 5)"));
        }
    }

    fn ip(&self, verb: &str, role: &str) {
        let argv = ["ip", "addr", verb, &format!("{}/32", address(role)), "dev", "eth0"];
        // One that is gone already is as good.
        self.lab.exec(self.host, &argv).unwrap();
    }

    fn check_roles(&self) {
        for role in &self.roles {
            self.add(role);
        }
    }
}

fn is_writer(role: &str) -> bool {
    role.starts_with("writer(")
}

fn address(role: &str) -> &str {
    role.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap()
}

fn join(roles: &BTreeSet<String>) -> String {
    roles.iter().cloned().collect::<Vec<_>>().join(",")
}

fn uptime() -> String {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_role_moves_to_an_agent_of_2_2_1_and_back_and_away_from_a_crash() {
    let mut lab = Sides::up(quick_sides("protocol1_monitor"));
    lab.stop(M2, Program::Agent).unwrap();
    let old = OldAgent::start(&lab, M2);
    lab.wait_shown(NOT_FENCED, SOON);
    lab.expect_host(M2, "ONLINE", &["reader"], SOON).unwrap();
    wait_for("a lease that does not run out", SOON, || {
        let shown = lab.tell(&["show", "--long"]);
        if shown.contains("does not run out") { Ok(()) } else { Err(shown) }
    })
    .unwrap();
    lab.lap().expect_undisturbed(ID1);

    for (target, from, to) in [(M2, ID1, ID2), (M1, ID2, ID1)] {
        lab.wait_write_by(from, Moment::now());
        let told = Moment::now();
        lab.tell(&["move_role", "writer", target]);
        lab.wait_write_by(to, told);
        lab.expect_pair(target);
        let overlap = lab.lap();
        overlap.expect_one_writer();
        assert_eq!((overlap.old, overlap.new), (Some(from), Some(to)), "{overlap}");
    }

    lab.wait_write_by(ID1, Moment::now());
    let fault = lab.kill(M1, Program::Server).unwrap();
    lab.wait_write_by(ID2, fault);
    lab.expect_writer(M2, &["writer", "reader", "reader"]);
    let overlap = lab.lap();
    overlap.expect_one_writer();
    eprintln!("a crashed server was replaced by a host of protocol 1 within {:?}", overlap.takeover(fault));
    lab.start(M1, Program::Server).unwrap();
    lab.expect_pair(M2);

    // The old writer's server ends; its agent lets go when it is told so.
    lab.lap();
    lab.wait_write_by(ID2, Moment::now());
    // What it had not sent would rightly keep it out: its agent hands no log over.
    let standstill = Session::begin(&lab, M2, "LOCK TABLES probe READ");
    lab.wait_replicated(M2, M1, SOON).unwrap();
    let fault = lab.kill(M2, Program::Server).unwrap();
    standstill.end();
    lab.wait_write_by(ID1, fault);
    let overlap = lab.lap();
    overlap.expect_one_writer();
    eprintln!("a crashed server of protocol 1 was replaced within {:?}", overlap.takeover(fault));
    // It comes back open, which an agent of 2.2.1 does not mend.
    lab.start(M2, Program::Server).unwrap();
    lab.wait_shown("# Warning: host MySQL-M2 takes writes though it is not the writer", SOON);
    lab.sql(M2, "SET GLOBAL read_only = 1").unwrap();
    lab.expect_pair(M1);
    lab.lap();

    old.end();
    lab.start(M2, Program::Agent).unwrap();
    // It is offered protocol 2 now and then.
    lab.wait_show("no host of protocol 1", SOON * 2, |show| {
        show.state(M2) == "ONLINE"
            && !show.text.contains("protocol 1")
            && !show.text.contains("not reachable")
    })
    .unwrap();
    lab.wait_covered(SOON).unwrap();
    let overlap = lab.lap();
    overlap.expect_one_writer();
    assert_eq!(overlap.new, None, "the writer was disturbed: {overlap}");
    lab.end_accounted();
}
