//! The caller's side of the handshake: a monitor's, or an agent's that calls another one.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split};

use crate::deadline::Deadline;
use crate::excerpt::excerpt;
use crate::messages::{AgentOpening, AgentVerdict, Auth, Hello, MonitorOpening};
use crate::proof::{agent_proof_is_right, caller_proof};
use crate::session::PROGRAM;
use crate::{
    FRAME_BYTES_MAX, Features, FrameReader, FrameWriter, GREETING_BYTES_MAX, Greeting, HandshakeError, Nonce,
    PROTOCOL_MAX, PROTOCOL_MIN, PeerInfo, Purpose, Refusal, RefusalCode, Secret, Session, TLS_ONLY_ANSWER,
};

/// A frame of the handshake may be no longer than this: the peer is not known yet.
pub(crate) const HANDSHAKE_FRAME_BYTES_MAX: usize = 4096;

/// What the caller brings to a call.
#[derive(Debug, Clone)]
pub struct Calling<'a> {
    /// The host whose agent is meant.
    pub host: &'a str,
    /// Where it is called, for messages: `10.0.0.1:9989`.
    pub address: &'a str,
    pub secret: Option<&'a Secret>,
    pub purpose: Purpose,
    /// The caller's random start number, see [`fresh_instance`].
    pub instance: u64,
    pub cluster: Option<&'a str>,
    pub features: &'a Features,
}

/// A random start number for a program: agents tell two monitors apart by it.
pub fn fresh_instance() -> Result<u64, getrandom::Error> {
    getrandom::u64()
}

/// Opens a session with an agent over a fresh connection; the whole handshake takes `limit` at most.
pub async fn greet_agent<S: AsyncRead + AsyncWrite>(
    stream: S,
    calling: &Calling<'_>,
    limit: Duration,
) -> Result<Session<S>, HandshakeError> {
    let peer: Arc<str> = format!("agent of {} at {}", calling.host, calling.address).into();
    let (read_half, write_half) = split(stream);
    let mut call = Call {
        calling,
        deadline: Deadline::new(peer.clone(), limit),
        reader: FrameReader::new(read_half, peer.clone()),
        writer: FrameWriter::new(write_half, peer.clone()),
        peer,
    };
    call.reader.limit_frames(HANDSHAKE_FRAME_BYTES_MAX);
    call.writer.set_limit(limit);
    let info = call.run().await?;
    call.reader.limit_frames(FRAME_BYTES_MAX);
    call.writer.set_limit(crate::WRITE_LIMIT);
    Ok(Session { reader: call.reader, writer: call.writer, peer: info })
}

struct Call<'a, S> {
    calling: &'a Calling<'a>,
    deadline: Deadline,
    reader: FrameReader<ReadHalf<S>>,
    writer: FrameWriter<WriteHalf<S>>,
    peer: Arc<str>,
}

impl<S: AsyncRead + AsyncWrite> Call<'_, S> {
    async fn run(&mut self) -> Result<PeerInfo, HandshakeError> {
        let greeting = Greeting {
            host: self.calling.host.to_owned(),
            version: PROTOCOL_MAX,
            features: self.calling.features.clone(),
            nonce: Nonce::random()?,
        };
        let line = greeting.line();
        self.deadline.step("being greeted", self.writer.send_bytes(line.as_bytes())).await?;
        let hello = self.hello().await?;
        self.judge(&greeting, &hello).await?;
        let mut auth = Auth {
            instance: self.calling.instance,
            cluster: self.calling.cluster.map(str::to_owned),
            program: PROGRAM.to_owned(),
            proof: None,
            purpose: self.calling.purpose.clone(),
        };
        auth.proof = self.calling.secret.map(|secret| caller_proof(secret, &greeting, &hello, &auth));
        let opening = MonitorOpening::Auth(auth);
        self.deadline.step("taking our proof", self.writer.send(&opening)).await?;
        match self.deadline.message("judging our proof", self.reader.next()).await? {
            AgentVerdict::Welcome {} => Ok(PeerInfo {
                name: self.peer.clone(),
                program: hello.program,
                purpose: self.calling.purpose.clone(),
                instance: self.calling.instance,
                cluster: self.calling.cluster.map(str::to_owned),
                protocol: hello.version,
                features: hello.features.common(self.calling.features),
                authenticated: self.calling.secret.is_some(),
            }),
            AgentVerdict::Refused(refusal) => {
                Err(HandshakeError::Refused { peer: self.peer.clone(), refusal })
            }
        }
    }

    /// The agent's first frame, unless what answers is no agent of this protocol: the length of a frame that may be read
    /// never looks like a letter, so text is recognised by its first byte.
    async fn hello(&mut self) -> Result<Hello, HandshakeError> {
        const STEP: &str = "answering the greeting";
        let first = self.deadline.step(STEP, self.reader.peek(4)).await?;
        if first.first().is_some_and(|byte| *byte != 0) {
            let line = self.deadline.step(STEP, self.reader.line(GREETING_BYTES_MAX)).await?;
            let line = line.map_or_else(|| b"a line without an end".to_vec(), |line| line.bytes);
            let answer = excerpt(String::from_utf8_lossy(&line).trim_end());
            let peer = self.peer.clone();
            return Err(if line.starts_with(TLS_ONLY_ANSWER.as_bytes()) {
                HandshakeError::TlsOnly { peer }
            } else if line.starts_with(b"ERROR:") {
                HandshakeError::OldAgent { peer, answer }
            } else {
                HandshakeError::NotAnAgent { peer, answer }
            });
        }
        match self.deadline.message(STEP, self.reader.next()).await? {
            AgentOpening::Hello(hello) => Ok(hello),
            AgentOpening::Refused(refusal) => {
                Err(HandshakeError::Refused { peer: self.peer.clone(), refusal })
            }
        }
    }

    async fn judge(&mut self, greeting: &Greeting, hello: &Hello) -> Result<(), HandshakeError> {
        let peer = self.peer.clone();
        if hello.host != greeting.host {
            let (wanted, answered) = (greeting.host.clone(), excerpt(&hello.host));
            return Err(HandshakeError::WrongHost { peer, wanted, answered });
        }
        if !(PROTOCOL_MIN..=PROTOCOL_MAX).contains(&hello.version) {
            return Err(HandshakeError::Protocol { peer, chosen: hello.version });
        }
        let Some(secret) = self.calling.secret else { return Ok(()) };
        if agent_proof_is_right(secret, greeting, hello) {
            return Ok(());
        }
        // The agent has not been told yet who calls, so the reason says it.
        let caller = match &self.calling.purpose {
            Purpose::Monitor => "the monitor".to_owned(),
            Purpose::Peer { host } => format!("the agent of {host}"),
        };
        let (error, reason) = match hello.proof {
            None => {
                (HandshakeError::NoSecret { peer }, format!("{caller} has a secret and this agent has none"))
            }
            Some(_) => (HandshakeError::WrongSecret { peer }, format!("{caller}'s secret is another one")),
        };
        let refusal = MonitorOpening::Refused(Refusal::new(RefusalCode::Unauthenticated, reason));
        // The agent is told so that its own log names the reason; whether it listens changes nothing here.
        let _ = self.deadline.step("being refused", self.writer.send(&refusal)).await;
        Err(error)
    }
}
