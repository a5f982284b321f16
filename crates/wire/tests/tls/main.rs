//! Connections by `<socket>`, over the loopback: who is let in, who is refused, and what both sides are told.

// Helpers of a test may fail the test too; the lint knows only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod authority;
mod files;

use std::sync::Arc;
use std::time::Duration;

use mmm_wire::{
    Accepted, Answering, Calling, Connection, Features, HandshakeError, Purpose, TLS_ONLY_ANSWER, Transport,
    TransportError, accept_caller, greet_agent,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto, version};

use crate::authority::{Authority, Host, expired, for_servers_only, not_yet_valid};

const LIMIT: Duration = Duration::from_secs(3);

/// Both ends of a fresh TCP connection: who calls, who is called.
async fn pair() -> (TcpStream, TcpStream) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let caller = TcpStream::connect(port.local_addr().unwrap()).await.unwrap();
    (caller, port.accept().await.unwrap().0)
}

/// Answers one line.
async fn serve(transport: Transport, stream: TcpStream) -> Result<(), String> {
    let mut stream =
        transport.accept(stream, "client at C", LIMIT).await.map_err(|error| error.to_string())?;
    let mut line = [0; 5];
    stream.read_exact(&mut line).await.map_err(|error| error.to_string())?;
    assert_eq!(&line, b"ping\n");
    stream.write_all(b"pong").await.unwrap();
    stream.shutdown().await.unwrap();
    Ok(())
}

/// Says one line and returns what comes back.
async fn ask(transport: Transport, stream: TcpStream) -> Result<String, String> {
    let mut stream =
        transport.connect(stream, "agent of db1", LIMIT).await.map_err(|error| error.to_string())?;
    exchange(&mut stream).await
}

async fn exchange(stream: &mut Connection) -> Result<String, String> {
    let mut answer = String::new();
    let talk = async {
        stream.write_all(b"ping\n").await?;
        stream.flush().await?;
        stream.read_to_string(&mut answer).await
    };
    talk.await.map_err(|error| error.to_string())?;
    Ok(answer)
}

/// What comes of a call: for who calls, and for who is called.
async fn meet(caller: &Transport, agent: &Transport) -> (Result<String, String>, Result<(), String>) {
    let (near, far) = pair().await;
    let serving = tokio::spawn(serve(agent.clone(), far));
    let asked = ask(caller.clone(), near).await;
    (asked, serving.await.unwrap())
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

#[tokio::test]
async fn hosts_of_one_authority_talk_whatever_their_names_are() {
    let authority = Authority::new("mmm");
    let (caller, agent) = (authority.host("MySQL-MON").transport(), authority.host("MySQL-M1").transport());
    assert!(caller.is_authenticated() && caller.warnings().is_empty());
    assert_eq!(meet(&caller, &agent).await, (Ok("pong".to_owned()), Ok(())));
    let bare = authority.host_with("", |params| params.distinguished_name = rcgen::DistinguishedName::new());
    assert_eq!(meet(&bare.transport(), &agent).await, (Ok("pong".to_owned()), Ok(())));
    assert_eq!(meet(&Transport::Plain, &Transport::Plain).await, (Ok("pong".to_owned()), Ok(())));
    assert!(!Transport::Plain.is_authenticated());
}

#[test]
fn a_transport_is_the_same_as_another_one_by_the_same_files() {
    let authority = Authority::new("mmm");
    let (one, other) = (authority.host("MySQL-M1"), authority.host("MySQL-M2"));
    assert!(one.transport().is_same(&one.transport()) && Transport::Plain.is_same(&Transport::Plain));
    for different in [Transport::Plain, other.transport()] {
        assert!(!one.transport().is_same(&different) && !different.is_same(&one.transport()));
    }
}

#[tokio::test]
async fn a_caller_with_a_bad_certificate_is_refused_by_name_and_told_why() {
    let (authority, foreign, namesake) =
        (Authority::new("mmm"), Authority::new("other"), Authority::new("mmm"));
    let agent = authority.host("MySQL-M1").transport();
    // They trust the right authority, so that the refusal is the called side's alone.
    let trusting = |host: Host| {
        std::fs::copy(authority.host("any").files.ca_file, &host.files.ca_file).unwrap();
        host
    };
    let cases = [
        (authority.host_with("db2", expired), "expired 2", "it has expired"),
        (authority.host_with("db2", not_yet_valid), "compare the clocks", "not valid yet by the clock there"),
        (trusting(foreign.host("db2")), "not signed by an authority in ca_file", "no authority in ca_file"),
        (
            trusting(namesake.host("db2")),
            "another authority than the one of the same name",
            "did not sign it",
        ),
    ];
    for (caller, here, there) in cases {
        assert_eq!(caller.transport().warnings().len(), 1, "its own program tells of it, too");
        let (asked, served) = meet(&caller.transport(), &agent).await;
        has(&served.unwrap_err(), &["client at C was refused: its certificate", here]);
        has(&asked.unwrap_err(), &["it refused the certificate of this side", there]);
    }
}

#[tokio::test]
async fn a_called_side_with_a_bad_certificate_is_refused_by_name_and_told_why() {
    let (authority, foreign) = (Authority::new("mmm"), Authority::new("other"));
    let caller = authority.host("MySQL-MON").transport();
    let cases = [
        (authority.host_with("db1", expired), "expired 2", "it has expired"),
        (authority.host_with("db1", not_yet_valid), "compare the clocks", "not valid yet by the clock there"),
        (foreign.host("db1"), "not signed by an authority in ca_file", "no authority in ca_file"),
    ];
    for (agent, here, there) in cases {
        let (asked, served) = meet(&caller, &agent.transport()).await;
        has(&asked.unwrap_err(), &["agent of db1 was refused: its certificate", here]);
        has(&served.unwrap_err(), &["client at C", "it refused the certificate of this side", there]);
    }
}

/// A TLS client of somebody else's making, which trusts the authority of `host` and shows no certificate.
async fn without_certificate(
    host: &Host,
    versions: &[&'static tokio_rustls::rustls::SupportedProtocolVersion],
) -> (String, String) {
    let mut authorities = RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_file(&host.files.ca_file).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let (near, far) = pair().await;
    let serving = tokio::spawn(serve(host.transport(), far));
    let name = ServerName::try_from("localhost").unwrap();
    let talk = async {
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, near).await?;
        stream.read_u8().await
    };
    let told = talk.await.unwrap_err().to_string();
    (told, serving.await.unwrap().unwrap_err())
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused_by_name_in_both_versions_of_tls() {
    let authority = Authority::new("mmm");
    let host = authority.host_with("localhost", |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("localhost".try_into().unwrap())];
    });
    for (version, alert) in [(&version::TLS13, "CertificateRequired"), (&version::TLS12, "")] {
        let (told, refused) = without_certificate(&host, &[version]).await;
        has(
            &refused,
            &["client at C was refused: it showed no certificate", "signed by an authority in ca_file"],
        );
        has(&told, &["alert", alert]);
    }
}

