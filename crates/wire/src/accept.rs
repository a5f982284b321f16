//! The agent's side of the handshake, and where lines of protocol 1 part from it.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split};

use crate::deadline::Deadline;
use crate::frame_reader::RawLine;
use crate::greet::HANDSHAKE_FRAME_BYTES_MAX;
use crate::messages::{AgentOpening, AgentVerdict, Auth, Hello, MonitorOpening};
use crate::proof::{agent_proof, caller_proof_is_right};
use crate::protocol1::{
    Answer as LineAnswer, LINE_BYTES_MAX, Line, LineConnection, LineReader, Reply, Uptime,
};
use crate::session::PROGRAM;
use crate::{
    FRAME_BYTES_MAX, Features, FirstLine, FrameReader, FrameWriter, GREETING_BYTES_MAX, Greeting,
    HandshakeError, Nonce, PROTOCOL_MAX, PROTOCOL_MIN, PeerInfo, Purpose, Refusal, RefusalCode, Secret,
    Session,
};

/// What the agent brings to a connection that it accepted.
#[derive(Debug, Clone, Copy)]
pub struct Answering<'a> {
    /// The name of its host.
    pub host: &'a str,
    /// Who called, for messages: the socket address of the peer.
    pub caller: &'a str,
    pub secret: Option<&'a Secret>,
    pub features: &'a Features,
}

/// What a caller turned out to be.
#[derive(Debug)]
pub enum Accepted<S> {
    Session(Session<S>),
    /// It does not greet but sends lines, as programs of 2.2.1 do; the first one was read. Nobody is authenticated by
    /// that, and nobody was asked to judge.
    Lines(LineConnection<S>),
}

/// Answers a connection to the agent's port; the whole handshake takes `limit` at most. `judge` is asked last, about a
/// monitor or another agent ([`PeerInfo::purpose`]) that is authenticated as far as secrets are set, and may refuse it,
/// for example because another monitor has a session.
pub async fn accept_caller<S: AsyncRead + AsyncWrite>(
    stream: S,
    answering: &Answering<'_>,
    limit: Duration,
    judge: impl FnOnce(&PeerInfo) -> Result<(), Refusal>,
) -> Result<Accepted<S>, HandshakeError> {
    // Until it says otherwise, who calls is a monitor.
    let peer: Arc<str> = Purpose::Monitor.caller_at(answering.caller).into();
    let (read_half, write_half) = split(stream);
    let mut answer = Answer {
        answering,
        deadline: Deadline::new(peer.clone(), limit),
        reader: FrameReader::new(read_half, peer.clone()),
        writer: FrameWriter::new(write_half, peer.clone()),
        peer,
    };
    answer.reader.limit_frames(HANDSHAKE_FRAME_BYTES_MAX);
    answer.writer.set_limit(limit);
    match answer.run(judge).await {
        Ok(Opened::Session(peer)) => {
            answer.reader.limit_frames(FRAME_BYTES_MAX);
            answer.writer.set_limit(crate::WRITE_LIMIT);
            Ok(Accepted::Session(Session { reader: answer.reader, writer: answer.writer, peer }))
        }
        Ok(Opened::Lines(first)) => {
            let Answer { reader, mut writer, .. } = answer;
            writer.set_limit(crate::WRITE_LIMIT);
            let (stream, read_already) = reader.into_parts();
            let reader = LineReader::resume(stream, read_already);
            Ok(Accepted::Lines(LineConnection::new(first, reader, writer, answering.caller)))
        }
        Err(error) => {
            let farewell = async {
                answer.writer.finish().await;
                Ok(())
            };
            let _ = answer.deadline.step("being left", farewell).await;
            Err(error)
        }
    }
}

/// What the handshake came to.
enum Opened {
    Session(PeerInfo),
    Lines(Line),
}

struct Answer<'a, S> {
    answering: &'a Answering<'a>,
    deadline: Deadline,
    reader: FrameReader<ReadHalf<S>>,
    writer: FrameWriter<WriteHalf<S>>,
    peer: Arc<str>,
}

