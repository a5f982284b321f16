//! Refusing, for a while, the TCP segments that are still sent here for an address that has just left this host.
//!
//! Until its new holder has announced it, the neighbours send what is for the address to this host, where the kernel
//! drops it without a word: a client waits for its own time limit, or a second for its next attempt. Here it gets the
//! answer that a host with a closed port gives, at once.
//!
//! It does not take the address off and does not know whether it is here: on an address that this host has, it would
//! break what the host serves. It answers nothing but TCP, and sees segments before this host's packet filter does.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use socket2::{SockAddr, Socket};

use crate::error::{Error, Operation, Result};
use crate::interface::index_of;
use crate::link_socket::LinkSocket;
use crate::packet_filter::{Segments, packet_filter};
use crate::ready_fd::ReadyFd;
use crate::segment::{HEADERS_BYTES, Segment};
use crate::socket_address::{hardware_address, link_address, receive_from};

const CAPABILITY: &str = "CAP_NET_RAW";
/// So that a flood cannot keep the runtime from its other work.
const READS_AT_ONCE: usize = 64;
/// For some thousand requests for connections, which the kernel counts with all that they take up in its memory.
const BUFFER_BYTES: usize = 2 * 1024 * 1024;
/// When the allowance is spent.
const PAUSE: Duration = Duration::from_millis(10);

/// Refuses the segments for one address on one interface, once it is told to.
#[derive(Debug)]
pub struct Refuser {
    link: LinkSocket,
    interface: u32,
    ip: IpAddr,
}

impl Refuser {
    /// Gets ready, and answers nothing yet. To be called right before the address is taken off, since from now on the
    /// kernel keeps for us the segments that ask for a new connection, as many as fit into a socket.
    ///
    /// They are kept because nobody can tell at which of them the address had gone: a client that got no answer would
    /// repeat its own only after a second. All of them are refused in the end. One whose connection this host had
    /// still accepted does not heed that, for the refusal bears no sequence number of that connection.
    pub fn prepare(interface: &str, ip: IpAddr) -> Result<Self> {
        let operation = Operation::Refuse { interface: interface.to_owned(), ip };
        let refused = |source: io::Error| Error::from_io(operation.clone(), CAPABILITY, source);
        let link = LinkSocket::open().map_err(refused)?;
        let index = index_of(&*link, interface, &operation)?;
        link.set_nonblocking(true).map_err(refused)?;
        // Without the capability that this needs it stays at what suffices a host that is not very busy.
        let _left_as_it_is = sockopt::set_socket_recv_buffer_size_force(&*link, BUFFER_BYTES);
        link.attach_filter(&packet_filter(ip, Segments::AskingForConnection)).map_err(refused)?;
        // Only now, so that nothing gets in past the filter.
        link.bind(&link_address(index, ethertype(ip), [0; 6]).map_err(refused)?).map_err(refused)?;
        if hardware_address(link.local_addr().map_err(refused)?).is_none() {
            return Err(Error::NoNeighbours { operation, interface: interface.to_owned(), ip });
        }
        Ok(Self { link, interface: index, ip })
    }

    /// Refuses every segment that arrives from this call on, not from the first poll, for `duration`, and before them
    /// the requests for connections kept since [`prepare`](Self::prepare). To be called, inside a tokio runtime, at
    /// once after the address has left this host or has stopped receiving; to be dropped, which ends it, before the
    /// address comes back.
    #[must_use = "the refusal ends when the future is dropped"]
    pub fn refuse_for(self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        let ip = self.ip;
        let refusing = self.start();
        async move {
            let ended = match refusing {
                Ok(refusing) => tokio::time::timeout(duration, refusing.refuse()).await.unwrap_or(Ok(())),
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::warn!("segments to {ip}, which has left this host, are not refused: {error}");
            }
        }
    }

    fn start(self) -> io::Result<Refusing> {
        let Self { link, interface, ip } = self;
        link.attach_filter(&packet_filter(ip, Segments::All))?;
        // Not watched before, so that no segment woke us in vain.
        Ok(Refusing { link: ReadyFd::new(link)?, interface, ip })
    }
}

