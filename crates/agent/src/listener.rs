//! The agent's port: many may knock, one monitor gets a session, the agents of the other hosts may ask, and a monitor of
//! 2.2.1 is answered line by line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mmm_core::HostName;
use mmm_daemon::Seldom;
use mmm_wire::{
    Accepted, Answering, Connection, Features, HandshakeError, PeerInfo, Purpose, Refusal, Session,
    accept_caller,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use crate::holder::Holder;
use crate::line_port::LinePort;
use crate::peer_port::PeerPort;
use crate::session::{DEAD_AFTER, Desk, serve};
use crate::setup::Setup;

/// Connections that have not proven themselves; more are closed at once.
const KNOCKING_MAX: usize = 1000;
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
const BIND_AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct Listener {
    pub(crate) setup: watch::Receiver<Arc<Setup>>,
    pub(crate) holder: Arc<Holder>,
    pub(crate) peers: PeerPort,
    pub(crate) lines: LinePort,
    pub(crate) desk: Desk,
    pub(crate) refusals: Seldom,
}

/// What a caller was let in for.
enum Admitted {
    Monitor,
    /// The place is free again when it ends.
    Peer(HostName, OwnedSemaphorePermit),
}

impl Listener {
    pub(crate) async fn run(self) {
        let port = self.bind().await;
        let knocking = Arc::new(Semaphore::new(KNOCKING_MAX));
        let this = Arc::new(self);
        loop {
            let (stream, caller) = match port.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    let listen = this.setup.borrow().listen;
                    tracing::warn!("Can't accept a connection on {listen}: {error}");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&knocking).try_acquire_owned() else {
                tracing::debug!("Closing the connection from {caller}: {KNOCKING_MAX} others wait already");
                continue;
            };
            let this = Arc::clone(&this);
            tokio::spawn(async move {
                let _permit = permit;
                this.answer(stream, caller).await;
            });
        }
    }

    /// The host's own address may come up after the agent.
    async fn bind(&self) -> TcpListener {
        let mut told = false;
        // Neither changes while the agent runs.
        let (listen, host) = {
            let setup = self.setup.borrow();
            (setup.listen, setup.host.clone())
        };
        loop {
            match TcpListener::bind(listen).await {
                Ok(port) => return port,
                Err(error) if !told => {
                    told = true;
                    tracing::error!(
                        "Can't listen on {listen} (ip and agent_port of host {host}): {error}. Trying again each second"
                    );
                }
                Err(_) => {}
            }
            sleep(BIND_AGAIN).await;
        }
    }

    async fn answer(&self, stream: TcpStream, caller: SocketAddr) {
        if let Err(error) = mmm_net::guard(&stream, DEAD_AFTER) {
            tracing::debug!("Can't set the limits on the connection from {caller}: {error}");
        }
        let setup = Arc::clone(&self.setup.borrow());
        self.peers.follow(setup.peers.keys());
        let connecting =
            setup.transport.accept(stream, &format!("caller at {caller}"), HANDSHAKE_LIMIT).await;
        let stream = match connecting {
            Ok(stream) => stream,
            Err(error) => {
                let text = error.to_string();
                if error.is_silence() || !self.refusals.tell(caller.ip(), &text) {
                    tracing::debug!("{text}");
                } else {
                    tracing::warn!("{text}");
                }
                return;
            }
        };
        let answering = Answering {
            host: setup.host.as_str(),
            caller: &caller.to_string(),
            secret: setup.secret.as_ref(),
            features: &Features::of([mmm_core::DOCTOR]),
        };
        let mut admitted = None;
        let judged = accept_caller(stream, &answering, HANDSHAKE_LIMIT, |peer| {
            admitted = Some(judge(peer, &self.holder, &self.peers)?);
            Ok(())
        })
        .await;
        match (judged, admitted) {
            (Ok(Accepted::Session(session)), Some(Admitted::Monitor)) => self.serve_monitor(session).await,
            (Ok(Accepted::Session(session)), Some(Admitted::Peer(host, _place))) => {
                let known = setup.peers.get(&host).is_some_and(|address| address.ip() == caller.ip());
                let at_home = known || session.peer.authenticated || setup.transport.is_authenticated();
                let why = Box::pin(self.peers.serve(session, &host, at_home)).await;
                tracing::debug!("The connection from the agent of '{host}' ended: {why}");
            }
            (Ok(Accepted::Lines(lines)), _) => {
                let why = self.lines.serve(lines).await;
                tracing::debug!("The connection from {caller}, over which lines came, ended: {why}");
            }
            // Nobody is welcomed without having been judged.
            (Ok(Accepted::Session(_)), None) => {}
            (Err(error @ (HandshakeError::Closed { .. } | HandshakeError::Timeout { .. })), _) => {
                tracing::debug!("{error}");
            }
            (Err(error), _) => tracing::warn!("{error}"),
        }
    }

    async fn serve_monitor(&self, session: Session<Connection>) {
        let name = session.peer.name.to_string();
        if !session.peer.authenticated && !self.setup.borrow().transport.is_authenticated() {
            tracing::warn!(
                "The session with the {name} is not authenticated: anybody in this network could give orders. Set secret_file in mmm3.conf, or <socket> with type ssl, on all hosts"
            );
        }
        tracing::info!("Session with the {name} (version {}) begins", session.peer.program);
        let place = self.holder.take(session.peer.instance, &name);
        let why = serve(session, place, self.desk.clone()).await;
        tracing::warn!("Session with the {name} ended: {why}");
    }
}

/// Monitors get a session; agents of other hosts may ask, and give no orders.
fn judge(peer: &PeerInfo, holder: &Holder, peers: &PeerPort) -> Result<Admitted, Refusal> {
    match &peer.purpose {
        Purpose::Monitor => holder.judge(peer.instance).map(|()| Admitted::Monitor),
        Purpose::Peer { host } => {
            peers.judge(host).map(|place| Admitted::Peer(HostName::from(host.as_str()), place))
        }
    }
}

#[cfg(test)]
mod tests;
