//! The end of the connections to an address that is about to leave this host.
//!
//! Once the address has gone nothing can be sent from it any more, and a client whose connection was idle, or that
//! waits for an answer, would learn of that only when a limit of its own is over. So the kernel is made to reset the
//! connections while it still can.
//!
//! It leaves listeners alone and does not keep new connections out. A client that comes back at once would be faster
//! than the removal of the address; [`Addresses::stop_receiving`](crate::Addresses::stop_receiving) sees to that.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::connection_message::{Connection, ConnectionMessage, LocalAddress};
use crate::error::{Error, Operation, Result};
use crate::netlink_socket::NetlinkSocket;

/// How many connections one call ends.
pub const ENDED_AT_MOST: usize = 10_000;

const DEADLINE: Duration = Duration::from_secs(1);
const CAPABILITY: &str = "CAP_NET_ADMIN";

/// Ends the TCP connections, also those not yet fully made or not yet accepted by a program, whose address on this
/// host is `ip`: the other side gets a reset, programs here see an aborted connection. Returns how many; at
/// [`ENDED_AT_MOST`] there may be more. Where a deadline of one second passes, some have been ended.
///
/// To be called inside a tokio runtime, after [`Addresses::stop_receiving`](crate::Addresses::stop_receiving) and right
/// before [`Addresses::remove`](crate::Addresses::remove).
pub async fn end_connections(ip: IpAddr) -> Result<usize> {
    let operation = Operation::EndConnections { ip };
    let give_up_at = Instant::now() + DEADLINE;
    // Opened here, since a socket belongs to the network namespace of the thread that opens it.
    let netlink = NetlinkSocket::open_for(libc::NETLINK_SOCK_DIAG);
    let mut netlink = netlink.map_err(|source| failed(operation.clone(), source))?;
    let work = tokio::task::spawn_blocking(move || end(&mut netlink, ip, give_up_at));
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(Ok(Some(ended)))) => Ok(ended),
        Ok(Ok(Err(source))) => Err(failed(operation, source)),
        Ok(Err(panicked)) => Err(Error::Refused { operation, source: io::Error::other(panicked) }),
        Ok(Ok(Ok(None))) | Err(_) => Err(Error::TimedOut { operation, after: DEADLINE }),
    }
}

/// `None` when the time was up first, which also keeps it from going on when nobody waits for it any more.
fn end(netlink: &mut NetlinkSocket, ip: IpAddr, give_up_at: Instant) -> io::Result<Option<usize>> {
    // All are found before the first is ended, so that clients that come back at once are not ended again and again.
    let mut connections = Vec::new();
    for address in LocalAddress::forms_of(ip) {
        connections.extend(find(netlink, &address)?);
    }
    connections.truncate(ENDED_AT_MOST);
    let mut ended = 0;
    for connection in connections {
        if Instant::now() >= give_up_at {
            return Ok(None);
        }
        match netlink.change(ConnectionMessage::End(connection), 0) {
            Ok(()) => ended += 1,
            // It has ended by itself meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(ended))
}

fn find(netlink: &mut NetlinkSocket, address: &LocalAddress) -> io::Result<Vec<Connection>> {
    let found = netlink.dump(&ConnectionMessage::List(address.clone()))?;
    let connections = found.into_iter().filter_map(|message| match message {
        // The kernel has filtered them; ending a connection of somebody else would be too bad to rely on that.
        ConnectionMessage::Found(connection) if connection.is_at(address) => Some(connection),
        _ => None,
    });
    Ok(connections.collect())
}

fn failed(operation: Operation, source: io::Error) -> Error {
    match source.raw_os_error() {
        // The last two come from a kernel that cannot even list connections.
        Some(libc::EOPNOTSUPP | libc::ENOENT | libc::EPROTONOSUPPORT) => {
            Error::CannotEndConnections { operation, source }
        }
        _ => Error::from_io(operation, CAPABILITY, source),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_kernel_that_cannot_do_it_is_told_apart_from_one_that_will_not() {
        let operation = || Operation::EndConnections { ip: "10.0.0.1".parse().unwrap() };
        let outcome = |code| failed(operation(), io::Error::from_raw_os_error(code));
        for code in [libc::EOPNOTSUPP, libc::ENOENT, libc::EPROTONOSUPPORT] {
            let error = outcome(code);
            assert!(matches!(error, Error::CannotEndConnections { .. }), "{error}");
            assert!(error.to_string().contains("CONFIG_INET_DIAG_DESTROY"), "{error}");
        }
        assert!(matches!(outcome(libc::EPERM), Error::NotPermitted { .. }));
        assert!(matches!(outcome(libc::EINVAL), Error::Refused { .. }));
    }

    #[test]
    fn when_its_time_is_up_it_leaves_the_rest_alone() {
        let listener = TcpListener::bind("127.77.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let mut netlink = NetlinkSocket::open_for(libc::NETLINK_SOCK_DIAG).unwrap();
        assert_eq!(end(&mut netlink, address.ip(), Instant::now()).unwrap(), None);
        accepted.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}
