//! Agents that call each other, and whoever passes for one.

use mmm_wire::{FrameError, PEER_HOST_BYTES_MAX};

use super::*;

const SHARED: &str = "correct horse battery";

fn agent_of(host: &str) -> Purpose {
    Purpose::Peer { host: host.to_owned() }
}

/// An agent calls that of db1: the caller's outcome, then that of the agent.
async fn meet_peer(host: &str, caller: Option<&str>, agent: Option<&str>) -> (Outcome, Outcome) {
    let (caller, agent) = (caller.map(secret), agent.map(secret));
    let (near, far) = duplex(1024);
    tokio::join!(
        call_as(agent_of(host), near, caller.as_ref(), &["lease"]),
        answer(far, "db1", agent.as_ref(), anyone)
    )
}

/// The caller speaks with the agent of db1 through a man in the middle, who may change the caller's introduction. What the
/// agent makes of it, what it answers, and the introduction as it was.
async fn through_the_middle(
    purpose: Purpose,
    shared: Option<&str>,
    change: impl FnOnce(&mut Value),
) -> (Outcome, Value, Value) {
    let shared = shared.map(secret);
    let (caller_end, middle_caller) = duplex(4096);
    let (agent_end, middle_agent) = duplex(4096);
    let middle = async {
        let (mut to_caller, line) = stranger_answers(middle_caller).await;
        let (reader, mut writer) = split(middle_agent);
        writer.write_all(line.as_bytes()).await.unwrap();
        let mut to_agent = Stranger {
            reader: FrameReader::new(BufReader::new(reader), "agent"),
            writer: FrameWriter::new(writer, "agent"),
        };
        let hello: Value = to_agent.reader.next().await.unwrap().unwrap();
        to_caller.writer.send(&hello).await.unwrap();
        let auth: Value = to_caller.reader.next().await.unwrap().unwrap();
        let mut changed = auth.clone();
        change(&mut changed["auth"]);
        to_agent.writer.send(&changed).await.unwrap();
        (to_agent.reader.next::<Value>().await.unwrap().unwrap(), auth)
    };
    let (_, outcome, (verdict, auth)) = tokio::join!(
        call_as(purpose, caller_end, shared.as_ref(), &[]),
        answer(agent_end, "db1", shared.as_ref(), anyone),
        middle
    );
    (outcome, verdict, auth)
}

#[tokio::test]
async fn an_agent_that_calls_is_known_as_that_of_its_host() {
    for (shared, authenticated) in [(None, false), (Some(SHARED), true)] {
        let (caller, agent) = meet_peer("MySQL-M2", shared, shared).await;
        let (mut caller, agent) = (caller.unwrap(), agent.unwrap());
        assert_eq!(agent.peer.purpose, agent_of("MySQL-M2"));
        assert_eq!(&*agent.peer.name, "agent of MySQL-M2 at 10.0.0.9:4711");
        assert_eq!(&*caller.peer.name, "agent of db1 at 10.0.0.1:9989");
        assert_eq!(caller.peer.purpose, agent_of("MySQL-M2"));
        assert_eq!((caller.peer.authenticated, agent.peer.authenticated), (authenticated, authenticated));
        assert_eq!((agent.peer.instance, agent.peer.cluster.as_deref()), (77, Some("c1")));
        let mut reader = agent.reader;
        caller.writer.send(&"promise?").await.unwrap();
        assert_eq!(reader.next::<String>().await.unwrap().as_deref(), Some("promise?"));
    }
}

#[tokio::test]
async fn what_goes_wrong_later_is_told_with_the_name_of_the_agent_that_called() {
    let (caller, agent) = meet_peer("db2", None, None).await;
    let (mut caller, mut agent) = (caller.unwrap(), agent.unwrap());
    caller.writer.send(&1).await.unwrap();
    let error = agent.reader.next::<String>().await.unwrap_err();
    assert!(error.to_string().contains("agent of db2 at 10.0.0.9:4711"), "{error}");
    drop(caller);
    let error = agent.writer.send(&"x").await.unwrap_err();
    assert!(matches!(error, FrameError::Write { .. }), "{error}");
    assert!(error.to_string().contains("agent of db2 at 10.0.0.9:4711"), "{error}");
}

