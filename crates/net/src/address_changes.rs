//! Notice of every change to addresses and links of this host, whoever made it (our own changes too).
//!
//! It does not say what changed: whoever is told lists the addresses and compares. That makes it immune to lost
//! messages, and lets any number of changes become one.

use std::io::{self, Read};
use std::time::Duration;

use socket2::Socket;

use crate::netlink_socket::open_netlink;
use crate::ready_fd::ReadyFd;

/// Links, IPv4 addresses and IPv6 addresses, as bits of `nl_groups`.
const GROUPS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32;
/// So that a storm of changes cannot keep one call busy for ever.
const READS_AT_ONCE: usize = 1024;
const REOPEN_AFTER_MIN: Duration = Duration::from_millis(100);
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(2);

/// Made by [`Addresses::open`](crate::Addresses::open).
#[derive(Debug)]
pub struct AddressChanges {
    /// `None` while a broken socket waits to be replaced.
    socket: Option<ReadyFd<Socket>>,
    reopen_after: Duration,
}

impl AddressChanges {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: Some(open_socket()?), reopen_after: REOPEN_AFTER_MIN })
    }

    /// Returns when something has changed since the last return, or may have: changes that the kernel had no room
    /// to tell, or a lost socket, count as one. Cancelling it loses nothing.
    pub async fn changed(&mut self) {
        loop {
            let Some(socket) = &self.socket else {
                if self.reopen().await {
                    return;
                }
                continue;
            };
            match next_change(socket).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!("the watch on address changes broke and is opened again: {error}");
                    self.socket = None;
                }
            }
        }
    }

    /// Says whether there is a socket again. What changed meanwhile is unknown, which is a change.
    async fn reopen(&mut self) -> bool {
        match open_socket() {
            Ok(socket) => {
                self.socket = Some(socket);
                self.reopen_after = REOPEN_AFTER_MIN;
                true
            }
            Err(error) => {
                tracing::warn!("the watch on address changes cannot be opened: {error}");
                tokio::time::sleep(self.reopen_after).await;
                self.reopen_after = (self.reopen_after * 2).min(REOPEN_AFTER_MAX);
                false
            }
        }
    }
}

fn open_socket() -> io::Result<ReadyFd<Socket>> {
    let socket = open_netlink(GROUPS)?;
    socket.set_nonblocking(true)?;
    ReadyFd::new(socket)
}

async fn next_change(socket: &ReadyFd<Socket>) -> io::Result<()> {
    loop {
        let mut ready = socket.readable().await?;
        if let Ok(told) = ready.try_io(|inner| drain(inner.get_ref())) {
            return told;
        }
    }
}

/// Reads what there is and throws it away; `WouldBlock` when there was nothing.
fn drain(socket: &Socket) -> io::Result<()> {
    let mut told = false;
    // Only the fact of a message counts, so the rest of it may be cut off.
    let mut scrap = [0; 16];
    for _ in 0..READS_AT_ONCE {
        let mut reader = socket;
        match reader.read(&mut scrap) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => told = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The kernel had to drop messages. The socket is sound, and what is known is that something changed.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => told = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && told => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lost_socket_counts_as_a_change_and_is_replaced() {
        let mut changes = AddressChanges { socket: None, reopen_after: REOPEN_AFTER_MIN };
        changes.changed().await;
        assert!(changes.socket.is_some());
    }
}
