//! Frames of protocol 2, as each kind of message that may arrive, up to the minds that take them in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use mmm_core::doctor::{
    AccountFacts, Checkup, ClusterFacts, HostExamined, Login, Periods, Whose, describe, judge_cluster,
};
use mmm_core::{
    AgentAction, AgentEvent, Event, Moment, PeerAnswer, PeerRequest, ServerView, StepOutcome, ToAgent,
    ToMonitor,
};
use mmm_wire::{FrameReader, FrameWriter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::minds;

/// The bytes are what came over a connection that was then closed.
pub fn frames(data: &[u8]) {
    crate::run(async {
        let requests = read::<PeerRequest>(data).await;
        let answers = read::<PeerAnswer>(data).await;
        tell_agent(read::<ToAgent>(data).await, requests, answers);
        tell_monitor(read::<ToMonitor>(data).await);
    });
}

async fn read<T: Serialize + DeserializeOwned + Debug + PartialEq>(data: &[u8]) -> Vec<T> {
    let mut reader = FrameReader::new(data, "somebody");
    let mut messages = Vec::new();
    while let Ok(Some(message)) = reader.next::<T>().await {
        let mut written = Vec::new();
        FrameWriter::new(&mut written, "somebody").send(&message).await.expect("it came in a frame");
        let again = FrameReader::new(written.as_slice(), "somebody").next::<T>().await;
        let again = again.expect("it was written by us").expect("it was written by us");
        assert_eq!(again, message);
        messages.push(again);
    }
    messages
}

/// As its session does it; every step ends well, and time goes on.
fn tell_agent(messages: Vec<ToAgent>, requests: Vec<PeerRequest>, answers: Vec<PeerAnswer>) {
    let mut events = vec![
        AgentEvent::ServerSeen {
            view: ServerView::Up { writable: false },
            asked: Moment::ZERO,
            source_ip: None,
            gtid: None,
            receiving: None,
        },
        AgentEvent::AddressesSeen(std::iter::empty().collect()),
    ];
    events.extend(messages.into_iter().filter_map(|message| match message {
        ToAgent::Begin { lineage } => Some(AgentEvent::SessionBegan { session: 1, lineage }),
        ToAgent::Order(order) => Some(AgentEvent::Ordered(order)),
        ToAgent::Approach { id, limit, reach } => Some(AgentEvent::ApproachOrdered { id, limit, reach }),
        ToAgent::Announce(role) => Some(AgentEvent::AnnouncementOrdered(role)),
        ToAgent::Look { id } => Some(AgentEvent::LookOrdered { id }),
        ToAgent::Grant(grant) => Some(AgentEvent::Granted(grant)),
        ToAgent::Heartbeat { echo } => echo.map(|echo| AgentEvent::Heard { echo }),
        ToAgent::Examine { .. } | ToAgent::Survey { .. } => None,
    }));
    let from = || "db2".into();
    events.extend(requests.into_iter().map(|request| AgentEvent::PeerAsked {
        asker: 1,
        from: from(),
        request,
    }));
    events.extend(answers.into_iter().map(|answer| AgentEvent::PeerAnswered { host: from(), answer }));
    events.push(AgentEvent::Tick);
    let mut mind = minds::agent();
    let mut now = Moment::from_secs(100);
    for event in events {
        now = now + Duration::from_millis(700);
        let mut told = vec![event];
        // What is still under way after so many is under way at the next event as well.
        for _ in 0..20 {
            let Some(event) = told.pop() else { break };
            told.extend(mind.step(now, event).into_iter().filter_map(|action| match action {
                AgentAction::Do(step) => Some(AgentEvent::StepEnded { step, outcome: StepOutcome::Done }),
                AgentAction::Save { number, .. } => Some(AgentEvent::MemorySaved { number, outcome: Ok(()) }),
                AgentAction::SaveDurable { number, .. } => {
                    Some(AgentEvent::DurableSaved { number, outcome: Ok(()) })
                }
                _ => None,
            }));
        }
    }
}

fn tell_monitor(messages: Vec<ToMonitor>) {
    let mut cluster = minds::cluster();
    let mut now = Moment::from_secs(100);
    let host = || "db1".into();
    let mut events = vec![Event::NetworkChecked { reachable: true }];
    for (index, message) in messages.into_iter().enumerate() {
        events.push(match message {
            ToMonitor::Status(status) if index == 0 => Event::AgentConnected { host: host(), status },
            ToMonitor::Status(status) => Event::AgentReported { host: host(), status },
            ToMonitor::Surveyed(survey) => Event::Surveyed { host: "db1".into(), survey },
            ToMonitor::Renew(renewal) => Event::Renewed { host: host(), renewal },
            ToMonitor::Heartbeat { .. } => Event::Tick,
            ToMonitor::Examined(checkup) => {
                examine(*checkup);
                Event::Tick
            }
        });
    }
    // Late enough for the start to wait for nobody.
    events.extend([Event::Tick, Event::Commanded { client: 1, line: "show --long".to_owned() }]);
    for event in events {
        now = now + Duration::from_secs(8);
        for action in cluster.step(now, event) {
            if let mmm_core::Action::SaveState { number, .. } = action {
                let _ = cluster.step(now, Event::StateSaved { number, outcome: Ok(()) });
            }
        }
    }
}

/// What an agent says of its host is judged, and told to an operator.
fn examine(checkup: Checkup) {
    let nothing = || "it does not answer".to_owned();
    let host = mmm_core::HostName::from("db1");
    let examined = HostExamined {
        ip: [192, 168, 8, 32].into(),
        mysql_port: 3306,
        is_master: true,
        peer: Some("db2".into()),
        agent: Ok(checkup),
        ahead_ms: None,
        server: Err(nothing()),
        account: AccountFacts {
            whose: Whose::Monitor,
            user: "mmm_monitor".to_owned(),
            server: host.clone(),
            from: None,
            needed: String::new(),
            login: Login::Failed(nothing()),
        },
    };
    let facts = ClusterFacts {
        hosts: BTreeMap::from([(host.clone(), examined)]),
        periods: Periods { trap: Duration::from_secs(10), proof_ms: Some(8400) },
        shared: BTreeMap::new(),
        role_ips: BTreeSet::new(),
        manages_semi_sync: false,
    };
    let text = describe(&judge_cluster(&facts), &BTreeSet::from([host]));
    assert!(text.contains("db1"), "{text}");
}
