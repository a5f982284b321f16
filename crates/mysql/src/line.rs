//! The TCP socket below a session: noticing its end at once, and ending it for good.
//!
//! The client library owns its socket and shows no descriptor, so this module fetches a second descriptor of the same
//! socket (`pidfd_getfd` on our own process), chosen by the port that the server sees us on. Where a sandbox forbids
//! that, a session works without, and its owner has to poll with [`Session::check_alive`](crate::Session::check_alive).
//! Nothing is ever read from or written to the socket here.

use std::fs;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::RawFd;
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tokio::io::Interest;

use crate::address::Endpoint;

/// How long the kernel keeps a connection to a silent peer. Only a safety net against piling up sockets: the deadlines
/// of the calls notice silence much earlier.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// The second descriptor. Dropping it ends the connection itself, also for whoever else still holds a descriptor.
#[derive(Debug)]
pub(crate) struct Line {
    socket: TcpStream,
}

impl Line {
    /// Finds our socket to `endpoint` that has the given local port.
    pub(crate) fn find(endpoint: Endpoint, local_port: u16) -> io::Result<Self> {
        let own = pidfd_open(getpid(), PidfdFlags::empty())?;
        for entry in fs::read_dir("/proc/self/fd")? {
            let path = entry?.path();
            // Descriptors come and go while we look; one that is gone is not ours.
            let Ok(target) = fs::read_link(&path) else { continue };
            if !target.to_string_lossy().starts_with("socket:") {
                continue;
            }
            let number =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<RawFd>().ok());
            let Some(number) = number else { continue };
            let descriptor = match pidfd_getfd(&own, number, PidfdGetfdFlags::empty()) {
                Ok(descriptor) => descriptor,
                Err(rustix::io::Errno::BADF) => continue,
                Err(error) => return Err(error.into()),
            };
            if sockopt::socket_type(&descriptor) != Ok(rustix::net::SocketType::STREAM) {
                continue;
            }
            let socket = TcpStream::from(descriptor);
            let is_peer = socket.peer_addr().is_ok_and(|peer| peer == SocketAddr::from(endpoint));
            if is_peer && socket.local_addr().is_ok_and(|local| local.port() == local_port) {
                limit_silence(&socket)?;
                return Ok(Self { socket });
            }
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no descriptor of this process belongs to the connection",
        ))
    }

    pub(crate) fn watch(&self) -> io::Result<ClosedWatch> {
        let socket = tokio::net::TcpStream::from_std(self.socket.try_clone()?)?;
        Ok(ClosedWatch { socket })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Fails only on a connection that has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Both are needed: keepalive sees nothing while data is on the way, the user timeout nothing on an idle connection.
fn limit_silence(socket: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE_LIMIT / 4)?;
    sockopt::set_tcp_keepintvl(socket, SILENCE_LIMIT / 4)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    let millis = u32::try_from(SILENCE_LIMIT.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, millis)?;
    Ok(())
}

/// Tells when a session's connection has ended, without a query and without touching the session, so that one task can
/// wait here while another uses the session.
#[derive(Debug)]
pub struct ClosedWatch {
    socket: tokio::net::TcpStream,
}

impl ClosedWatch {
    /// Returns when the server or we closed the connection, or the network gave it up. Can be dropped and called again.
    pub async fn closed(&self) {
        loop {
            match self.socket.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {
                    // An answer for the session came in. Reporting "would block" waits for the next event instead of
                    // spinning until the session has read it.
                    let nothing: io::Result<()> =
                        self.socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
                    drop(nothing);
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}
