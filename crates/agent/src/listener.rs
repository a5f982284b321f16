//! The agent's port: many may knock, one monitor gets a session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::{AgentEvent, AgentStatus};
use mmm_wire::{Answering, Features, HandshakeError, PeerInfo, Purpose, Refusal, RefusalCode, accept_caller};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep;

use crate::session::{DEAD_AFTER, Holder, serve};
use crate::setup::Setup;

/// Connections that have not proven themselves; more are closed at once.
const KNOCKING_MAX: usize = 1000;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
const BIND_AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct Listener {
    pub(crate) setup: Arc<Setup>,
    pub(crate) events: mpsc::Sender<AgentEvent>,
    pub(crate) reports: watch::Receiver<AgentStatus>,
}

impl Listener {
    pub(crate) async fn run(self) {
        let port = self.bind().await;
        let holder = Arc::new(Holder::default());
        let knocking = Arc::new(Semaphore::new(KNOCKING_MAX));
        let this = Arc::new(self);
        loop {
            let (stream, caller) = match port.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("Can't accept a connection on {}: {error}", this.setup.listen);
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&knocking).try_acquire_owned() else {
                tracing::debug!("Closing the connection from {caller}: {KNOCKING_MAX} others wait already");
                continue;
            };
            let (this, holder) = (Arc::clone(&this), Arc::clone(&holder));
            tokio::spawn(async move {
                let _permit = permit;
                this.answer(stream, caller, &holder).await;
            });
        }
    }

    /// The host's own address may come up after the agent.
    async fn bind(&self) -> TcpListener {
        let mut told = false;
        loop {
            match TcpListener::bind(self.setup.listen).await {
                Ok(port) => return port,
                Err(error) if !told => {
                    told = true;
                    tracing::error!(
                        "Can't listen on {} (ip and agent_port of host {}): {error}. Trying again each second",
                        self.setup.listen,
                        self.setup.host
                    );
                }
                Err(_) => {}
            }
            sleep(BIND_AGAIN).await;
        }
    }

    async fn answer(&self, stream: TcpStream, caller: SocketAddr, holder: &Arc<Holder>) {
        if let Err(error) = mmm_net::guard(&stream, DEAD_AFTER) {
            tracing::debug!("Can't set the limits on the connection from {caller}: {error}");
        }
        let answering = Answering {
            host: self.setup.host.as_str(),
            caller: &caller.to_string(),
            secret: self.setup.secret.as_ref(),
            features: &Features::default(),
        };
        let judged = accept_caller(stream, &answering, HANDSHAKE_LIMIT, |peer| judge(peer, holder)).await;
        let session = match judged {
            Ok(session) => session,
            Err(error @ (HandshakeError::Closed { .. } | HandshakeError::Timeout { .. })) => {
                tracing::debug!("{error}");
                return;
            }
            Err(error) => {
                tracing::warn!("{error}");
                return;
            }
        };
        let name = session.peer.name.to_string();
        if !session.peer.authenticated {
            tracing::warn!(
                "The session with the {name} is not authenticated: anybody in this network could give orders. Set secret_file in mmm3.conf on all hosts"
            );
        }
        tracing::info!("Session with the {name} (version {}) begins", session.peer.program);
        let place = holder.take(session.peer.instance, &name);
        let why = serve(session, place, self.events.clone(), self.reports.clone()).await;
        tracing::warn!("Session with the {name} ended: {why}");
    }
}

/// Monitors only: what other agents may ask is not answered yet, and orders they may not give.
fn judge(peer: &PeerInfo, holder: &Holder) -> Result<(), Refusal> {
    match &peer.purpose {
        Purpose::Monitor => holder.judge(peer.instance),
        Purpose::Peer { .. } => {
            Err(Refusal::new(RefusalCode::UnknownPeer, "this agent takes calls from monitors only"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_agent_gets_no_session_in_which_it_could_give_orders() {
        let monitor = PeerInfo {
            name: "monitor at 10.0.0.9:4711".into(),
            program: "3.0.0".to_owned(),
            purpose: Purpose::Monitor,
            instance: 7,
            cluster: None,
            protocol: 2,
            features: Features::default(),
            authenticated: true,
        };
        let agent = PeerInfo { purpose: Purpose::Peer { host: "db2".to_owned() }, ..monitor.clone() };
        let holder = Holder::default();
        assert_eq!(judge(&monitor, &holder), Ok(()));
        assert_eq!(judge(&agent, &holder).unwrap_err().code, RefusalCode::UnknownPeer);
    }
}
