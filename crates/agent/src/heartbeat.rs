//! How the worker proves to its parent that it lives: a byte for each turn of the task that owns the mind, over a
//! socket that the worker finds in the place of its standard input.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// The worker's side. A parent that does not read, or none at all, is no reason to wait or to fail.
pub(crate) fn beat() {
    beat_on(io::stdin());
}

fn beat_on(parent: impl AsFd) {
    // A worker that was started by hand has something else for its input, to which nothing is sent.
    let _ = send(parent, b".", SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// Whether the parent that started this worker is still there: its side of the socket ends with it.
pub(crate) fn has_parent() -> bool {
    has_parent_on(io::stdin())
}

fn has_parent_on(parent: impl AsFd) -> bool {
    // Of a parent that lives nothing is there to be read, and what a worker that was started by hand has for its input is no socket.
    let said = recv(parent, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    !matches!(said, Ok((_, 0)) | Err(Errno::CONNRESET))
}

/// The parent's side.
#[derive(Debug)]
pub(crate) struct Pulse {
    stream: UnixStream,
}

impl Pulse {
    /// The second value is to become the standard input of the worker.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (stream, of_worker) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        Ok((Self { stream }, of_worker.into()))
    }

    /// Whether the worker has been heard of since the last call.
    pub(crate) fn was_felt(&mut self) -> bool {
        let mut beats = [0; 256];
        let mut felt = false;
        // The socket holds no more than some hundred beats; a worker that sends faster than this reads is not believed
        // to be able to keep the parent here for ever.
        for _ in 0..16 {
            match self.stream.read(&mut beats) {
                Ok(0) => break,
                Ok(_) => felt = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        felt
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_beat_is_felt_once_and_the_end_of_the_worker_is_none() {
        let (mut pulse, worker) = Pulse::pair().unwrap();
        assert!(!pulse.was_felt());
        beat_on(&worker);
        beat_on(&worker);
        assert!(pulse.was_felt());
        assert!(!pulse.was_felt());
        beat_on(&worker);
        drop(worker);
        assert!(pulse.was_felt(), "what it sent before its end counts");
        assert!(!pulse.was_felt());
    }

    #[test]
    fn a_worker_knows_that_its_parent_has_ended() {
        let (pulse, worker) = Pulse::pair().unwrap();
        assert!(has_parent_on(&worker));
        beat_on(&worker);
        drop(pulse);
        assert!(!has_parent_on(&worker));
        assert!(
            has_parent_on(File::open("/dev/null").unwrap()),
            "one that was started by hand has none to wait for"
        );
    }

    #[test]
    fn neither_a_parent_that_does_not_read_nor_the_lack_of_one_holds_the_worker_up() {
        let (mut pulse, worker) = Pulse::pair().unwrap();
        for _ in 0..100_000 {
            beat_on(&worker);
        }
        assert!(pulse.was_felt());
        drop(pulse);
        beat_on(&worker);
        beat_on(File::open("/dev/null").unwrap());
    }
}
