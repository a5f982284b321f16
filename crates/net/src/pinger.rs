//! Asking one host for an ICMP echo, again and again.
//!
//! It does not judge: how many missing answers make a host lost is for others.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::echo::{Echo, Framing};
use crate::error::{Error, Operation, Result};
use crate::ready_fd::ReadyFd;

/// Larger than any reply to what we send; what is longer is cut and does not match.
const RECEIVE_BYTES: usize = 512;

/// Pings one address. Its socket is kept from an answered ping to the next; after any other outcome the next ping has a
/// new one, so that no late reply, late error or outdated route of an earlier ping can count for a later one.
#[derive(Debug)]
pub struct Pinger {
    ip: IpAddr,
    echo: Echo,
    socket: Option<EchoSocket>,
}

impl Pinger {
    pub fn new(ip: IpAddr) -> Self {
        let random = RandomState::new();
        let [high, low, ..] = random.hash_one(0).to_ne_bytes();
        let echo = Echo {
            identifier: u16::from_ne_bytes([high, low]),
            sequence: 0,
            token: random.hash_one(1).to_ne_bytes(),
        };
        Self { ip, echo, socket: None }
    }

    /// Whether the host answered within `timeout`. No route, or a host that somebody reports as unreachable, is no answer; an error
    /// means that this host cannot ask. Must be called inside a tokio runtime.
    pub async fn ping(&mut self, timeout: Duration) -> Result<bool> {
        self.echo.sequence = self.echo.sequence.wrapping_add(1);
        // The socket is taken, and put back only after an answer, so that a cancelled ping drops it as well.
        let kept = self.socket.take();
        let socket = match self.send(kept) {
            Ok(socket) => socket,
            Err(error) => return self.verdict(error),
        };
        match tokio::time::timeout(timeout, socket.answer(&self.echo, self.ip)).await {
            Ok(Ok(())) => {
                self.socket = Some(socket);
                Ok(true)
            }
            Ok(Err(error)) => self.verdict(Failure::Sent(error)),
            Err(_) => Ok(false),
        }
    }

    fn send(&self, kept: Option<EchoSocket>) -> std::result::Result<EchoSocket, Failure> {
        let packet = self.echo.request(self.ip);
        if let Some(socket) = kept
            && socket.ready.get().send(&packet).is_ok()
        {
            return Ok(socket);
        }
        let (socket, framing) = open(self.ip).map_err(Failure::Opened)?;
        let address = SockAddr::from(SocketAddr::new(self.ip, 0));
        // Connected, so that the kernel hands over only what this host sends, and tells us of its being unreachable.
        socket.connect(&address).map_err(Failure::Sent)?;
        socket.send(&packet).map_err(Failure::Sent)?;
        let ready = ReadyFd::new(socket).map_err(Failure::Opened)?;
        Ok(EchoSocket { ready, framing })
    }

    fn verdict(&self, failure: Failure) -> Result<bool> {
        let source = match failure {
            Failure::Sent(error) if is_unreachable(&error) => return Ok(false),
            Failure::Sent(error) | Failure::Opened(error) => error,
        };
        Err(Error::from_io(Operation::Ping { ip: self.ip }, "CAP_NET_RAW", source))
    }
}

enum Failure {
    /// This host gave us no socket.
    Opened(io::Error),
    /// There was a socket, and the network, or a filter, refused the packet.
    Sent(io::Error),
}

#[derive(Debug)]
struct EchoSocket {
    ready: ReadyFd<Socket>,
    framing: Framing,
}

impl EchoSocket {
    async fn answer(&self, echo: &Echo, ip: IpAddr) -> io::Result<()> {
        let mut buffer = [0; RECEIVE_BYTES];
        loop {
            let mut ready = self.ready.readable().await?;
            let received = match ready.try_io(|inner| inner.get_ref().read(&mut buffer)) {
                Ok(received) => received?,
                Err(_would_block) => continue,
            };
            if echo.is_answered_by(&buffer[..received], ip, self.framing) {
                return Ok(());
            }
        }
    }
}

/// A raw socket works wherever it is permitted. The unprivileged kind depends on a setting that is closed by default
/// in every new network namespace, even to root, so it comes second.
fn open(ip: IpAddr) -> io::Result<(Socket, Framing)> {
    let (domain, protocol, raw_framing) = match ip {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, Framing::WithIpHeader),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, Framing::IcmpOnly),
    };
    let (socket, framing) = match Socket::new(domain, Type::RAW, Some(protocol)) {
        Ok(socket) => (socket, raw_framing),
        Err(refused) if matches!(refused.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => {
            let unprivileged = Socket::new(domain, Type::DGRAM, Some(protocol)).map_err(|_| refused)?;
            (unprivileged, Framing::KernelIdentifier)
        }
        Err(error) => return Err(error),
    };
    socket.set_nonblocking(true)?;
    Ok((socket, framing))
}

/// Errors that say "it cannot be reached from here", among them those of a local packet filter.
fn is_unreachable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ENETDOWN
                | libc::ENONET
                | libc::ECONNREFUSED
                | libc::EADDRNOTAVAIL
                | libc::ENOPROTOOPT
                | libc::EPROTO
                | libc::EPERM
                | libc::EACCES
        )
    )
}
