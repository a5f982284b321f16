//! Who connects from this very host: a salvaged log is for the server here and for nobody else.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

/// Every connection of this network namespace; some thousand lines at most.
const CONNECTIONS: &str = "/proc/net/tcp";

/// The user by which the process runs.
pub(crate) fn user_of(pid: u32) -> Option<u32> {
    std::fs::metadata(format!("/proc/{pid}")).ok().map(|process| process.uid())
}

/// Whether the caller's end of a connection belongs to this user.
pub(crate) fn belongs_to(caller: SocketAddr, port: SocketAddr, user: u32) -> bool {
    std::fs::read_to_string(CONNECTIONS).is_ok_and(|table| user_in(&table, caller, port) == Some(user))
}

fn user_in(table: &str, caller: SocketAddr, port: SocketAddr) -> Option<u32> {
    let (from, to) = (written(caller)?, written(port)?);
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let ends = (words.next()?, words.next()?);
        (ends == (from.as_str(), to.as_str())).then(|| words.nth(4)?.parse().ok()).flatten()
    })
}

/// As the kernel writes it: the address as one number of this machine.
fn written(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_end_tells_whose_it_is() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(port).unwrap();
        let caller = stream.local_addr().unwrap();
        let me = user_of(std::process::id()).unwrap();
        assert!(belongs_to(caller, port, me));
        assert!(!belongs_to(caller, port, me + 1));
        assert!(!belongs_to(port, port, me));
    }
}
