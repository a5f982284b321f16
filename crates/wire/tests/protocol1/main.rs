//! Protocol 1 against the bytes that programs of 2.2.1 put on the wire, and against everything else.

mod recorded;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mmm_core::{HostName, HostState, Role};
use mmm_wire::protocol1::{
    AgentReport, Answer, Asked, Command, Reply, Request, RequestFault, SetStatus, SystemReport, Uptime,
};
use proptest::prelude::*;
use recorded::{Exchange, exchanges};

fn db1() -> HostName {
    HostName::from("db1")
}

/// What our agent would answer to a line, as far as the line alone decides it.
fn fault(line: &str, mine: &str) -> Option<String> {
    Request::parse(line, &HostName::from(mine)).err().map(|fault| format!("ERROR: {fault}"))
}

fn without_uptime(answer: &str) -> &str {
    answer.rsplit_once("|UP:").expect("an answer ends in the uptime").0
}

#[test]
fn each_recorded_request_of_the_monitor_reads_and_prints_byte_for_byte() {
    let mut kinds = BTreeSet::new();
    for Exchange { host, request, .. } in exchanges().into_iter().filter(|exchange| exchange.by_monitor) {
        let parsed = Request::parse(request.trim_end_matches('\n'), &HostName::from(host.as_str()));
        let parsed = parsed.unwrap_or_else(|fault| panic!("{request}: {fault}"));
        assert!(!parsed.is_newer());
        kinds.insert(parsed.command.asked().word());
        assert_eq!(Request::new(parsed.host, parsed.command).line(), request);
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["GET_AGENT_STATUS", "GET_SYSTEM_STATUS", "PING", "SET_STATUS"]
    );
}

#[test]
fn each_recorded_answer_of_an_agent_reads_and_prints_byte_for_byte() {
    let (mut answers, mut errors) = (0, 0);
    for Exchange { host, request, answer, .. } in exchanges() {
        let Ok(parsed) = Request::parse(request.trim_end_matches('\n'), &HostName::from(host.as_str()))
        else {
            errors += 1;
            continue;
        };
        let understood = Answer::parse(answer.trim_end_matches('\n'), parsed.command.asked());
        let understood = understood.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(understood.line(), answer, "to {request}");
        answers += 1;
    }
    assert!(answers > 50 && errors == 7, "{answers} answers, {errors} errors");
}

#[test]
fn each_recorded_refusal_is_given_in_the_same_words() {
    let mut refused = Vec::new();
    for Exchange { host, request, answer, .. } in exchanges() {
        if let Some(text) = fault(request.strip_suffix('\n').unwrap(), &host) {
            assert_eq!(text, without_uptime(&answer), "to {request:?}");
            let Reply::Error(understood) =
                Answer::parse(answer.trim_end_matches('\n'), Asked::Ping).unwrap().reply
            else {
                panic!("{answer}")
            };
            assert_eq!(format!("ERROR: {understood}"), text);
            refused.push(request);
        }
    }
    let expected =
        ["PING|1|other\n", "PING|1\n", "PING\n", "\n", "NOSUCH|1|db1\n", "ping|1|db1\n", "PING|1|db1\r\n"];
    assert_eq!(refused, expected);
}

#[test]
fn the_fields_of_recorded_lines_mean_what_they_say() {
    let roles =
        |texts: &[&str]| -> BTreeSet<Role> { texts.iter().map(|text| Role::parse(text).unwrap()).collect() };
    let line = "SET_STATUS|1|db1|ONLINE|reader(192.168.8.34),writer(192.168.8.30)|db1";
    let Command::SetStatus(status) = Request::parse(line, &db1()).unwrap().command else { panic!("{line}") };
    assert_eq!(
        status,
        SetStatus {
            state: HostState::Online,
            roles: roles(&["reader(192.168.8.34)", "writer(192.168.8.30)"]),
            active_master: Some(db1()),
        }
    );
    let line = "SET_STATUS|1|db1|AWAITING_RECOVERY||";
    let Command::SetStatus(status) = Request::parse(line, &db1()).unwrap().command else { panic!("{line}") };
    assert_eq!((status.roles.len(), status.active_master), (0, None));
    let line = "OK: Returning status!|1|reader(192.168.8.34),writer(192.168.8.30)|192.168.8.33|UP:2055.14";
    let answer = Answer::parse(line, Asked::SystemStatus).unwrap();
    assert_eq!(answer.uptime.as_duration(), Duration::from_millis(2_055_140));
    let Reply::SystemStatus(SystemReport { writable: true, roles: found, source: Some(source) }) =
        answer.reply
    else {
        panic!("{line}")
    };
    assert_eq!((found.len(), source.as_str()), (2, "192.168.8.33"));
    let line = "OK: Returning status!|UNKNOWN|||UP:1881.81";
    let Reply::AgentStatus(report) = Answer::parse(line, Asked::AgentStatus).unwrap().reply else {
        panic!("{line}")
    };
    assert_eq!(
        report,
        AgentReport { state: HostState::Unknown, roles: BTreeSet::new(), active_master: None }
    );
}

