//! What a finished handshake gives to both sides.

use std::sync::Arc;

use tokio::io::{ReadHalf, WriteHalf};

use crate::{Features, FrameReader, FrameWriter, Purpose};

/// The oldest protocol version with frames; lines of protocol 1 are another matter.
pub const PROTOCOL_MIN: u32 = 2;

/// The newest protocol version this program speaks.
pub const PROTOCOL_MAX: u32 = 2;

/// The version of this program, told to the peer for its log.
pub(crate) const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// An open session: the two halves may be given to two tasks.
#[derive(Debug)]
pub struct Session<S> {
    pub reader: FrameReader<ReadHalf<S>>,
    pub writer: FrameWriter<WriteHalf<S>>,
    pub peer: PeerInfo,
}

/// Who is at the other end and what was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// How messages call the peer, such as `agent of db1 at 10.0.0.1:9989`.
    pub name: Arc<str>,
    /// The version of its program.
    pub program: String,
    /// What the session was opened for, whichever side asks.
    pub purpose: Purpose,
    /// The random start number of the caller: of the monitor, or of the agent that called.
    pub instance: u64,
    /// The caller's cluster, when it was started with one.
    pub cluster: Option<String>,
    /// The protocol version of this session.
    pub protocol: u32,
    /// What both sides can do.
    pub features: Features,
    /// Both sides proved that they know the same secret. When false, neither has one and the operator is to be warned.
    pub authenticated: bool,
}
