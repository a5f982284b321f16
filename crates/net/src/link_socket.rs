//! A link-layer socket that does not keep the runtime waiting when it is closed.
//!
//! The kernel makes whoever closes one wait until no processor can still be handing it a packet, for 6 ms on an idle
//! host and more on a busy one. Inside a tokio runtime another thread does that waiting.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Socket, Type};

use crate::ready_fd::OwnsDescriptor;

#[derive(Debug)]
pub(crate) struct LinkSocket {
    /// `None` only while it is dropped.
    socket: Option<Socket>,
}

impl LinkSocket {
    /// The socket takes and gives packets without their link-layer header, and receives nothing before it is bound to
    /// a protocol.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: Some(Socket::new(Domain::PACKET, Type::DGRAM, None)?) })
    }
}

impl Deref for LinkSocket {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        self.socket.as_ref().expect("the socket is there until this is dropped")
    }
}

impl AsRawFd for LinkSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.deref().as_raw_fd()
    }
}

impl OwnsDescriptor for LinkSocket {}

impl Drop for LinkSocket {
    fn drop(&mut self) {
        let socket = self.socket.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(socket));
        }
    }
}