#[tokio::test]
async fn plain_text_on_a_port_for_tls_gets_a_line_that_says_so() {
    let agent = Authority::new("mmm").host("MySQL-M1").transport();
    let (asked, served) = meet(&Transport::Plain, &agent).await;
    assert_eq!(asked.unwrap(), format!("{TLS_ONLY_ANSWER}\n"));
    has(&served.unwrap_err(), &["client at C speaks plain text and was refused", "same <socket>"]);
    // The same in the words of a session.
    let (near, far) = pair().await;
    let serving = tokio::spawn(serve(agent, far));
    match greet_agent(Connection::Plain(near), &calling(&Features::default()), LIMIT).await.unwrap_err() {
        error @ HandshakeError::TlsOnly { .. } => {
            has(&error.to_string(), &["agent of db1 at 10.0.0.1:9989 speaks TLS only", "same <socket>"]);
        }
        other => panic!("{other:?}"),
    }
    serving.await.unwrap().unwrap_err();
}

fn calling(features: &Features) -> Calling<'_> {
    Calling {
        host: "db1",
        address: "10.0.0.1:9989",
        secret: None,
        purpose: Purpose::Monitor,
        instance: 7,
        cluster: None,
        features,
    }
}

#[tokio::test]
async fn tls_on_a_port_for_plain_text_is_told_apart_on_both_sides() {
    let caller = Authority::new("mmm").host("MySQL-MON").transport();
    let (asked, served) = meet(&caller, &Transport::Plain).await;
    has(&asked.unwrap_err(), &["agent of db1", "it answers in plain text", "no type ssl"]);
    has(&served.unwrap_err(), &["client at C speaks TLS and was refused", "same <socket>"]);
}

