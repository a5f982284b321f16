//! Why two programs did not come to a session; every error names the peer and, where there is one, the remedy.

use std::sync::Arc;
use std::time::Duration;

use crate::{FrameError, GreetingError, Refusal};

/// A handshake failed. The connection is of no use afterwards.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("{peer} did not answer within {} s while {step}", limit.as_secs_f64())]
    Timeout { peer: Arc<str>, step: &'static str, limit: Duration },
    #[error("{peer} closed the connection while {step}")]
    Closed { peer: Arc<str>, step: &'static str },
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The caller reached an agent that speaks text lines only.
    #[error("{peer} does not speak protocol 2, it is probably a 2.2.1 agent (it answered: {answer})")]
    OldAgent { peer: Arc<str>, answer: String },
    /// The caller reached a port that speaks TLS.
    #[error("{peer} speaks TLS only, and <socket> has no type ssl here: give all hosts the same <socket>")]
    TlsOnly { peer: Arc<str> },
    /// The caller reached something else.
    #[error("{peer} is not an MMM agent (it answered: {answer}); check the host's ip and agent_port")]
    NotAnAgent { peer: Arc<str>, answer: String },
    #[error("{peer} sent a first line that does not end within {limit} bytes")]
    LineTooLong { peer: Arc<str>, limit: usize },
    #[error("{peer} sent a {source}")]
    Greeting { peer: Arc<str>, source: GreetingError },
    #[error(
        "{peer} says that it is the agent of '{answered}', not of '{wanted}'; check the host's ip and the agent's 'this'"
    )]
    WrongHost { peer: Arc<str>, wanted: String, answered: String },
    #[error("{peer} chose protocol version {chosen}, which was not offered")]
    Protocol { peer: Arc<str>, chosen: u32 },
    /// A secret is set here and the peer proved none.
    #[error(
        "{peer} is not authenticated: a secret is set here but not there; set the same secret_file on both sides"
    )]
    NoSecret { peer: Arc<str> },
    #[error("{peer} is not authenticated: its secret is another one; set the same secret_file on both sides")]
    WrongSecret { peer: Arc<str> },
    /// The peer proves a secret although none is set here; it would refuse this side if it were honest.
    #[error("{peer} has a secret and none is set here; set the same secret_file on both sides")]
    UnaskedProof { peer: Arc<str> },
    /// The peer refused the session.
    #[error("{peer} refused the session: {refusal}")]
    Refused { peer: Arc<str>, refusal: Refusal },
    /// This side refused the session for a reason of its own.
    #[error("the session with {peer} was refused: {refusal}")]
    Declined { peer: Arc<str>, refusal: Refusal },
    #[error("the kernel gave no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}
