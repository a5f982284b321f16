//! What travels between the programs: the greeting and handshake of a session between monitor and agent or between two
//! agents, its frames, and the lines that `mmm_control` sends to the monitor.
//!
//! This crate knows how bytes become messages and who is allowed to send them. It does not know what a message means:
//! frames are generic over any type that serde can carry, and the words of a control line are split by
//! whoever answers them. A [`Transport`] makes connections, plain or TLS, before anything else is said. The text lines of 2.2.1's
//! programs are in [`protocol1`]; a first line that is not a greeting is told apart in [`FirstLine`], and every function takes any
//! stream.
#![forbid(unsafe_code)]

mod accept;
mod connection;
mod control_decoder;
mod deadline;
mod excerpt;
mod features;
mod frame_error;
mod frame_reader;
mod frame_writer;
mod greet;
mod greeting;
mod handshake_error;
mod hex_bytes;
mod messages;
mod proof;
pub mod protocol1;
mod purpose;
mod secret;
mod session;
mod tls;

pub use accept::{Accepted, Answering, accept_caller};
pub use connection::Connection;
pub use control_decoder::{CONTROL_LINE_BYTES_MAX, ControlDecoder, ControlEvent, LINE_TOO_LONG_ANSWER};
pub use features::Features;
pub use frame_error::FrameError;
pub use frame_reader::FrameReader;
pub use frame_writer::{FrameWriter, WRITE_LIMIT};
pub use greet::{Calling, fresh_instance, greet_agent};
pub use greeting::{FirstLine, GREETING_BYTES_MAX, Greeting, GreetingError};
pub use handshake_error::HandshakeError;
pub use hex_bytes::{HexBytes, Nonce, NotHex, Proof};
pub use messages::{Refusal, RefusalCode};
pub use purpose::{PEER_HOST_BYTES_MAX, Purpose};
pub use secret::{SECRET_BYTES_MIN, Secret, SecretError};
pub use session::{PROTOCOL_MAX, PROTOCOL_MIN, PeerInfo, Session};
pub use tls::{TLS_ONLY_ANSWER, Tls, TlsFileError, TlsFiles, Transport, TransportError};

/// Greatest length of the JSON in one frame. A greater announced length is refused before anything is allocated.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
