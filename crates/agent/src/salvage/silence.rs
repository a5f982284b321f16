//! Whether a server that is stopping can still tell anybody that a transaction is committed.
//!
//! Stopping in order may take long, since a server waits for threads that have nobody to serve any more. What it has told
//! its clients was in its log before; so as soon as nobody is left whom it could tell, its log has all that matters.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// States of TCP connections, as the kernel counts them.
const ESTABLISHED: &str = "01";
const LISTENING: &str = "0A";
/// Of sockets of the file system.
const CONNECTED: &str = "03";
/// `__SO_ACCEPTCON`
const ACCEPTS: &str = "00010000";

/// Whether the process takes no connections and has none that anybody is at the other end of. Connections of this very agent ask
/// for nothing any more. Where it can't be seen, somebody is there.
pub(super) fn is_alone(pid: u32) -> bool {
    let own = std::process::id();
    let (Some(its), Some(ours)) = (sockets_of(pid), sockets_of(own)) else { return false };
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let tables = ["tcp", "tcp6"].map(|name| read(name).unwrap_or_default());
    let Ok(unix) = read("unix") else { return false };
    let own_ends: BTreeSet<Ends> = tables
        .iter()
        .flat_map(|table| connections(table))
        .filter(|one| ours.contains(one.inode))
        .map(|one| one.ends())
        .collect();
    let heard = |one: &Tcp<'_>| match one.state {
        LISTENING => true,
        ESTABLISHED => !own_ends.contains(&one.ends().turned()),
        _ => false,
    };
    let by_network =
        tables.iter().flat_map(|table| connections(table)).any(|one| its.contains(one.inode) && heard(&one));
    let by_file = unix.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_open = words.get(5) == Some(&CONNECTED) || words.get(3) == Some(&ACCEPTS);
        is_open && words.get(6).is_some_and(|inode| its.contains(*inode))
    });
    !by_network && !by_file
}

/// The numbers of the sockets that a process has.
fn sockets_of(pid: u32) -> Option<BTreeSet<String>> {
    let files = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).ok()?;
    let targets = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    let inode = |target: std::path::PathBuf| {
        Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    Some(targets.filter_map(inode).collect())
}

/// One line of the kernel's table.
struct Tcp<'a> {
    here: &'a str,
    there: &'a str,
    state: &'a str,
    inode: &'a str,
}

/// Both ends of a connection, in the kernel's words for either version of IP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ends(String, String);

impl Ends {
    fn turned(self) -> Self {
        Self(self.1, self.0)
    }
}

impl Tcp<'_> {
    fn ends(&self) -> Ends {
        Ends(as_version_4(self.here), as_version_4(self.there))
    }
}

/// A server that listens by version 6 sees its version 4 clients that way.
fn as_version_4(address: &str) -> String {
    address.strip_prefix("0000000000000000FFFF0000").unwrap_or(address).to_owned()
}

fn connections(table: &str) -> impl Iterator<Item = Tcp<'_>> {
    table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(Tcp { here: words.get(1)?, there: words.get(2)?, state: words.get(3)?, inode: words.get(9)? })
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Ends with the test.
    struct Other(Child);

    impl Drop for Other {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn eventually(pid: u32, alone: bool) {
        let began = Instant::now();
        while is_alone(pid) != alone {
            assert!(began.elapsed() < Duration::from_secs(10), "never alone = {alone}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn with_socket(stdin: Stdio) -> Other {
        Other(
            Command::new("sleep")
                .arg("60")
                .stdin(stdin)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    #[test]
    fn a_process_without_connections_is_alone_and_one_that_listens_is_not() {
        eventually(with_socket(Stdio::null()).0.id(), true);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = with_socket(Stdio::from(std::os::fd::OwnedFd::from(listener)));
        eventually(other.0.id(), false);
        assert!(!is_alone(u32::MAX), "nobody knows");
    }

    #[test]
    fn a_connection_of_this_process_does_not_count_and_one_of_another_does() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut mine = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server_end = listener.accept().unwrap().0;
        let server = with_socket(Stdio::from(std::os::fd::OwnedFd::from(server_end)));
        eventually(server.0.id(), true);
        // The same connection with its other end elsewhere.
        let elsewhere = with_socket(Stdio::from(std::os::fd::OwnedFd::from(mine.try_clone().unwrap())));
        mine.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        assert!(mine.read(&mut [0]).is_err(), "it stands");
        drop(mine);
        eventually(server.0.id(), false);
        drop(elsewhere);
        eventually(server.0.id(), true);
    }
}
