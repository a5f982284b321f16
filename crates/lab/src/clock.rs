//! Wall clocks that jump, for the daemons of one host, and its server where a lab wants that. Namespaces cannot shift the wall
//! clock, so programs are started with libfaketime, which adds an offset that it reads from a file each time. The clocks that count
//! time since the boot are left alone.

use std::path::Path;

use crate::error::{LabError, Result};
use crate::host::Program;
use crate::lab::Lab;
use crate::moment::Moment;

const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];
/// Beside the daemons' run directory, which they may empty; gone with a reboot, like a clock that is set anew.
const FILE: &str = "/run/clock-offset";

/// The library, if its package is installed.
fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|path| Path::new(path).is_file())
}

/// What stands before a program's command line so that its wall clock can be moved: a daemon sees it at once, a server within a second.
pub(crate) fn prefix(program: Program) -> Result<Vec<String>> {
    let library =
        library().ok_or(LabError::MissingPackage { program: "libfaketime", package: "faketime" })?;
    let mut words = vec!["env".to_owned(), format!("LD_PRELOAD={library}")];
    // A server asks for the time so often that looking up the offset each time would make it a slow one.
    let looked_up = match program {
        Program::Server => "FAKETIME_CACHE_DURATION=1",
        Program::Agent | Program::Monitor => "FAKETIME_NO_CACHE=1",
    };
    // Files keep their true times, and only the wall clock is moved.
    words.extend(
        [
            &format!("FAKETIME_TIMESTAMP_FILE={FILE}"),
            looked_up,
            "NO_FAKE_STAT=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "DONT_FAKE_MONOTONIC=1",
        ]
        .map(ToOwned::to_owned),
    );
    Ok(words)
}

impl Lab {
    /// Sets the wall clock of the host's daemons so many seconds ahead of the machine's (negative: behind), at once and also
    /// for those that are started later. Needs [`Builder::movable_clocks`](crate::Builder::movable_clocks), or
    /// [`Builder::movable_server_clocks`](crate::Builder::movable_server_clocks) for the server to see it too.
    pub fn set_clock(&self, host: &str, offset: i64) -> Result<Moment> {
        if !self.store.read()?.movable_clocks {
            return Err(LabError::Other(format!(
                "the clocks of lab `{}` cannot be moved: it was not made with movable_clocks()",
                self.name
            )));
        }
        let at = Moment::now();
        let new = format!("{FILE}.new");
        self.write_file(host, &new, format!("{offset:+}\n").as_bytes())?;
        // Replaced as a whole: a daemon that read half of it would see a third time.
        let output = self.exec(host, &["mv", &new, FILE])?;
        if output.success() {
            return Ok(at);
        }
        Err(LabError::Other(format!("the clock of {host} was not set: {output}")))
    }
}
