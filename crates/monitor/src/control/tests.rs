//! The control port over real sockets, asked what a monitor of 2.2.1 was asked when its answers were recorded.

use mmm_core::{Action, Cluster, FoundState, Moment};
use tokio::time::Instant;

use super::*;
use crate::protocol1::tests::{literals, setup};

const RECORDED: &str = include_str!("../../tests/recorded/control_port.txt");
const SOON: Duration = Duration::from_secs(5);

/// A control port with a monitor's mind behind it.
async fn port() -> SocketAddr {
    let mut setup = setup();
    setup.listen = "127.0.0.1:0".parse().unwrap();
    let found = FoundState::Lost(None, "it is a test".to_owned());
    let mut mind = Cluster::new(setup.mind.clone(), None, found, Moment::ZERO);
    let (commands, mut asked) = mpsc::channel(8);
    let (_, setup) = watch::channel(Arc::new(setup));
    let port = ControlPort::bind(setup, commands).await.unwrap();
    let address = port.port.local_addr().unwrap();
    tokio::spawn(port.run());
    tokio::spawn(async move {
        while let Some(Command { line, answer }) = asked.recv().await {
            let actions = mind.step(Moment::ZERO, mmm_core::Event::Commanded { client: 1, line });
            let text = actions.into_iter().find_map(|action| match action {
                Action::Answer { text, .. } => Some(text),
                _ => None,
            });
            answer.send(text.unwrap()).unwrap();
        }
    });
    address
}

/// What is answered until the connection ends, or nothing comes for a while.
async fn answered(stream: &mut TcpStream, is_open: bool, length: usize) -> Vec<u8> {
    let mut answer = Vec::new();
    if is_open {
        answer.resize(length, 0);
        timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        let began = Instant::now();
        let more = timeout(Duration::from_millis(100), stream.read(&mut [0; 1])).await;
        assert!(more.is_err() && began.elapsed() < SOON, "it is closed, or there is more: {more:?}");
    } else {
        timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    }
    answer
}

#[tokio::test]
async fn every_recorded_connection_gets_the_answers_that_2_2_1_gave_byte_for_byte() {
    let address = port().await;
    let mut count = 0;
    for line in RECORDED.lines() {
        let [request, expected] = &literals(line)[..] else { panic!("{line}") };
        let is_open = expected.ends_with("<still open>");
        let expected = expected.trim_end_matches("<still open>").trim_end_matches("<EOF>");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        if line.contains("half-close") {
            stream.shutdown().await.unwrap();
        }
        let answer = answered(&mut stream, is_open, expected.len()).await;
        assert_eq!(String::from_utf8(answer).unwrap(), expected, "{line}");
        count += 1;
    }
    assert!(count >= 9, "{count} connections");
}