#[tokio::test]
async fn an_agent_without_the_secret_is_refused_as_a_monitor_would_be() {
    let (caller, agent) = meet_peer("db2", None, Some(SHARED)).await;
    let error = agent.unwrap_err();
    assert!(matches!(error, HandshakeError::NoSecret { .. }), "{error}");
    assert!(error.to_string().starts_with("agent of db2 at 10.0.0.9:4711 is not authenticated"), "{error}");
    let Err(HandshakeError::Refused { refusal, .. }) = caller else { panic!("{caller:?}") };
    assert_eq!(refusal.code, RefusalCode::Unauthenticated);
    assert_eq!(refusal.reason, "the agent that was called has a secret and the calling one has none");
}

#[tokio::test]
async fn an_agent_with_a_secret_takes_no_answer_from_one_without_or_with_another() {
    for (other, reason) in [
        (None, "the agent of db2 has a secret and this agent has none"),
        (Some("wrong horse battery!"), "the agent of db2's secret is another one"),
    ] {
        let (caller, agent) = meet_peer("db2", Some(SHARED), other).await;
        let error = caller.unwrap_err();
        match other {
            None => assert!(matches!(error, HandshakeError::NoSecret { .. }), "{error}"),
            Some(_) => assert!(matches!(error, HandshakeError::WrongSecret { .. }), "{error}"),
        }
        let Err(HandshakeError::Refused { refusal, .. }) = agent else { panic!("{agent:?}") };
        assert_eq!((refusal.code, refusal.reason.as_str()), (RefusalCode::Unauthenticated, reason));
    }
}

#[tokio::test]
async fn an_unasked_proof_of_an_agent_is_refused() {
    let (outcome, verdict, _) =
        through_the_middle(agent_of("db2"), None, |auth| auth["proof"] = json!("00".repeat(32))).await;
    assert!(matches!(outcome, Err(HandshakeError::UnaskedProof { .. })), "{outcome:?}");
    let reason = "the calling agent has a secret and the one that was called has none";
    assert_eq!(verdict["refused"]["reason"], reason);
}

#[tokio::test]
async fn nobody_on_the_way_can_change_who_calls_and_for_whom() {
    let peer = |host: &str| json!({"peer": {"host": host}});
    let cases = [
        (agent_of("db2"), Some(json!("monitor"))),
        (agent_of("db2"), Some(peer("db3"))),
        (agent_of("db2"), Some(peer("db2 "))),
        (agent_of("db2"), Some(peer(""))),
        (agent_of("db2"), None),
        (Purpose::Monitor, Some(peer("db2"))),
    ];
    for (purpose, changed) in cases {
        let shown = format!("{purpose:?} {changed:?}");
        let change = |auth: &mut Value| match changed {
            Some(changed) => auth["purpose"] = changed,
            None => assert!(auth.as_object_mut().unwrap().remove("purpose").is_some()),
        };
        let (outcome, verdict, _) = through_the_middle(purpose, Some(SHARED), change).await;
        assert!(matches!(outcome, Err(HandshakeError::WrongSecret { .. })), "{shown}: {outcome:?}");
        assert_eq!(verdict["refused"]["code"], "unauthenticated", "{shown}");
    }
    // Left alone, the same goes through.
    for purpose in [agent_of("db2"), Purpose::Monitor] {
        let (outcome, verdict, _) = through_the_middle(purpose.clone(), Some(SHARED), |_| ()).await;
        assert_eq!(outcome.unwrap().peer.purpose, purpose);
        assert_eq!(verdict, json!({"welcome": {}}));
    }
}

