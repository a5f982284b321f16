//! The doctor of this host: gathers what is wrong around this agent when it is asked, after the start and each hour.
//!
//! It has a task of its own and a deadline on everything it asks, so that neither the mind nor a session ever waits for it.

mod boot;
mod setup;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use mmm_core::HostName;
use mmm_core::doctor::{
    Checkup, Finding, InterfaceFacts, LocalFacts, Login, PeerFacts, Severity, Whose, describe, judge_account,
    judge_extras, judge_heartbeat, judge_host, judge_kept, judge_server, news,
};
use mmm_mysql::{ErrorKind, Flavour, Session, extras, log_in, set_by_hand};
use mmm_net::Link;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

pub(crate) use self::setup::DoctorSetup;
use crate::rebuild::BACKUP_TOOLS;
use crate::server_process::tools_beside_server;
use crate::setup::Setup;

/// By then the hosts that were started together with this one are up.
const FIRST_AFTER: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_hours(1);
/// Logging in and asking a server.
const SERVER_LIMIT: Duration = Duration::from_millis(2500);
const CONNECT_LIMIT: Duration = Duration::from_millis(1500);
const KERNEL_LIMIT: Duration = Duration::from_secs(1);
/// Neighbours answer within milliseconds.
const ANSWERS_WITHIN: Duration = Duration::from_millis(300);
/// What an answer may hold, so that it always fits into a frame.
const FINDINGS_MAX: usize = 100;
const TEXT_CHARS_MAX: usize = 1000;
const SHARED_BYTES_MAX: usize = 100_000;

/// A question, and the session it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) session: u64,
    pub(crate) number: u64,
}

/// The answer, for that session only.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) session: u64,
    pub(crate) checkup: Checkup,
}

/// Where sessions hand in questions and hear of answers.
#[derive(Clone, Debug)]
pub(crate) struct Surgery {
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) answers: watch::Receiver<Option<Answer>>,
}

/// Starts the doctor's task.
pub(crate) fn start(setup: watch::Receiver<Arc<Setup>>) -> Surgery {
    let (questions, inbox) = mpsc::channel(1);
    let (answer, answers) = watch::channel(None);
    tokio::spawn(work(setup, inbox, answer));
    Surgery { questions, answers }
}

async fn work(
    setup: watch::Receiver<Arc<Setup>>,
    mut questions: mpsc::Receiver<Question>,
    answers: watch::Sender<Option<Answer>>,
) {
    let mut rounds = interval_at(Instant::now() + FIRST_AFTER, EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Vec::new();
    let now = || Arc::clone(&setup.borrow());
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some(Question { session, number }) = question else { return };
                let checkup = Checkup { number, ..examine(&now()).await };
                answers.send_replace(Some(Answer { session, checkup: bounded(checkup) }));
            }
            _ = rounds.tick() => {
                let found = examine(&now()).await.findings;
                let (new, gone) = news(&known, &found);
                for line in new {
                    tracing::warn!("{line}");
                }
                for line in gone {
                    tracing::info!("{line}");
                }
                known = found;
            }
        }
    }
}

/// `mmm_agentd --doctor`: looks once, whether or not an agent or a monitor runs.
pub(crate) fn run(setup: &Setup) -> Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let findings = runtime.block_on(examine(setup)).findings;
    println!("{}", describe(&findings, &BTreeSet::from([setup.host.clone()])));
    let is_bad = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Everything that can be seen from here, within some seconds whatever hangs.
async fn examine(setup: &Setup) -> Checkup {
    let (server, (local, hardware), accounts) =
        tokio::join!(examine_server(setup), look_around(setup), try_replication(setup));
    let mut findings = server;
    findings.extend(judge_host(&local));
    findings.extend(accounts);
    Checkup {
        number: 0,
        findings,
        wall_clock: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        shared: setup.doctor.shared.clone(),
        hardware,
        answers: local.answers,
    }
}

/// The agent's account, and the server as it shows itself to it.
async fn examine_server(setup: &Setup) -> Vec<Finding> {
    let doctor = &setup.doctor;
    let until = Instant::now() + SERVER_LIMIT;
    let from = Some(setup.listen.ip());
    let (account, session) =
        log_in(Whose::Agent, &setup.host, &setup.server, &setup.account, from, SERVER_LIMIT).await;
    let mut findings = judge_account(&account);
    let Some(mut session) = session else { return findings };
    let pid_file = session.identity().pid_file.clone();
    let (facts, options) = tokio::join!(
        session.examine(until.saturating_duration_since(Instant::now())),
        boot::options(pid_file.iter().chain([&setup.server_pid_file]))
    );
    if let (Some(schema), Login::In { account, .. }) = (&setup.heartbeat_schema, &account.login) {
        let left = until.saturating_duration_since(Instant::now());
        // What is missing is to be made on the writer only: it reaches the others by replication.
        if matches!(session.read_only(left).await, Ok(false)) {
            let said = session.explain_heartbeat(schema, left).await.err();
            let said = said.as_ref().and_then(|error| match &error.kind {
                ErrorKind::Said { code, message } => Some((*code, message.as_str())),
                _ => None,
            });
            findings.extend(judge_heartbeat(&setup.host, schema, account, said));
        }
    }
    if let Login::In { account, .. } = &account.login {
        let left = until.saturating_duration_since(Instant::now());
        match extras(&mut session, setup.rebuilds, left).await {
            Ok(mut extras) => {
                extras.lacks_program = lacking_program(setup, &session);
                findings.extend(judge_extras(&setup.host, account, &extras));
            }
            Err(error) => tracing::debug!("The doctor could not ask for the account's grants: {error}"),
        }
    }
    let left = until.saturating_duration_since(Instant::now());
    let by_hand = set_by_hand(&mut session, left).await.unwrap_or_else(|error| {
        tracing::debug!("The doctor could not ask which settings were made by hand: {error}");
        BTreeMap::new()
    });
    session.close().await;
    match facts {
        Ok(facts) => {
            let (is_master, at_boot) = (doctor.is_master, boot::at_boot(&options));
            findings.extend(judge_server(
                &setup.host,
                &facts,
                Some(&at_boot),
                is_master,
                doctor.has_replicas,
            ));
            if let Ok(options) = &options {
                let managed = doctor.manages_semi_sync;
                findings.extend(judge_kept(&setup.host, &facts, &by_hand, options, is_master, managed));
            }
        }
        Err(error) => tracing::debug!("The doctor could not ask the server: {error}"),
    }
    findings
}

