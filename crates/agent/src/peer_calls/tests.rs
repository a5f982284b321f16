//! Both sides of what agents ask each other, over real connections.

use mmm_core::Moment;
use mmm_core::lease::{Epoch, LeaseLength, Promise};
use mmm_wire::{Accepted, Answering, accept_caller};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::peer_port::{Askers, PeerPort};
use crate::rebuild::BackupDesk;
use crate::salvage::TailDesk;

const SOON: Duration = Duration::from_secs(5);

fn promise(ms: u64) -> PeerRequest {
    let promise =
        Promise { holder: "db1".into(), epoch: Epoch { number: 3, origin: 1 }, length: LeaseLength::DEFAULT };
    PeerRequest::Promise { promise, asked: Moment::from_millis(ms) }
}

fn contact(ms: u64) -> PeerRequest {
    PeerRequest::Contact { asked: Moment::from_millis(ms) }
}

/// The agent of db2: its port, and what its mind would be told.
struct Other {
    address: SocketAddr,
    askers: Arc<Askers>,
    inbox: mpsc::Receiver<AgentEvent>,
    serving: JoinHandle<()>,
}

async fn listen(at: &str) -> Other {
    let port = TcpListener::bind(at).await.unwrap();
    let address = port.local_addr().unwrap();
    let (events, inbox) = mpsc::channel(16);
    let askers = Arc::new(Askers::default());
    let peers = PeerPort::new(
        [&"db1".into()],
        Arc::clone(&askers),
        TailDesk::of_nothing(),
        BackupDesk::of_nothing(),
        events,
    );
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = port.accept().await.unwrap();
            let features = Features::default();
            let answering = Answering { host: "db2", caller: "test", secret: None, features: &features };
            let accepted =
                accept_caller(Connection::Plain(stream), &answering, SOON, |_| Ok(())).await.unwrap();
            let Accepted::Session(session) = accepted else { panic!("lines") };
            peers.serve(session, &"db1".into(), true).await;
        }
    });
    Other { address, askers, inbox, serving }
}

impl Other {
    async fn asked(&mut self) -> (u64, PeerRequest) {
        match timeout(SOON, self.inbox.recv()).await.unwrap().unwrap() {
            AgentEvent::PeerAsked { asker, from, request } => {
                assert_eq!(from, "db1".into());
                (asker, request)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn call(address: SocketAddr) -> (PeerCalls, mpsc::Receiver<AgentEvent>) {
    let (events, inbox) = mpsc::channel(16);
    let caller =
        Caller { host: "db1".into(), secret: None, transport: Transport::Plain, cluster: None, instance: 7 };
    let peers = [("db2".into(), address)].into();
    (PeerCalls::start_to(&peers, &Arc::new(caller), &events), inbox)
}

async fn answer(inbox: &mut mpsc::Receiver<AgentEvent>) -> PeerAnswer {
    match timeout(SOON, inbox.recv()).await.unwrap().unwrap() {
        AgentEvent::PeerAnswered { host, answer } => {
            assert_eq!(host, "db2".into());
            answer
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_promise_is_asked_for_and_given_and_the_connection_is_kept() {
    let mut other = listen("127.0.0.1:0").await;
    let (calls, mut inbox) = call(other.address);
    for ms in [1, 2] {
        calls.ask(&"db2".into(), promise(ms));
        let (asker, request) = other.asked().await;
        assert_eq!(request, promise(ms));
        let promised = PeerAnswer::Promised { asked: Moment::from_millis(ms) };
        other.askers.answer(asker, promised.clone());
        assert_eq!(answer(&mut inbox).await, promised);
    }
}

#[tokio::test]
async fn what_waits_is_replaced_by_its_own_kind_only_and_the_promise_goes_first() {
    let mut other = listen("127.0.0.1:0").await;
    let (calls, mut inbox) = call(other.address);
    for request in [contact(1), promise(2), contact(3), promise(4)] {
        calls.ask(&"db2".into(), request);
    }
    let (asker, request) = other.asked().await;
    assert_eq!(request, promise(4));
    other.askers.answer(asker, PeerAnswer::Promised { asked: Moment::from_millis(4) });
    answer(&mut inbox).await;
    let (asker, request) = other.asked().await;
    assert_eq!(request, contact(3));
    other.askers.answer(asker, PeerAnswer::Contact { asked: Moment::from_millis(3), sees_monitor: true });
    answer(&mut inbox).await;
    assert!(other.inbox.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_that_of_the_next_request() {
    let mut other = listen("127.0.0.1:0").await;
    let (calls, mut inbox) = call(other.address);
    calls.ask(&"db2".into(), promise(1));
    let (late, _) = other.asked().await;
    sleep(LIMIT + Duration::from_millis(200)).await;
    other.askers.answer(late, PeerAnswer::Promised { asked: Moment::from_millis(1) });
    calls.ask(&"db2".into(), promise(2));
    let (asker, request) = other.asked().await;
    assert_eq!(request, promise(2));
    let refused = PeerAnswer::Refused { asked: Moment::from_millis(2), reason: "no".to_owned() };
    other.askers.answer(asker, refused.clone());
    assert_eq!(answer(&mut inbox).await, refused);
}

#[tokio::test]
async fn an_agent_that_was_restarted_is_reached_by_the_same_request() {
    let mut other = listen("127.0.0.1:0").await;
    let address = other.address;
    let (calls, mut inbox) = call(address);
    calls.ask(&"db2".into(), contact(1));
    let (asker, _) = other.asked().await;
    let there = |ms| PeerAnswer::Contact { asked: Moment::from_millis(ms), sees_monitor: false };
    other.askers.answer(asker, there(1));
    answer(&mut inbox).await;
    other.serving.abort();
    let _ = other.serving.await;
    let mut other = listen(&address.to_string()).await;
    calls.ask(&"db2".into(), contact(2));
    let (asker, request) = other.asked().await;
    assert_eq!(request, contact(2));
    other.askers.answer(asker, there(2));
    assert_eq!(answer(&mut inbox).await, there(2));
}