#[tokio::test]
async fn a_session_runs_inside_tls() {
    let authority = Authority::new("mmm");
    let (near, far) = pair().await;
    let (caller, agent) = (authority.host("db2").transport(), authority.host("db1").transport());
    let answering = tokio::spawn(async move {
        let stream = agent.accept(far, "caller at C", LIMIT).await.unwrap();
        let features = Features::default();
        let answering = Answering { host: "db1", caller: "C", secret: None, features: &features };
        let accepted = accept_caller(stream, &answering, LIMIT, |_| Ok(())).await.unwrap();
        let Accepted::Session(mut session) = accepted else { panic!("lines") };
        let long: Option<String> = session.reader.next().await.unwrap();
        session.writer.send(&long.unwrap().len()).await.unwrap();
        session.reader.next::<String>().await
    });
    let stream = caller.connect(near, "agent of db1", LIMIT).await.unwrap();
    let mut session = greet_agent(stream, &calling(&Features::default()), LIMIT).await.unwrap();
    session.writer.send(&"x".repeat(200_000)).await.unwrap();
    assert_eq!(session.reader.next::<usize>().await.unwrap(), Some(200_000));
    // A program that is killed says no farewell inside TLS; that is an end, not a fault.
    drop(session);
    assert_eq!(answering.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn who_says_nothing_or_half_of_it_is_left_in_time_and_disturbs_nobody() {
    let authority = Authority::new("mmm");
    let agent = authority.host("MySQL-M1").transport();
    let caller = authority.host("MySQL-MON").transport();
    let limit = Duration::from_millis(700);
    let began = Instant::now();
    let mut silent = Vec::new();
    for number in 0..200 {
        let (mut near, far) = pair().await;
        // The beginning of a TLS record of 512 bytes, or nothing at all.
        let said: &[u8] = if number % 2 == 0 { b"\x16\x03\x01\x02\x00\x01" } else { b"" };
        near.write_all(said).await.unwrap();
        let agent = agent.clone();
        silent.push((near, tokio::spawn(async move { agent.accept(far, "client at C", limit).await })));
    }
    assert_eq!(meet(&caller, &agent).await, (Ok("pong".to_owned()), Ok(())));
    for (near, accepting) in silent {
        let error = accepting.await.unwrap().unwrap_err();
        assert!(matches!(error, TransportError::Silent { .. }) && error.is_silence(), "{error:?}");
        drop(near);
    }
    assert!(began.elapsed() >= limit && began.elapsed() < 4 * limit, "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_closes_at_once_is_silence_and_who_talks_nonsense_is_not() {
    let agent = Authority::new("mmm").host("MySQL-M1").transport();
    let (near, far) = pair().await;
    drop(near);
    let error = agent.accept(far, "client at C", LIMIT).await.unwrap_err();
    assert!(matches!(error, TransportError::Closed { .. }) && error.is_silence(), "{error:?}");
    let (mut near, far) = pair().await;
    near.write_all(b"\x16\x03\x01\x00\x05nonsense that is no TLS at all").await.unwrap();
    let error = agent.accept(far, "client at C", LIMIT).await.unwrap_err();
    assert!(matches!(error, TransportError::Failed { .. }) && !error.is_silence(), "{error:?}");
    has(&error.to_string(), &["client at C"]);
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_given_up_with_a_hint() {
    let caller = Authority::new("mmm").host("MySQL-MON").transport();
    let (near, _far) = pair().await;
    let error = caller.connect(near, "agent of db1", Duration::from_millis(200)).await.unwrap_err();
    has(&error.to_string(), &["agent of db1 did not finish", "0.2 s", "type ssl"]);
}

#[tokio::test]
async fn new_files_serve_new_connections_and_open_ones_go_on() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let (here, there) = (first.host("MySQL-MON"), first.host("MySQL-M1"));
    let (caller, agent) = (here.transport(), there.transport());
    let (near, far) = pair().await;
    let serving = tokio::spawn(serve(agent.clone(), far));
    let mut open = caller.connect(near, "agent of db1", LIMIT).await.unwrap();

    second.renew(&there, "MySQL-M1", |_| {});
    sleep(Duration::from_millis(1300)).await;
    let (asked, served) = meet(&caller, &agent).await;
    has(&asked.unwrap_err(), &["its certificate is not signed by an authority in ca_file"]);
    served.unwrap_err();
    second.renew(&here, "MySQL-MON", |_| {});
    sleep(Duration::from_millis(1300)).await;
    assert_eq!(meet(&caller, &agent).await, (Ok("pong".to_owned()), Ok(())));
    assert_eq!(exchange(&mut open).await, Ok("pong".to_owned()));
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn files_that_can_not_be_used_leave_the_old_certificates_in_use() {
    let authority = Authority::new("mmm");
    let (here, there) = (authority.host("MySQL-MON"), authority.host("MySQL-M1"));
    let (caller, agent) = (here.transport(), there.transport());
    let good = std::fs::read(&there.files.cert_file).unwrap();
    for bad in [&b"no certificate"[..], &std::fs::read(&here.files.cert_file).unwrap()] {
        authority::write(&there.files.cert_file, bad);
        sleep(Duration::from_millis(1300)).await;
        assert!(Transport::new(Some(there.files.clone())).is_err());
        assert_eq!(meet(&caller, &agent).await, (Ok("pong".to_owned()), Ok(())));
    }
    std::fs::remove_file(&there.files.cert_file).unwrap();
    assert_eq!(meet(&caller, &agent).await, (Ok("pong".to_owned()), Ok(())));
    authority::write(&there.files.cert_file, &good);
    sleep(Duration::from_millis(1300)).await;
    assert_eq!(meet(&caller, &agent).await, (Ok("pong".to_owned()), Ok(())));
}

#[tokio::test]
async fn a_certificate_for_one_end_only_is_refused_at_the_start() {
    let host = Authority::new("mmm").host_with("db1", for_servers_only);
    let error = Transport::new(Some(host.files.clone())).unwrap_err().to_string();
    has(&error, &["extendedKeyUsage", "openssl"]);
}
