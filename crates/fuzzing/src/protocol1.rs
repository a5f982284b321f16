//! Lines of protocol 1, as requests and as answers.

use mmm_core::HostName;
use mmm_wire::protocol1::{Answer, Asked, LineReader, Request};

const ASKED: [Asked; 5] =
    [Asked::Ping, Asked::SetStatus, Asked::AgentStatus, Asked::SystemStatus, Asked::ClearBadRoles];

/// The bytes are what came over a connection that was then closed.
pub fn protocol1(data: &[u8]) {
    crate::run(async {
        let mut lines = LineReader::new(data);
        while let Ok(Some(line)) = lines.next().await {
            assert!(!line.text.contains('\n'));
            request(&line.text);
            answer(&line.text);
        }
    });
}

fn request(line: &str) {
    let mine = HostName::from("db1");
    if let Ok(request) = Request::parse(line, &mine) {
        let again = Request::parse(request.line().trim_end_matches('\n'), &mine);
        assert_eq!(again.expect("it was written by us"), request);
    }
}

fn answer(line: &str) {
    for asked in ASKED {
        if let Ok(answer) = Answer::parse(line, asked) {
            let again = Answer::parse(answer.line().trim_end_matches('\n'), asked);
            assert_eq!(again.expect("it was written by us"), answer);
        }
    }
}