#[tokio::test]
async fn an_introduction_without_a_purpose_is_a_monitors_with_a_secret_too() {
    let change = |auth: &mut Value| assert!(auth.as_object_mut().unwrap().remove("purpose").is_some());
    let (outcome, _, auth) = through_the_middle(Purpose::Monitor, Some(SHARED), change).await;
    let peer = outcome.unwrap().peer;
    assert_eq!((peer.purpose, peer.authenticated), (Purpose::Monitor, true));
    assert_eq!(&*peer.name, "monitor at 10.0.0.9:4711");
    let fields: Vec<&String> = auth["auth"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["cluster", "instance", "program", "proof", "purpose"]);
    assert_eq!(auth["auth"]["purpose"], "monitor");
}

#[tokio::test]
async fn a_purpose_that_nobody_knows_is_no_monitors() {
    for purpose in [json!("witness"), json!({"peer": {}}), json!({"peer": "db2"}), json!(null), json!(7)] {
        let (near, far) = duplex(4096);
        let stranger = async {
            let mut stranger = stranger_calls(near, &greeting_to("db1", 2)).await;
            stranger.reader.next::<Value>().await.unwrap();
            let auth = json!({"auth": {"instance": 1, "program": "3", "purpose": purpose}});
            stranger.writer.send(&auth).await.unwrap();
        };
        let (outcome, ()) =
            tokio::join!(answer(far, "db1", None, |_| panic!("must not be judged")), stranger);
        assert!(matches!(outcome, Err(HandshakeError::Frame(FrameError::Decode { .. }))), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_name_that_no_host_can_have_is_refused_with_and_without_a_secret() {
    let longest = "h".repeat(PEER_HOST_BYTES_MAX);
    let too_long = "h".repeat(PEER_HOST_BYTES_MAX + 1);
    // 33 characters, and yet 66 bytes.
    let wide = "ü".repeat(33);
    for shared in [None, Some(SHARED)] {
        let (caller, agent) = meet_peer(&longest, shared, shared).await;
        assert!(caller.is_ok());
        assert_eq!(agent.unwrap().peer.purpose, agent_of(&longest));
        for host in ["", &too_long, &wide, "db 2", "db2\nFATAL all is lost", "db|2", &"h".repeat(2000)] {
            let (caller, agent) = meet_peer(host, shared, shared).await;
            let error = agent.unwrap_err();
            let HandshakeError::Declined { peer, refusal } = &error else { panic!("{host}: {error}") };
            assert_eq!(&**peer, "agent at 10.0.0.9:4711");
            assert_eq!(refusal.code, RefusalCode::UnknownPeer);
            assert!(error.to_string().contains("names its host in 1 to 64 letters"), "{error}");
            assert!(error.to_string().contains("check its 'this'"), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            let Err(HandshakeError::Refused { refusal, .. }) = caller else { panic!("{caller:?}") };
            assert_eq!(refusal.code, RefusalCode::UnknownPeer);
        }
    }
}

#[tokio::test]
async fn whoever_judges_is_told_who_calls_and_may_refuse_it() {
    let (near, far) = duplex(1024);
    let judge = |peer: &PeerInfo| match &peer.purpose {
        Purpose::Monitor => Ok(()),
        Purpose::Peer { host } => {
            Err(Refusal::new(RefusalCode::UnknownPeer, format!("no host {host} is known")))
        }
    };
    let (caller, agent) =
        tokio::join!(call_as(agent_of("db9"), near, None, &[]), answer(far, "db1", None, judge));
    let error = agent.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the session with agent of db9 at 10.0.0.9:4711 was refused: no host db9 is known"
    );
    let Err(HandshakeError::Refused { refusal, .. }) = caller else { panic!("{caller:?}") };
    assert_eq!((refusal.code, refusal.reason.as_str()), (RefusalCode::UnknownPeer, "no host db9 is known"));
}