#[derive(Debug)]
struct Refusing {
    link: ReadyFd<LinkSocket>,
    interface: u32,
    ip: IpAddr,
}

impl Refusing {
    async fn refuse(&self) -> io::Result<()> {
        let mut allowance = Allowance::new(Instant::now());
        loop {
            let mut ready = self.link.readable().await?;
            for _ in 0..READS_AT_ONCE {
                while allowance.is_spent(Instant::now()) {
                    // What arrives meanwhile and does not fit into the socket is dropped by the kernel, at little cost.
                    tokio::time::sleep(PAUSE).await;
                }
                match ready.try_io(|inner| refuse_next(inner.get_ref(), self.interface, self.ip)) {
                    Ok(Ok(())) => allowance.spend(),
                    Ok(Err(error)) if is_passing(&error) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_would_block) => break,
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Receives one segment and answers it if it is to be answered.
fn refuse_next(link: &Socket, interface: u32, ip: IpAddr) -> io::Result<()> {
    let mut buffer = [0; HEADERS_BYTES as usize];
    let (length, from) = receive_from(link, &mut buffer)?;
    let segment =
        buffer.get(..length).and_then(Segment::parse).filter(|segment| segment.addresses.to() == ip);
    let Some(refusal) = segment.and_then(|segment| segment.refusal()) else { return Ok(()) };
    let Some(back) = sender(from, interface, ip)? else { return Ok(()) };
    // A refusal that cannot be sent is a lost packet like any other; the sender will try again.
    let _lost = link.send_to_with_flags(&refusal, &back, libc::MSG_DONTWAIT);
    Ok(())
}

/// Where the answer goes; `None` when the frame does not come from one host.
fn sender(from: SockAddr, interface: u32, ip: IpAddr) -> io::Result<Option<SockAddr>> {
    const GROUP: u8 = 0x01;
    hardware_address(from)
        .filter(|hardware| hardware[0] & GROUP == 0)
        .map(|hardware| link_address(interface, ethertype(ip), hardware))
        .transpose()
}

/// Errors after which the socket is as sound as before.
fn is_passing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted || error.raw_os_error() == Some(libc::ENETDOWN)
}

fn ethertype(ip: IpAddr) -> u16 {
    match ip {
        IpAddr::V4(_) => 0x0800,
        IpAddr::V6(_) => 0x86dd,
    }
}

/// How many segments may be looked at, and so answered: in any second 10,000 at most, and 1,000 of them in a row.
#[derive(Debug)]
struct Allowance {
    left: u32,
    counted_until: Instant,
}

impl Allowance {
    const IN_A_ROW: u32 = 1_000;
    const ONE_EVERY: Duration = Duration::from_nanos(1_000_000_000 / 9_000 + 1);

    fn new(now: Instant) -> Self {
        Self { left: Self::IN_A_ROW, counted_until: now }
    }

    fn is_spent(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.counted_until).as_nanos();
        let earned = u32::try_from(passed / Self::ONE_EVERY.as_nanos()).unwrap_or(u32::MAX);
        if earned >= Self::IN_A_ROW - self.left {
            *self = Self::new(now);
        } else {
            self.left += earned;
            // What is left of the time counts for the next one.
            self.counted_until += Self::ONE_EVERY * earned;
        }
        self.left == 0
    }

    fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_ten_thousand_answers_and_a_steady_flood_gets_most_of_them() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        // Idle at first: what is saved up then must not come on top of it.
        let mut answered_at = Vec::new();
        for tick in 900_000..3_000_000u32 {
            let now = start + Duration::from_micros(tick.into());
            if !allowance.is_spent(now) {
                allowance.spend();
                answered_at.push(tick);
            }
        }
        for (first, at) in answered_at.iter().enumerate() {
            let within = answered_at[first..].partition_point(|later| *later < at + 1_000_000);
            assert!(within <= 10_000, "{within} answers in the second after {at} µs");
        }
        assert!(answered_at.len() > 19_000, "{}", answered_at.len());
    }
}