#[test]
fn roles_are_sorted_as_text_and_keep_their_order_where_2_2_1_does() {
    let names =
        ["reader(192.168.8.100)", "reader(192.168.8.34)", "reader_2-b(fd00::5)", "writer(192.168.8.30)"];
    let shuffled = "writer(192.168.8.30),reader_2-b(fd00::5),reader(192.168.8.34),reader(192.168.8.100)";
    let line = format!("SET_STATUS|1|db1|ONLINE|{shuffled}|db_2-x");
    let request = Request::parse(&line, &db1()).unwrap();
    assert_eq!(request.to_string(), format!("SET_STATUS|1|db1|ONLINE|{}|db_2-x", names.join(",")));
    let line = format!("OK: Returning status!||{shuffled}||UP:0.07");
    assert_eq!(Answer::parse(&line, Asked::SystemStatus).unwrap().to_string(), line);
}

#[test]
fn a_damaged_status_is_refused_and_named_instead_of_taken_for_no_roles() {
    let said = |rest: &str| fault(&format!("SET_STATUS|1|db1{rest}"), "db1").unwrap_or_default();
    assert_eq!(
        said(""),
        "ERROR: Invalid parameters of command 'SET_STATUS': 0 of the three fields STATE|ROLES|ACTIVE_MASTER are there ('')! Nothing was changed"
    );
    assert!(said("|ONLINE|writer(192.168.8.30)").contains("2 of the three fields"));
    assert!(said("|online||db1").contains("'online' is not a host state"));
    assert!(said("|ONLINE|writer(192.168.8)|db1").contains("'writer(192.168.8)' is not a role"));
    assert!(said("|ONLINE|writer(192.168.8.30),|db1").contains("'' is not a role"));
    assert!(said("|ONLINE|wri ter(192.168.8.30)|db1").contains("is not a role"));
    assert!(said("|ONLINE||db1\r").contains("'db1\\r' is not the name of a host"));
    assert_eq!(said("|ONLINE||db1|and|more"), "");
}

#[test]
fn a_newer_version_is_seen_and_a_strange_one_is_not_minded() {
    let newer = |line: &str| Request::parse(line, &db1()).unwrap().is_newer();
    assert!(newer("PING|2|db1"));
    assert!(!newer("PING|1|db1") && !newer("PING|0|db1") && !newer("PING||db1") && !newer("PING|x|db1"));
}

#[test]
fn the_host_is_judged_before_the_command() {
    let fault = Request::parse("NOSUCH|1|db2", &db1()).unwrap_err();
    assert!(matches!(fault, RequestFault::WrongHost { .. }), "{fault}");
}

#[test]
fn what_is_no_answer_says_what_was_expected() {
    for (line, asked, what) in [
        ("0", Asked::Ping, "does not end in |UP:"),
        ("", Asked::SystemStatus, "does not end in |UP:"),
        ("OK: Pinged!|UP:1.2.3", Asked::Ping, "not an uptime"),
        ("OK: Pinged!|UP:-1.00", Asked::Ping, "not an uptime"),
        ("OK: Pinged!|UP:1.00", Asked::SetStatus, "expected 'OK: Status applied successfully!'"),
        ("OK: Returning status!|1||UP:1.00", Asked::SystemStatus, "three fields"),
        ("OK: Returning status!|2|||UP:1.00", Asked::SystemStatus, "'2' where 1 or nothing"),
        ("OK: Returning status!|LINE|||UP:1.00", Asked::AgentStatus, "not a host state"),
        ("OK: Removed some roles|UP:1.00", Asked::ClearBadRoles, "Removed N roles"),
    ] {
        let error = Answer::parse(line, asked).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(asked.word()), "{line}: {error}");
    }
    for (text, seconds) in [("5", "5.00"), ("5.1", "5.10"), ("5.129", "5.12"), ("5.", "5.00")] {
        let answer = Answer::parse(&format!("OK: Pinged!|UP:{text}"), Asked::Ping).unwrap();
        assert_eq!(answer.uptime.to_string(), seconds);
    }
}

