//! Agents under a monitor of 2.2.1, played by the lines that were recorded from a running one, until ours takes over.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use mmm_lab::{Lab, M1, M2, MON, Program, READERS, WRITER, wait_for};

use crate::cluster::{Cluster, ID1, ID2, SOON, quick};
use crate::watchers::{WriterWatch, on_host};

const START: &str = include_str!("../../../crates/wire/tests/protocol1/recorded/monitor_start.txt");
const STEADY: &str = include_str!("../../../crates/wire/tests/protocol1/recorded/steady.txt");
const MOVE: &str = include_str!("../../../crates/wire/tests/protocol1/recorded/move_role.txt");

/// What a monitor of 2.2.1 said to one agent and was answered, with this lab's names in place of db1 and db2.
struct Exchange {
    host: &'static str,
    request: String,
    answer: String,
}

fn exchanges(recorded: &str) -> Vec<Exchange> {
    let said = |line: &str| {
        let text = line.split("b'").nth(1).unwrap().strip_suffix("\\n'").unwrap();
        text.replace("db1", M1).replace("db2", M2)
    };
    let lines: Vec<&str> = recorded.lines().collect();
    let mut found = Vec::new();
    for pair in lines.chunks(2) {
        assert!(pair[0].contains("mon:eph -> ") && pair[1].contains(" -> mon:eph"), "{pair:?}");
        let host = if pair[0].contains("-> db1:9989") { M1 } else { M2 };
        found.push(Exchange { host, request: said(pair[0]), answer: said(pair[1]) });
    }
    found
}

/// An agent that was just started may not listen yet.
fn connect(address: &str) -> TcpStream {
    wait_for("a connection to the agent", SOON, || {
        TcpStream::connect_timeout(&address.parse().unwrap(), SOON).map_err(|error| error.to_string())
    })
    .unwrap()
}

/// One command over a connection of its own, as 2.2.1 does it; the answer without its newline.
fn say(lab: &Lab, host: &str, request: &str) -> String {
    let address = if host == M1 { "192.168.8.32:9989" } else { "192.168.8.33:9989" };
    let line = format!("{request}\n");
    let talk = move || {
        let mut stream = connect(address);
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        answer.strip_suffix('\n').expect("an answer is a whole line").to_owned()
    };
    on_host(lab, MON, talk).join().unwrap()
}

fn without_uptime(answer: &str) -> &str {
    answer.rsplit_once("|UP:").unwrap_or_else(|| panic!("no uptime: {answer}")).0
}

/// Says what was recorded; every answer has to be the recorded one.
fn play(lab: &Lab, exchanges: &[Exchange]) {
    for Exchange { host, request, answer } in exchanges {
        let heard = say(lab, host, request);
        assert_eq!(without_uptime(&heard), without_uptime(answer), "{host} to {request}");
    }
}

/// The addresses and the access of a host are these now, without any waiting; the addresses are ours and stay for ever.
fn expect_now(lab: &Lab, host: &str, ips: &[&str], read_only: bool) {
    let held = lab.role_addresses(host).unwrap();
    assert!(held.iter().eq(ips.iter()), "{host} has {held:?}, not {ips:?}");
    assert_eq!(lab.is_read_only(host).unwrap(), read_only, "{host}");
    for address in lab.address_details(host).unwrap() {
        if ips.contains(&address.ip.to_string().as_str()) {
            assert!(address.is_marked && address.valid_for.is_none(), "{host}: {address:?}");
        }
    }
}

fn start_agents(lab: &Cluster) {
    for host in [M1, M2] {
        lab.start(host, Program::Agent).unwrap();
        lab.wait_log(host, Program::Agent, "The server answers", SOON).unwrap();
    }
}

/// Starts our monitor under writes; nobody may notice, and the writer has a lease afterwards.
fn take_over(lab: &Cluster, writer: &str, server_id: u32) {
    let probe = lab.start_probe().unwrap();
    probe.wait_write(mmm_lab::Moment::now(), SOON).unwrap();
    lab.start(MON, Program::Monitor).unwrap();
    lab.expect_pair(writer);
    lab.expect_covered();
    lab.judge_undisturbed(&probe, server_id);
    wait_for("a writer's address that does not stay for ever", SOON, || {
        let addresses = lab.address_details(writer).unwrap();
        let lent =
            addresses.iter().any(|address| address.ip.to_string() == WRITER && address.valid_for.is_some());
        if lent { Ok(()) } else { Err(format!("{addresses:?}")) }
    })
    .unwrap();
}