/// For a rebuild by a backup, where one is to be made without anybody who prepares it.
fn lacking_program(setup: &Setup, session: &Session) -> Option<String> {
    if !setup.rebuilds || session.identity().flavour != Flavour::MariaDb {
        return None;
    }
    let pid_file = session.identity().pid_file.clone().unwrap_or_else(|| setup.server_pid_file.clone());
    let lacks = |names: &&[&str]| tools_beside_server(&pid_file, names).is_empty();
    [&["mbstream"][..], &BACKUP_TOOLS[..]].iter().find(|names| lacks(names)).map(|names| names[0].to_owned())
}

/// The account of this host's replication at each server it may have to replicate from.
async fn try_replication(setup: &Setup) -> Vec<Finding> {
    let mut asked = JoinSet::new();
    for source in &setup.doctor.sources {
        let (source, from) = (source.clone(), Some(setup.listen.ip()));
        asked.spawn(async move {
            let (facts, session) =
                log_in(Whose::Replication, &source.host, &source.server, &source.account, from, SERVER_LIMIT)
                    .await;
            if let Some(session) = session {
                session.close().await;
            }
            judge_account(&facts)
        });
    }
    asked.join_all().await.into_iter().flatten().collect()
}

/// Interfaces, neighbours and other agents; also the hardware address of the cluster's interface.
async fn look_around(setup: &Setup) -> (LocalFacts, Option<String>) {
    let role_ips: BTreeSet<IpAddr> = setup.roles.keys().copied().collect();
    let ip = setup.listen.ip();
    let links = match timeout(KERNEL_LIMIT, spawn_blocking(mmm_net::links)).await {
        Ok(Ok(Ok(links))) => Ok(links),
        Ok(Ok(Err(error))) => Err(error.to_string()),
        Ok(Err(ended)) => Err(ended.to_string()),
        Err(_) => Err(format!("no answer of the kernel within {} s", KERNEL_LIMIT.as_secs())),
    };
    let ips: Vec<IpAddr> = role_ips.iter().copied().chain([ip]).collect();
    let (answers, peers) = tokio::join!(
        mmm_net::who_has(&setup.interface, &ips, ANSWERS_WITHIN),
        reach_peers(&setup.doctor.peers)
    );
    let mut answers = answers.unwrap_or_else(|error| {
        tracing::debug!("The doctor could not ask who has which address: {error}");
        BTreeMap::new()
    });
    let mut held = BTreeSet::new();
    let mut hardware = None;
    if let Ok(links) = &links {
        // Another interface of this host on the same link answers as well.
        let own: BTreeSet<&String> = links.values().filter_map(|link| link.hardware.as_ref()).collect();
        for others in answers.values_mut() {
            others.retain(|other| !own.contains(other));
        }
        let addresses = links.values().flat_map(|link| &link.addresses).map(|(ip, _)| *ip);
        held = addresses.filter(|ip| role_ips.contains(ip)).collect();
        hardware = links.get(&setup.interface).and_then(|link| link.hardware.clone());
    }
    let interfaces = links.map(|links| {
        links.into_iter().map(|(name, link)| (name, interface_facts(link, &role_ips))).collect()
    });
    let facts = LocalFacts {
        host: setup.host.clone(),
        ip,
        cluster_interface: setup.interface.clone(),
        interfaces,
        roles: setup.roles.values().cloned().collect(),
        answers,
        held,
        peers,
    };
    (facts, hardware)
}

fn interface_facts(link: Link, role_ips: &BTreeSet<IpAddr>) -> InterfaceFacts {
    let networks = link.addresses.into_iter().filter(|(ip, _)| !role_ips.contains(ip)).collect();
    InterfaceFacts { is_up: link.is_up, has_carrier: link.has_carrier, networks }
}

async fn reach_peers(peers: &BTreeMap<HostName, SocketAddr>) -> Vec<PeerFacts> {
    let mut asked = JoinSet::new();
    for (host, address) in peers.clone() {
        asked.spawn(async move {
            let agent = match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(_connection)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {} ms", CONNECT_LIMIT.as_millis())),
            };
            PeerFacts { host, ip: address.ip(), agent_port: address.port(), agent }
        });
    }
    asked.join_all().await
}

/// Cut to what an answer may hold.
fn bounded(mut checkup: Checkup) -> Checkup {
    checkup.findings.sort();
    checkup.findings.truncate(FINDINGS_MAX);
    for finding in &mut checkup.findings {
        for text in [&mut finding.what, &mut finding.why] {
            if text.chars().count() > TEXT_CHARS_MAX {
                *text = text.chars().take(TEXT_CHARS_MAX).collect();
            }
        }
    }
    let bytes: usize = checkup.shared.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > SHARED_BYTES_MAX {
        tracing::debug!("The doctor does not send {bytes} bytes of configuration to compare");
        checkup.shared.clear();
    }
    checkup
}
