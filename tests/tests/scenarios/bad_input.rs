//! Garbage, silence and greed on the agent's and the monitor's ports. Nobody else may notice.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mmm_lab::{CLIENT, Lab, M1, M2, MON, Moment, Program};

use crate::cluster::{Cluster, ID1, ID2, SOON};
use crate::watchers::{CONTROL, ControlWatch, on_host};

const AGENT: &str = "192.168.8.32:9989";
const IDLE_CONNECTIONS: usize = 500;
const MEGABYTE: usize = 1 << 20;
/// A write or an answer that takes this long waited for the attack.
const NOTICED: Duration = Duration::from_secs(1);

fn connect(target: &str) -> TcpStream {
    let stream = TcpStream::connect_timeout(&target.parse().unwrap(), Duration::from_secs(5)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Bytes that look random and are the same in each run.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Sends what the other side may close in the middle, and reads what it says to that.
fn send(target: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(target);
    // A connection that is reset while we still send is one of the two right answers.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.take(8 * MEGABYTE as u64).read_to_end(&mut answer);
    answer
}

fn throw_noise(target: &str) {
    for _ in 0..2 {
        send(target, &noise(MEGABYTE));
        // One endless line, and many empty ones.
        send(target, &vec![b'x'; MEGABYTE]);
        send(target, &vec![b'\n'; 2000]);
    }
}

fn throw_halves(target: &str) {
    let halves: [&[u8]; 9] = [
        b"",
        b"\n",
        b"0\n",
        b"MMM3",
        b"MMM3|1|MySQL-M1|3.0.0|",
        b"MMM3|99|MySQL-M1|3.0.0||00\n\xff\xff\xff\xff",
        b"PING|1|MySQL-M1",
        b"SET_STATUS|1|MySQL-M1|ADMIN_OFFLINE||\n",
        b"sho",
    ];
    for half in halves {
        send(target, half);
    }
}

fn keep_idle(target: &str) {
    let streams: Vec<TcpStream> = (0..IDLE_CONNECTIONS).map(|_| connect(target)).collect();
    // Some of them begin something that they never end.
    for stream in streams.iter().step_by(2) {
        let _ = (&mut &*stream).write_all(b"MMM3|1|MySQL-M1|");
    }
    thread::sleep(Duration::from_secs(3));
}

/// Asks for much and takes nothing of the answers.
fn never_read(target: &str) {
    let mut stream = connect(target);
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        if stream.write_all(&b"help\n".repeat(1000)).is_err() {
            break;
        }
    }
    thread::sleep(Duration::from_secs(1));
}

/// Runs an attack on a port from a host, with a probe and questions going on beside it.
fn attack(lab: &Cluster, name: &str, from: &str, target: &'static str, act: fn(&str)) {
    let watch = ControlWatch::start(lab);
    let probe = lab.start_probe().unwrap();
    let began = Moment::now();
    on_host(lab, from, move || act(target)).join().unwrap();
    probe.wait_write_by(ID1, Moment::now(), SOON).unwrap();
    let record = probe.stop().unwrap();
    let gap = record.gap_after(began).unwrap().length();
    eprintln!("{name} on {target}: longest time without a write {gap:?}");
    assert!(gap < NOTICED, "{gap:?}");
    assert!(record.attempts.iter().all(mmm_lab::Attempt::is_acknowledged), "a write failed");
    watch.end(NOTICED);
}

fn assert_no_panic(lab: &Lab) {
    for (host, program) in [(MON, Program::Monitor), (M1, Program::Agent), (M2, Program::Agent)] {
        for text in [lab.log(host, program).unwrap(), lab.printed(host, program).unwrap()] {
            assert!(!text.contains("panicked"), "{program} on {host}: {text}");
        }
    }
}

#[test]
fn garbage_silence_and_greed_on_the_ports_disturb_nobody() {
    let lab = Cluster::quick("attack");
    let before = lab.show().unwrap().text;
    let processes = |lab: &Lab| {
        [(MON, Program::Monitor), (M1, Program::Agent)]
            .map(|(host, program)| lab.process(host, program).unwrap())
    };
    let running = processes(&lab);
    for (from, target) in [(CLIENT, AGENT), (MON, CONTROL)] {
        attack(&lab, "noise", from, target, throw_noise);
        attack(&lab, "halves", from, target, throw_halves);
        attack(&lab, "500 idle connections", from, target, keep_idle);
        attack(&lab, "a client that never reads", from, target, never_read);
    }
    assert_eq!(lab.show().unwrap().text, before);
    assert_eq!(processes(&lab), running, "nobody was restarted");
    assert_no_panic(&lab);
    let log = lab.log(MON, Program::Monitor).unwrap();
    assert!(!log.contains("Can't reach agent on host 'MySQL-M1': it"), "the session lasted: {log}");
    let usage = lab.usage(MON, Program::Monitor).unwrap();
    eprintln!("monitor after the attacks: {usage:?}");

    // Everything works as before.
    lab.tell(&["move_role", "writer", M2]);
    lab.expect_pair(M2);
    lab.tell(&["move_role", "writer", M1]);
    lab.expect_pair(M1);
    let probe = lab.start_probe().unwrap();
    let killed = lab.kill(M1, Program::Server).unwrap();
    probe.wait_write_by(ID2, killed, SOON).unwrap();
    probe.stop().unwrap();
}
