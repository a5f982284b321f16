//! The doctor of the cluster: asks agents and servers side by side, each under a deadline, and tells what is found.
//!
//! It runs when an operator asks, after the start and each hour, always in a task of its own: nothing waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mmm_core::doctor::{
    Checkup, ClusterFacts, Finding, HostExamined, Periods, ServerFacts, Whose, describe, judge_cluster, news,
};
use mmm_core::{HostName, SemiSyncMode};
use mmm_mysql::log_in;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::setup::HostSetup;
use crate::shell::Wiring;

/// An agent's own deadlines end before this.
const AGENT_LIMIT: Duration = Duration::from_secs(6);
const SERVER_LIMIT: Duration = Duration::from_secs(3);
/// For sessions and servers to come up after the start.
const FIRST_AFTER: Duration = Duration::from_secs(12);
/// Where one of them does not come up; counted from then.
const PATIENCE: Duration = Duration::from_secs(18);
const EVERY: Duration = Duration::from_hours(1);
/// Examinations that operators may have under way at once.
const AT_ONCE: usize = 2;

/// Whom a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Patient {
    All,
    Host(HostName),
}

#[derive(Clone, Debug)]
pub(crate) struct Doctor {
    wiring: Wiring,
    places: Arc<Semaphore>,
}

impl Doctor {
    /// Also starts the task that looks by itself.
    pub(crate) fn start(wiring: &Wiring) -> Self {
        let doctor = Self { wiring: wiring.clone(), places: Arc::new(Semaphore::new(AT_ONCE)) };
        tokio::spawn(doctor.clone().look_now_and_then());
        doctor
    }

    /// About whom the doctor is asked, where a line of the control port is for him.
    pub(crate) fn is_asked(line: &str) -> Option<Patient> {
        if line.starts_with(char::is_whitespace) {
            return None;
        }
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["doctor"] | ["doctor", "all"] => Some(Patient::All),
            ["doctor", host] => Some(Patient::Host(HostName::from(host))),
            _ => None,
        }
    }

    /// Answers an operator when everything has been looked at.
    pub(crate) fn answer(&self, of: Patient, answer: oneshot::Sender<String>) {
        let doctor = self.clone();
        tokio::spawn(async move {
            let text = match doctor.places.clone().try_acquire_owned() {
                Ok(_place) => doctor.report(of).await,
                Err(_) => format!(
                    "ERROR: {AT_ONCE} examinations are under way already. Try again in {} s.",
                    AGENT_LIMIT.as_secs()
                ),
            };
            // A client that went away meanwhile needs no answer.
            let _ = answer.send(text);
        });
    }

    async fn report(&self, of: Patient) -> String {
        let names: BTreeSet<HostName> =
            self.wiring.setup().hosts.iter().map(|host| host.name.clone()).collect();
        if let Patient::Host(host) = &of
            && !names.contains(host)
        {
            return format!("ERROR: Unknown host name '{host}'");
        }
        // All are looked at in any case: most of what can be wrong with one host shows only beside the others.
        let findings = self.examine().await;
        match of {
            Patient::All => describe(&findings, &names),
            Patient::Host(host) => {
                let concerns = |finding: &Finding| {
                    finding.host == host || finding.fixes.iter().any(|fix| fix.host == host)
                };
                let findings: Vec<Finding> = findings.into_iter().filter(concerns).collect();
                describe(&findings, &BTreeSet::from([host]))
            }
        }
    }

    async fn look_now_and_then(mut self) {
        self.wiring.network_was_there().await;
        sleep(FIRST_AFTER).await;
        let latest = Instant::now() + PATIENCE;
        while Instant::now() < latest && !self.wiring.checkups.all_have_sessions() {
            sleep(Duration::from_secs(1)).await;
        }
        let mut rounds = interval_at(Instant::now(), EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = Vec::new();
        loop {
            rounds.tick().await;
            let found = self.examine().await;
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

    async fn examine(&self) -> Vec<Finding> {
        let setup = self.wiring.setup();
        let mut asked = JoinSet::new();
        for host in &setup.hosts {
            asked.spawn(examine_host(self.wiring.clone(), host.clone()));
        }
        let hosts: BTreeMap<HostName, HostExamined> = asked.join_all().await.into_iter().flatten().collect();
        let checks = &setup.checks;
        let facts = ClusterFacts {
            hosts,
            periods: Periods {
                trap: checks.rep_threads.trap.max(checks.rep_backlog.trap),
                proof_ms: setup.mind.timeout_for_proof_ms(),
            },
            shared: setup.shared.clone(),
            role_ips: setup.mind.all_roles().map(|role| role.ip()).collect(),
            manages_semi_sync: setup.mind.semi_sync == SemiSyncMode::Manage,
        };
        judge_cluster(&facts)
    }
}

async fn examine_host(wiring: Wiring, host: HostSetup) -> Option<(HostName, HostExamined)> {
    let setup = wiring.setup();
    let settings = setup.mind.hosts.get(&host.name)?;
    let agent = async {
        let Some(agent) = wiring.checkups.of(&host.name) else {
            return (Err("it has no agent".to_owned()), None);
        };
        let checkup = agent.ask(AGENT_LIMIT).await;
        let ahead_ms = checkup.as_ref().ok().and_then(ahead_ms);
        (checkup, ahead_ms)
    };
    let server = async {
        let (account, session) =
            log_in(Whose::Monitor, &host.name, &host.server, &host.account, None, SERVER_LIMIT).await;
        let facts: Result<ServerFacts, String> = match session {
            Some(mut session) => {
                let facts = session.examine(SERVER_LIMIT).await.map_err(|error| error.to_string());
                session.close().await;
                facts
            }
            None => Err("the monitor's account was not let in".to_owned()),
        };
        (account, facts)
    };
    let ((agent, ahead_ms), (account, server)) = tokio::join!(agent, server);
    let examined = HostExamined {
        ip: host.ip,
        mysql_port: host.server.port,
        is_master: settings.mode == mmm_core::HostMode::Master,
        peer: settings.peer.clone(),
        agent,
        ahead_ms,
        server,
        account,
    };
    Some((host.name, examined))
}

/// Read at once when the answer came, and the agent read its own when it went out.
fn ahead_ms(checkup: &Checkup) -> Option<i64> {
    if checkup.wall_clock.is_zero() {
        return None;
    }
    let here = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let ms = |time: Duration| i64::try_from(time.as_millis()).ok();
    ms(checkup.wall_clock)?.checked_sub(ms(here)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_for_the_doctor_are_his() {
        assert_eq!(Doctor::is_asked("doctor"), Some(Patient::All));
        assert_eq!(Doctor::is_asked("doctor all "), Some(Patient::All));
        assert_eq!(Doctor::is_asked("doctor db1"), Some(Patient::Host(HostName::from("db1"))));
        for line in ["", " doctor", "doctor db1 db2", "doctors", "show"] {
            assert_eq!(Doctor::is_asked(line), None, "{line}");
        }
    }
}
