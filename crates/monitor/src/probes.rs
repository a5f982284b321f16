//! The four checks of each host, every one in a task of its own: a host that hangs delays no other.

use std::time::Duration;

use mmm_config::CheckSettings;
use mmm_core::{CheckKind, Event, Verdict};
use mmm_mysql::{
    CheckVerdict, ErrorKind, ReplicaStatus, ServerError, Session, keeps_up, mysql_check, probe_accepts,
    rep_backlog_check, rep_threads_check, takes_connections,
};
use mmm_net::Pinger;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::setup::HostSetup;
use crate::shell::Wiring;

/// More than enough for a packet there and one back.
const CONNECT_LIMIT: Duration = Duration::from_millis(200);

/// To be ended by the handles when the host is no longer this one.
pub(crate) fn start(wiring: &Wiring, host: &HostSetup) -> Vec<AbortHandle> {
    let probe = |kind| Probe { wiring: wiring.clone(), host: host.clone(), kind, session: None, late: None };
    CheckKind::ALL.into_iter().map(|kind| tokio::spawn(probe(kind).run()).abort_handle()).collect()
}

struct Probe {
    wiring: Wiring,
    host: HostSetup,
    kind: CheckKind,
    /// Kept from one run to the next.
    session: Option<Session>,
    /// When the replica seemed late, and what it had received by then.
    late: Option<(Instant, ReplicaStatus)>,
}

impl Probe {
    async fn run(mut self) {
        let mut pinger = Pinger::new(self.host.ip);
        self.wiring.network_was_there().await;
        loop {
            let began = Instant::now();
            let started = self.wiring.now();
            let settings = self.settings();
            let verdict = match self.kind {
                CheckKind::Ping => self.ping(&mut pinger, settings.timeout).await,
                CheckKind::Mysql => self.mysql(settings.timeout).await,
                CheckKind::RepThreads => {
                    convert(rep_threads_check(&self.replication(settings.timeout).await))
                }
                CheckKind::RepBacklog => self.backlog(&settings).await,
            };
            let event = Event::Checked {
                host: self.host.name.clone(),
                kind: self.kind,
                verdict,
                started,
                stamp: mmm_daemon::wall_clock(),
            };
            if self.wiring.events.send(event).await.is_err() {
                return;
            }
            self.wait_for_next(began).await;
        }
    }

    /// The period may change meanwhile.
    async fn wait_for_next(&mut self, began: Instant) {
        loop {
            let next = began + self.settings().period;
            tokio::select! {
                () = sleep_until(next) => return,
                Ok(()) = self.wiring.setup.changed() => {}
            }
        }
    }

    fn settings(&self) -> CheckSettings {
        let setup = self.wiring.setup();
        let checks = &setup.checks;
        match self.kind {
            CheckKind::Ping => checks.ping.clone(),
            CheckKind::Mysql => checks.mysql.clone(),
            CheckKind::RepThreads => checks.rep_threads.clone(),
            CheckKind::RepBacklog => checks.rep_backlog.clone(),
        }
    }

    async fn ping(&self, pinger: &mut Pinger, limit: Duration) -> Verdict {
        match pinger.ping(limit).await {
            Ok(true) => Verdict::Good("OK".to_owned()),
            Ok(false) => Verdict::Bad(format!("ERROR: Could not ping {}", self.host.ip)),
            Err(error) => Verdict::Unknown(format!("UNKNOWN: {error}")),
        }
    }

    async fn mysql(&mut self, limit: Duration) -> Verdict {
        let result = self.server(limit).await;
        let waits = matches!(&result, Err(error)
            if error.while_connecting() && matches!(error.kind, ErrorKind::TimedOut { .. }));
        match convert(mysql_check(&result)) {
            Verdict::Bad(message) if waits && takes_connections(&self.host.server, CONNECT_LIMIT).await => {
                Verdict::Stalled(message)
            }
            verdict => verdict,
        }
    }

    /// Whether the server answers on the kept connection and lets somebody new in; the one does not prove the other.
    async fn server(&mut self, limit: Duration) -> Result<(), ServerError> {
        let until = Instant::now() + limit;
        self.with_session(until, async |session, limit| session.check_alive(limit).await).await?;
        probe_accepts(&self.host.server, &self.host.account, left(until)).await
    }

    /// Seconds by two clocks that may have moved apart: before they count against a replica it is seen whether it keeps up.
    async fn backlog(&mut self, settings: &CheckSettings) -> Verdict {
        let until = Instant::now() + settings.timeout;
        let mut result = self.replication(settings.timeout).await;
        let verdict = rep_backlog_check(&result, settings.max_backlog);
        if !matches!(verdict, CheckVerdict::Failed(_)) {
            self.late = None;
            return convert(verdict);
        }
        if self.late.is_none()
            && let Ok(Some(status)) = &result
        {
            self.late = Some((Instant::now(), status.clone()));
            sleep(settings.timeout / 2).await;
            result = self.replication(left(until)).await;
        }
        let (Some((since, before)), Ok(Some(after))) = (&self.late, result) else { return convert(verdict) };
        let is_recent = since.elapsed() <= Duration::from_secs(settings.max_backlog);
        let keeps_up = is_recent && keeps_up(before, &after);
        if keeps_up || !is_recent {
            self.late = Some((Instant::now(), after));
        }
        if keeps_up {
            Verdict::Good("OK: Backlog is null (clocks differ)".to_owned())
        } else {
            convert(verdict)
        }
    }

    async fn replication(&mut self, limit: Duration) -> Result<Option<ReplicaStatus>, ServerError> {
        let until = Instant::now() + limit;
        self.with_session(until, async |session, limit| session.replica_status(limit).await).await
    }

    /// Asks on the kept connection. One that was closed meanwhile says nothing about the server of today, so a new one
    /// is tried at once.
    async fn with_session<T>(
        &mut self,
        until: Instant,
        ask: impl AsyncFn(&mut Session, Duration) -> Result<T, ServerError>,
    ) -> Result<T, ServerError> {
        if let Some(mut session) = self.session.take() {
            match ask(&mut session, left(until)).await {
                Ok(value) => {
                    self.session = Some(session);
                    return Ok(value);
                }
                Err(error) if matches!(error.kind, ErrorKind::Closed { .. }) => {}
                Err(error) => {
                    self.session = Some(session).filter(Session::is_usable);
                    return Err(error);
                }
            }
        }
        let mut session = Session::connect(&self.host.server, &self.host.account, left(until)).await?;
        let value = ask(&mut session, left(until)).await?;
        self.session = Some(session);
        Ok(value)
    }
}

/// What is left of a check's time; never nothing, so that a call that starts late still says what it was.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).max(Duration::from_millis(10))
}

fn convert(verdict: CheckVerdict) -> Verdict {
    match verdict {
        CheckVerdict::Ok(message) => Verdict::Good(message),
        CheckVerdict::Failed(message) => Verdict::Bad(message),
        CheckVerdict::Unknown(message) => Verdict::Unknown(message),
    }
}
