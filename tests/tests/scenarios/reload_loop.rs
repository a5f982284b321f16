//! The configuration is read again five times a second, on every host at once, while the writer moves, is lost and vanishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mmm_lab::{ConfigFile, Lab, M1, M2, MON, Moment, Program, base_dir};
use rustix::process::Signal;

use crate::cluster::{ID1, ID2, SOON};
use crate::confirmed::{killed, set_code, with_kill_host};
use crate::sides::{Sides, quick_sides};

const RELOAD_EVERY: Duration = Duration::from_millis(200);
const DAEMONS: [(&str, Program); 3] = [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)];
const READERS: &str = "ips 192.168.8.34, 192.168.8.35";

/// A file of a host before and after a change.
struct Change {
    host: &'static str,
    file: ConfigFile,
    texts: [String; 2],
}

/// Puts one of two configurations in place and has every daemon read it, then the other one, until it is told to stop.
struct Reloader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Reloader {
    fn start(lab: &Lab, changes: Vec<Change>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let lab = Lab::open(lab.dir().parent().unwrap_or(&base_dir()), lab.name()).unwrap();
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !stopped.load(Ordering::SeqCst) {
                count += 1;
                for change in &changes {
                    lab.write_config(change.host, change.file, &change.texts[count % 2]).unwrap();
                }
                for (host, program) in DAEMONS {
                    if let Some(process) = lab.process(host, program).unwrap() {
                        process.signal(Signal::HUP);
                    }
                }
                thread::sleep(RELOAD_EVERY);
            }
            count
        });
        Self { stop, thread }
    }

    /// How often it was done.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// The period of the monitor's checks changes, and the readers' role has an address more or less.
fn harmless(lab: &Lab) -> Vec<Change> {
    let change = |host, file, from: &str, to: &str| {
        let text = lab.read_config(host, file).unwrap();
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "`{from}` stands nowhere on {host}");
        Change { host, file, texts: [text, changed] }
    };
    let more = format!("{READERS}, 192.168.8.60");
    [MON, M1, M2]
        .map(|host| change(host, ConfigFile::Common, READERS, &more))
        .into_iter()
        .chain([change(MON, ConfigFile::Monitor, "check_period 0.5", "check_period 0.6")])
        .collect()
}

fn count_in_log(lab: &Lab, host: &str, program: Program, words: &str) -> usize {
    lab.log(host, program).unwrap().matches(words).count()
}

/// The session that each agent began with is the one it has.
fn expect_first_session(lab: &Lab, host: &str) {
    assert_eq!(count_in_log(lab, host, Program::Agent, "Session with the monitor"), 1, "on {host}");
}

/// What happens next begins with writes of both clients.
fn settle(lab: &mut Sides) {
    lab.lap();
    for probe in &lab.probes {
        probe.wait_write(Moment::now(), SOON).unwrap();
    }
}

/// The writer changed once since the last report, from one of these servers to the other.
fn expect_changed(lab: &mut Sides, what: &str, fault: Moment, [old, new]: [u32; 2]) {
    lab.wait_write_by(new, fault);
    let overlap = lab.lap();
    eprintln!("{what}: first write on the other after {:?}", overlap.takeover(fault));
    overlap.expect_one_writer();
    assert_eq!((overlap.old, overlap.new), (Some(old), Some(new)), "{overlap}");
}

#[test]
fn reloads_all_the_time_neither_drop_a_session_nor_make_two_writers() {
    let mut lab = Sides::up(quick_sides("reload_loop"));
    let reloader = Reloader::start(&lab, harmless(&lab));
    thread::sleep(Duration::from_secs(3));
    lab.lap().expect_undisturbed(ID1);

    for (target, ids) in [(M2, [ID1, ID2]), (M1, [ID2, ID1])] {
        settle(&mut lab);
        let told = Moment::now();
        lab.tell(&["move_role", "writer", target]);
        expect_changed(&mut lab, "moved", told, ids);
        lab.wait_show("both ONLINE", SOON, |show| [M1, M2].iter().all(|host| show.state(host) == "ONLINE"))
            .unwrap();
    }

    settle(&mut lab);
    let killed = lab.kill(M1, Program::Server).unwrap();
    expect_changed(&mut lab, "server killed", killed, [ID1, ID2]);
    lab.start(M1, Program::Server).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.wait_covered(SOON).unwrap();
    for host in [M1, M2] {
        expect_first_session(&lab, host);
    }
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));

    settle(&mut lab);
    let unplugged = lab.unplug(M2).unwrap();
    expect_changed(&mut lab, "host unplugged", unplugged, [ID2, ID1]);
    lab.replug(M2).unwrap();
    lab.expect_gave_way(M2, M1);
    expect_first_session(&lab, M1);
    lab.lap().expect_one_writer();

    eprintln!("reloaded {} times", reloader.end());
    for (host, program) in DAEMONS {
        let taken_in = count_in_log(&lab, host, program, "The configuration is in force");
        eprintln!("{program} on {host}: {taken_in} configurations in force");
        assert!(taken_in > 20, "{program} on {host} took in {taken_in} configurations");
        assert_eq!(count_in_log(&lab, host, program, "nothing is changed"), 0, "{program} on {host}");
    }
    lab.end_accounted();
}

#[test]
fn kill_host_that_runs_while_the_configuration_is_reloaded_is_called_once_and_counts() {
    // Long enough for the lease not to be what lets another host follow.
    let builder = quick_sides("reload_kill").append(ConfigFile::Three, "writer_lease 30");
    let cluster = with_kill_host(builder);
    let script =
        "#!/bin/sh\necho \"$@\" >>/etc/mysql-mmm/killed\nsleep 5\nexit \"$(cat /etc/mysql-mmm/code)\"\n";
    cluster.write_file(MON, "/etc/mysql-mmm/kill_host", script.as_bytes()).unwrap();
    set_code(&cluster, "0");
    let mut lab = Sides::watch(cluster);
    lab.wait_covered(SOON).unwrap();
    settle(&mut lab);
    let reloader = Reloader::start(&lab, harmless(&lab));
    let off = lab.power_off(M1).unwrap();
    let first = lab.wait_write_by(ID2, off);
    eprintln!("first write on the other {:?} after the power went", first - off);
    assert!(first - off < Duration::from_secs(20), "the end of the lease was waited for: {:?}", first - off);
    // Long enough for a second call, if there were one.
    thread::sleep(Duration::from_secs(6));
    eprintln!("reloaded {} times", reloader.end());
    let calls = killed(&lab);
    assert!(["MySQL-M1 0\n", "MySQL-M1 1\n"].contains(&calls.as_str()), "{calls}");
    assert_eq!(count_in_log(&lab, MON, Program::Monitor, "Host 'MySQL-M1' has been killed"), 1);
    let overlap = lab.lap();
    overlap.expect_one_writer();
    assert_eq!((overlap.old, overlap.new), (Some(ID1), Some(ID2)), "{overlap}");
    lab.reboot(M1).unwrap();
    lab.start_enabled(M1).unwrap();
    lab.expect_gave_way(M1, M2);
    lab.lap().expect_one_writer_but(Duration::from_millis(1500));
    lab.end_accounted();
}
