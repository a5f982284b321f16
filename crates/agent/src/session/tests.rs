//! A session over a real connection, with the monitor's side played by the test.

use std::sync::Arc;

use mmm_core::lease::{Epoch, LeaseLength};
use mmm_core::{HostState, LeaseTerms, Moment, Order, OrderId};
use mmm_wire::{Accepted, Answering, Calling, Features, Purpose, accept_caller, greet_agent};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::holder::Holder;

const LIMIT: Duration = Duration::from_secs(5);

struct Scene {
    monitor: Session<TcpStream>,
    holder: Arc<Holder>,
    number: u64,
    inbox: mpsc::Receiver<AgentEvent>,
    reports: watch::Sender<AgentStatus>,
    begun: watch::Sender<u64>,
    serving: JoinHandle<String>,
}

async fn scene() -> Scene {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let (stream, _) = port.accept().await.unwrap();
        let features = Features::default();
        let answering = Answering { host: "db1", caller: "test", secret: None, features: &features };
        match accept_caller(Connection::Plain(stream), &answering, LIMIT, |_| Ok(())).await.unwrap() {
            Accepted::Session(session) => session,
            Accepted::Lines(lines) => panic!("{lines:?}"),
        }
    });
    let calling = Calling {
        host: "db1",
        address: "test",
        secret: None,
        purpose: Purpose::Monitor,
        instance: 1,
        cluster: None,
        features: &Features::default(),
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let monitor = greet_agent(stream, &calling, LIMIT).await.unwrap();
    let (events, inbox) = mpsc::channel(16);
    let (reports, reported) = watch::channel(AgentStatus::default());
    let (begun, has_begun) = watch::channel(0);
    let holder = Arc::new(Holder::new(LeaseLength::DEFAULT));
    let place = holder.take(1, "monitor at test");
    let number = place.0.number();
    let (questions, _) = mpsc::channel(1);
    let surgery = Surgery { questions, answers: watch::channel(None).1 };
    let desk = Desk { events, reports: reported, begun: has_begun, surgery, surveyor: crate::survey::idle() };
    let serving = tokio::spawn(serve(accepting.await.unwrap(), place, desk));
    Scene { monitor, holder, number, inbox, reports, begun, serving }
}

impl Scene {
    async fn send(&mut self, message: ToAgent) {
        self.monitor.writer.send(&message).await.unwrap();
    }

    async fn event(&mut self) -> AgentEvent {
        timeout(LIMIT, self.inbox.recv()).await.unwrap().unwrap()
    }

    /// What the agent says next, heartbeats aside.
    async fn word(&mut self) -> ToMonitor {
        loop {
            match timeout(LIMIT, self.monitor.reader.next()).await.unwrap().unwrap().unwrap() {
                ToMonitor::Heartbeat { .. } => {}
                other => return other,
            }
        }
    }

    async fn begin(&mut self) {
        self.send(ToAgent::Begin { lineage: 7 }).await;
        let session = self.number;
        assert_eq!(self.event().await, AgentEvent::SessionBegan { session, lineage: 7 });
        self.begun.send_replace(session);
    }
}

#[tokio::test]
async fn the_first_status_is_one_that_the_mind_gave_after_it_knew_the_monitor() {
    let mut scene = scene().await;
    // Nothing but heartbeats, with the reading of the boot clock.
    let first = timeout(LIMIT, scene.monitor.reader.next()).await.unwrap().unwrap().unwrap();
    let ToMonitor::Heartbeat { reading } = first else { panic!("{first:?}") };
    assert!(clock::now().since(reading) < LIMIT && reading <= clock::now(), "{reading:?}");
    scene.send(ToAgent::Begin { lineage: 7 }).await;
    let session = scene.number;
    assert_eq!(scene.event().await, AgentEvent::SessionBegan { session, lineage: 7 });
    scene.reports.send_replace(AgentStatus { boot_id: "after".to_owned(), ..AgentStatus::default() });
    scene.begun.send_replace(session);
    let ToMonitor::Status(status) = scene.word().await else { panic!("no status") };
    assert_eq!(status.boot_id, "after");
    assert!(status.uptime > Duration::ZERO && status.uptime <= clock::now().since_zero());
}

#[tokio::test]
async fn a_session_that_begins_with_anything_else_is_closed() {
    let mut scene = scene().await;
    scene.send(ToAgent::Heartbeat { echo: None }).await;
    let session = scene.number;
    assert_eq!(scene.event().await, AgentEvent::SessionEnded { session });
    let why = scene.serving.await.unwrap();
    assert!(why.contains("by which state it goes"), "{why}");
}

#[tokio::test]
async fn renewals_go_out_and_grants_and_echoes_come_in() {
    let mut scene = scene().await;
    scene.begin().await;
    assert!(matches!(scene.word().await, ToMonitor::Status(_)));
    let epoch = Epoch { number: 3, origin: 1 };
    let renewal = Renewal { epoch, reading: Moment::from_secs(9), taken: None };
    assert!(scene.holder.renew(scene.number, renewal));
    assert_eq!(scene.word().await, ToMonitor::Renew(renewal));
    let grant = mmm_core::lease::Grant {
        epoch,
        reading: Moment::from_secs(9),
        length: LeaseLength::DEFAULT,
        list: std::collections::BTreeSet::new(),
    };
    scene.send(ToAgent::Grant(grant.clone())).await;
    assert_eq!(scene.event().await, AgentEvent::Granted(grant));
    scene.send(ToAgent::Heartbeat { echo: None }).await;
    let echo = Moment::from_secs(8);
    scene.send(ToAgent::Heartbeat { echo: Some(echo) }).await;
    assert_eq!(scene.event().await, AgentEvent::Heard { echo });
}

#[tokio::test]
async fn the_mind_hears_of_the_end_and_a_closed_session_leaves_its_place() {
    let mut scene = scene().await;
    scene.begin().await;
    assert!(scene.holder.judge(2).is_err());
    drop(scene.monitor);
    let session = scene.number;
    assert_eq!(scene.inbox.recv().await, Some(AgentEvent::SessionEnded { session }));
    scene.serving.await.unwrap();
    assert!(scene.holder.judge(2).is_ok());
}

#[tokio::test]
async fn a_monitor_that_falls_silent_loses_the_session_but_not_yet_its_place() {
    let mut scene = scene().await;
    scene.begin().await;
    let terms = LeaseTerms { length: LeaseLength::GREATEST, ..LeaseTerms::default() };
    let order = Order {
        source: None,
        id: OrderId { instance: 1, number: 1 },
        state: HostState::Online,
        roles: std::collections::BTreeSet::new(),
        active_master: None,
        writer: None,
        release: None,
        terms,
        absolved: false,
        stand_still: false,
        surplus: None,
        semi_sync: None,
        rebuild: None,
        generation: 1,
    };
    scene.send(ToAgent::Order(order.clone())).await;
    assert_eq!(scene.event().await, AgentEvent::Ordered(order));
    let session = scene.number;
    assert_eq!(scene.event().await, AgentEvent::SessionEnded { session });
    let why = scene.serving.await.unwrap();
    assert!(why.contains("said nothing for 2500 ms"), "{why}");
    assert!(scene.holder.judge(2).is_err());
    assert!(!scene.holder.renew(session, Renewal { epoch: Epoch::NONE, reading: Moment::ZERO, taken: None }));
}
