//! Limits after which a TCP connection to a dead peer ends with an error.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Makes `stream` fail about `dead_after` after its peer fell silent, whether or not data are on their way, and send
/// what is written at once.
///
/// Both kinds of limit are needed: keepalive sees only an idle connection, the user timeout only one with
/// unacknowledged data. Keepalive counts in seconds, so an idle connection needs two seconds at least.
pub fn guard(stream: &TcpStream, dead_after: Duration) -> io::Result<()> {
    if dead_after.as_millis() == 0 {
        // To the kernel this would mean "no limit".
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a peer cannot be called dead after no time at all",
        ));
    }
    let probes = u32::try_from(dead_after.as_secs().saturating_sub(1)).unwrap_or(u32::MAX).clamp(1, 100);
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new().with_time(PROBE_EVERY).with_interval(PROBE_EVERY).with_retries(probes),
    )?;
    socket.set_tcp_user_timeout(Some(dead_after))
}