#[test]
fn a_monitor_of_2_2_1_gives_and_moves_roles_until_ours_takes_over_without_a_lost_write() {
    let lab = Cluster::make(quick("p1_agents").without_daemons());
    start_agents(&lab);
    // Nobody had the writer's address: a server that is open all the same is closed.
    lab.expect_read_only(M1, SOON);
    lab.expect_read_only(M2, SOON);
    lab.wait_replicating(M1, SOON).unwrap();
    lab.wait_replicating(M2, SOON).unwrap();
    // Until an agent has asked its server again it tells what it saw last.
    wait_for("what was recorded of the start", SOON, || {
        let answer = say(&lab, M2, &format!("GET_SYSTEM_STATUS|1|{M2}"));
        if answer.starts_with("OK: Returning status!|||192.168.8.32|UP:") { Ok(()) } else { Err(answer) }
    })
    .unwrap();
    play(&lab, &exchanges(START));
    play(&lab, &exchanges(STEADY)[..2]);
    expect_now(&lab, M1, &[WRITER, READERS[0]], false);
    expect_now(&lab, M2, &[READERS[1]], true);
    play(&lab, &exchanges(STEADY));

    let watch = WriterWatch::start(&lab);
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, mmm_lab::Moment::now(), SOON).unwrap();
    let moved = exchanges(MOVE);
    // The ping of the new writer, and the status that takes the role from the old one.
    play(&lab, &moved[..2]);
    expect_now(&lab, M1, &[READERS[0]], true);
    play(&lab, &moved[2..]);
    expect_now(&lab, M2, &[WRITER, READERS[1]], false);
    probe.wait_write_by(ID2, mmm_lab::Moment::now(), SOON).unwrap();
    lab.judge_clean(&probe);
    watch.end();
    let system = say(&lab, M2, &format!("GET_SYSTEM_STATUS|1|{M2}"));
    let expected = "OK: Returning status!|1|reader(192.168.8.35),writer(192.168.8.30)|192.168.8.32";
    assert_eq!(without_uptime(&system), expected);
    // An agent that is started again goes on by what it was told last.
    lab.stop(M2, Program::Agent).unwrap();
    lab.start(M2, Program::Agent).unwrap();
    play(&lab, &moved[4..]);
    expect_now(&lab, M2, &[WRITER, READERS[1]], false);

    take_over(&lab, M2, ID2);
    let refused = say(&lab, M2, &format!("SET_STATUS|1|{M2}|ONLINE|reader(192.168.8.35)|{M1}"));
    assert!(refused.starts_with("ERROR: Nothing was changed: a monitor of version 3"), "{refused}");
    let refused = say(&lab, M1, &format!("SET_STATUS|1|{M1}|ONLINE|writer(192.168.8.30)|{M1}"));
    assert!(refused.starts_with("ERROR: Nothing was changed: "), "{refused}");
    assert_eq!(without_uptime(&say(&lab, M2, &format!("PING|1|{M2}"))), "OK: Pinged!");
    std::thread::sleep(Duration::from_secs(1));
    lab.expect_pair(M2);
}

#[test]
fn agents_that_take_the_place_of_those_of_2_2_1_keep_the_writer_and_its_addresses() {
    let lab = Cluster::make(quick("p1_replaced").without_daemons());
    // As agents of 2.2.1 left it: addresses without a mark, one server open.
    for (host, ip) in [(M1, WRITER), (M1, READERS[0]), (M2, READERS[1])] {
        let output = lab.exec(host, &["ip", "addr", "add", &format!("{ip}/32"), "dev", "eth0"]).unwrap();
        assert!(output.success(), "{output}");
    }
    lab.sql(M1, "SET GLOBAL read_only = 0").unwrap();
    lab.sql(M2, "SET GLOBAL read_only = 1").unwrap();
    lab.wait_replicating(M1, SOON).unwrap();
    lab.wait_replicating(M2, SOON).unwrap();
    let probe = lab.start_probe().unwrap();
    probe.wait_write_by(ID1, mmm_lab::Moment::now(), SOON).unwrap();
    start_agents(&lab);
    play(&lab, &exchanges(STEADY));
    expect_now(&lab, M1, &[WRITER, READERS[0]], false);
    expect_now(&lab, M2, &[READERS[1]], true);
    lab.judge_undisturbed(&probe, ID1);
    take_over(&lab, M1, ID1);
}
