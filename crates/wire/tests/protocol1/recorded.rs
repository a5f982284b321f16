//! Reads the files under `recorded/`: what was seen between a monitor and two agents of 2.2.1, and what an agent answered to
//! lines typed by hand. Bytes stand in them as Python prints them.

use std::fs;
use std::path::Path;

/// One request and its answer, newlines included.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Whose agent was asked.
    pub(crate) host: String,
    pub(crate) request: String,
    pub(crate) answer: String,
    pub(crate) by_monitor: bool,
}

/// Every exchange in which one request has one answer.
pub(crate) fn exchanges() -> Vec<Exchange> {
    let wire = ["monitor_start", "steady", "move_role", "set_offline"];
    let mut all: Vec<Exchange> = wire.iter().flat_map(|name| on_the_wire(&read(name))).collect();
    all.extend(["agent_alone", "raw_bytes"].into_iter().flat_map(by_hand));
    all
}

fn read(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/tests/protocol1/recorded");
    let path = Path::new(folder).join(format!("{name}.txt"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Lines such as `0.001  mon:eph -> db2:9989  b'PING|1|db2\n'` and the answer in the line after it.
fn on_the_wire(text: &str) -> Vec<Exchange> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for pair in lines.chunks(2) {
        let [asked, answered] = pair else { panic!("a request without an answer: {pair:?}") };
        let host = asked.split("mon:eph -> ").nth(1).and_then(|rest| rest.split(':').next());
        let host = host.unwrap_or_else(|| panic!("no request: {asked}"));
        assert!(answered.contains(&format!("{host}:9989 -> mon:eph")), "{answered}");
        let (request, answer) = (literals(asked).remove(0), literals(answered).remove(0));
        found.push(Exchange { host: host.to_owned(), request, answer, by_monitor: true });
    }
    found
}

/// What was typed to an agent, and what it answered before it or the typist closed the connection: lines such as
/// ``- `b'PING|1|db1\n'` + half-close -> `b'OK: Pinged!|UP:2054.15\n<EOF>'` ``.
pub(crate) fn typed(name: &str) -> Vec<(String, String)> {
    let text = read(name);
    let pairs = text.lines().map(|line| match <[String; 2]>::try_from(literals(line)) {
        Ok([request, answer]) => (request, answer),
        Err(found) => panic!("{line}: {found:?}"),
    });
    pairs.collect()
}

/// Those that asked once and were answered once.
fn by_hand(name: &str) -> Vec<Exchange> {
    let mut found = Vec::new();
    for (request, answer) in typed(name) {
        let answer = answer.trim_end_matches("<EOF>").trim_end_matches("<still open>");
        if answer.matches('\n').count() == 1 {
            let host = if request.contains("|db2") { "db2" } else { "db1" };
            let (host, answer) = (host.to_owned(), answer.to_owned());
            found.push(Exchange { host, request, answer, by_monitor: false });
        }
    }
    found
}

/// The byte strings of a line, in either kind of quotes.
fn literals(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find("b'").into_iter().chain(rest.find("b\"")).min() {
        let quote = rest.as_bytes()[start + 1] as char;
        let body = &rest[start + 2..];
        let end = body.find(quote).unwrap_or_else(|| panic!("an open quote: {line}"));
        found.push(body[..end].replace("\\n", "\n").replace("\\r", "\r"));
        rest = &body[end + 1..];
    }
    found
}