impl<S: AsyncRead + AsyncWrite> Answer<'_, S> {
    async fn run(
        &mut self,
        judge: impl FnOnce(&PeerInfo) -> Result<(), Refusal>,
    ) -> Result<Opened, HandshakeError> {
        let greeting = match self.first_line().await? {
            Ok(greeting) => greeting,
            Err(line) => return Ok(Opened::Lines(line)),
        };
        let version = greeting.version.min(PROTOCOL_MAX);
        let mut hello = Hello {
            host: self.answering.host.to_owned(),
            version,
            features: self.answering.features.clone(),
            program: PROGRAM.to_owned(),
            nonce: Nonce::random()?,
            proof: None,
        };
        hello.proof = self.answering.secret.map(|secret| agent_proof(secret, &greeting, &hello));
        let opening = AgentOpening::Hello(hello.clone());
        self.deadline.step("taking our hello", self.writer.send(&opening)).await?;
        let auth = match self.deadline.message("proving itself", self.reader.next()).await? {
            MonitorOpening::Auth(auth) => auth,
            MonitorOpening::Refused(refusal) => {
                return Err(HandshakeError::Refused { peer: self.peer.clone(), refusal });
            }
        };
        self.name_caller(&auth.purpose);
        self.authenticate(&greeting, &hello, &auth).await?;
        if let Some(reason) = auth.purpose.fault() {
            return Err(self.decline(Refusal::new(RefusalCode::UnknownPeer, reason)).await);
        }
        let info = PeerInfo {
            name: self.peer.clone(),
            program: auth.program,
            purpose: auth.purpose,
            instance: auth.instance,
            cluster: auth.cluster,
            protocol: version,
            features: greeting.features.common(self.answering.features),
            authenticated: self.answering.secret.is_some(),
        };
        match judge(&info) {
            Ok(()) => {
                self.deadline.step("being welcomed", self.writer.send(&AgentVerdict::Welcome {})).await?;
                Ok(Opened::Session(info))
            }
            Err(refusal) => Err(self.decline(refusal).await),
        }
    }

    /// From here on messages call the caller what it says it is; nothing but messages depends on it before it is judged.
    fn name_caller(&mut self, purpose: &Purpose) {
        self.peer = purpose.caller_at(self.answering.caller).into();
        self.deadline.rename(self.peer.clone());
        self.reader.rename(self.peer.clone());
        self.writer.rename(self.peer.clone());
    }

    async fn decline(&mut self, refusal: Refusal) -> HandshakeError {
        self.tell(&AgentVerdict::Refused(refusal.clone())).await;
        HandshakeError::Declined { peer: self.peer.clone(), refusal }
    }

    /// Reads the first line: a greeting to this host, or a line that is none and is answered by others.
    async fn first_line(&mut self) -> Result<Result<Greeting, Line>, HandshakeError> {
        const STEP: &str = "saying who it is";
        let peer = self.peer.clone();
        let Some(RawLine { bytes, ended }) =
            self.deadline.step(STEP, self.reader.line(LINE_BYTES_MAX)).await?
        else {
            self.answer_line("The line is too long!".to_owned()).await;
            return Err(HandshakeError::LineTooLong { peer, limit: LINE_BYTES_MAX });
        };
        if bytes.is_empty() && !ended {
            return Err(HandshakeError::Closed { peer, step: STEP });
        }
        let greeting = match FirstLine::parse(&bytes) {
            FirstLine::Greeting(_) | FirstLine::Malformed(_) if bytes.len() >= GREETING_BYTES_MAX => {
                self.answer_line("The line is too long!".to_owned()).await;
                return Err(HandshakeError::LineTooLong { peer, limit: GREETING_BYTES_MAX });
            }
            FirstLine::Greeting(greeting) => greeting,
            FirstLine::Malformed(source) => {
                self.answer_line(format!("{source}!")).await;
                return Err(HandshakeError::Greeting { peer, source });
            }
            FirstLine::Other(text) => return Ok(Err(Line { text, ended })),
        };
        let refusal = if greeting.host != self.answering.host {
            let text = format!(
                "Invalid hostname in command ({})! My name is '{}'",
                greeting.host, self.answering.host
            );
            Refusal::new(RefusalCode::WrongHost, text)
        } else if greeting.version < PROTOCOL_MIN {
            let text =
                format!("protocol version {PROTOCOL_MIN} at least is needed, not {}", greeting.version);
            Refusal::new(RefusalCode::Protocol, text)
        } else {
            return Ok(Ok(greeting));
        };
        self.tell(&AgentOpening::Refused(refusal.clone())).await;
        Err(HandshakeError::Declined { peer, refusal })
    }

    async fn authenticate(
        &mut self,
        greeting: &Greeting,
        hello: &Hello,
        auth: &Auth,
    ) -> Result<(), HandshakeError> {
        let peer = self.peer.clone();
        let [caller_has_none, agent_has_none] = match auth.purpose {
            Purpose::Monitor => [
                "the agent has a secret and this monitor has none",
                "the monitor has a secret and this agent has none",
            ],
            Purpose::Peer { .. } => [
                "the agent that was called has a secret and the calling one has none",
                "the calling agent has a secret and the one that was called has none",
            ],
        };
        let (error, reason) = match (self.answering.secret, &auth.proof) {
            (None, None) => return Ok(()),
            (Some(secret), Some(_)) if caller_proof_is_right(secret, greeting, hello, auth) => return Ok(()),
            (Some(_), Some(_)) => (HandshakeError::WrongSecret { peer }, "the agent's secret is another one"),
            (Some(_), None) => (HandshakeError::NoSecret { peer }, caller_has_none),
            (None, Some(_)) => (HandshakeError::UnaskedProof { peer }, agent_has_none),
        };
        self.tell(&AgentVerdict::Refused(Refusal::new(RefusalCode::Unauthenticated, reason))).await;
        Err(error)
    }

    /// Sends a last message. The connection is over in any case, so it does not matter whether it arrives.
    async fn tell<T: serde::Serialize>(&mut self, message: &T) {
        let _ = self.deadline.step("being refused", self.writer.send(message)).await;
    }

    /// Answers in the manner of protocol 1, for the same reason without caring whether it arrives.
    async fn answer_line(&mut self, error: String) {
        let answer = LineAnswer { reply: Reply::Error(error), uptime: Uptime::of_host() };
        let line = answer.line();
        let _ = self.deadline.step("being answered", self.writer.send_bytes(line.as_bytes())).await;
    }
}