fn roles() -> impl Strategy<Value = Vec<Role>> {
    let role = ("[A-Za-z0-9_.-]{1,20}", any::<IpAddr>()).prop_map(|(name, ip)| Role::new(name, ip));
    proptest::collection::vec(role, 0..6)
}

fn state() -> impl Strategy<Value = HostState> {
    proptest::sample::select(vec![
        HostState::Unknown,
        HostState::Online,
        HostState::AdminOffline,
        HostState::HardOffline,
        HostState::AwaitingRecovery,
        HostState::ReplicationDelay,
        HostState::ReplicationFail,
    ])
}

fn host() -> impl Strategy<Value = HostName> {
    "[A-Za-z0-9_.-]{1,30}".prop_map(HostName::from)
}

fn command() -> impl Strategy<Value = Command> {
    let status =
        (state(), roles(), proptest::option::of(host())).prop_map(|(state, roles, active_master)| {
            Command::SetStatus(SetStatus { state, roles: roles.into_iter().collect(), active_master })
        });
    prop_oneof![
        Just(Command::Ping),
        status,
        Just(Command::AgentStatus),
        Just(Command::SystemStatus),
        Just(Command::ClearBadRoles),
    ]
}

fn reply() -> impl Strategy<Value = (Asked, Reply)> {
    let agent = (state(), roles(), proptest::option::of(host())).prop_map(|(state, roles, active_master)| {
        let roles = roles.into_iter().collect();
        (Asked::AgentStatus, Reply::AgentStatus(AgentReport { state, roles, active_master }))
    });
    let system = (any::<bool>(), roles(), proptest::option::of("[a-z0-9.:-]{1,20}")).prop_map(
        |(writable, roles, source)| {
            (Asked::SystemStatus, Reply::SystemStatus(SystemReport { writable, roles, source }))
        },
    );
    prop_oneof![
        Just((Asked::Ping, Reply::Pinged)),
        Just((Asked::SetStatus, Reply::Applied)),
        agent,
        system,
        any::<u32>().prop_map(|number| (Asked::ClearBadRoles, Reply::Removed(number))),
        "[^\n]{0,60}".prop_map(|text| (Asked::SetStatus, Reply::Error(text))),
    ]
}

/// Lines in which the words of the protocol are likely.
fn noise() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("SET_STATUS".to_owned()),
        Just("OK: Returning status!".to_owned()),
        Just("db1".to_owned()),
        Just("ONLINE".to_owned()),
        Just("writer(192.168.8.30)".to_owned()),
        Just("UP:12.34".to_owned()),
        Just("1".to_owned()),
        "[^\n]{0,12}",
    ];
    let separator = prop_oneof![Just("|"), Just(","), Just("")];
    proptest::collection::vec((word, separator), 0..9).prop_map(|parts| {
        parts.into_iter().fold(String::new(), |line, (word, between)| line + &word + between)
    })
}

const ASKED: [Asked; 5] =
    [Asked::Ping, Asked::SetStatus, Asked::AgentStatus, Asked::SystemStatus, Asked::ClearBadRoles];

proptest! {
    #[test]
    fn every_request_survives_its_line(command in command(), host in host()) {
        let request = Request::new(host.clone(), command);
        let line = request.line();
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert_eq!(Request::parse(line.strip_suffix('\n').unwrap(), &host), Ok(request));
    }

    #[test]
    fn every_answer_survives_its_line((asked, reply) in reply(), uptime in 0_u64..100_000_000_000) {
        let answer = Answer { reply, uptime: Uptime::from(Duration::from_millis(uptime)) };
        let line = answer.line();
        prop_assert_eq!(Answer::parse(line.strip_suffix('\n').unwrap(), asked), Ok(answer));
    }

    #[test]
    fn no_line_makes_a_parser_panic_and_what_is_understood_is_printed_alike(line in noise()) {
        if let Ok(request) = Request::parse(&line, &db1()) {
            let again = Request::parse(&request.to_string(), &db1());
            prop_assert_eq!(again, Ok(request));
        }
        for asked in ASKED {
            if let Ok(answer) = Answer::parse(&line, asked) {
                prop_assert_eq!(Answer::parse(&answer.to_string(), asked), Ok(answer));
            }
        }
    }
}
