//! What must hold of every input from outside, whatever its bytes are: it is read or refused, nothing panics, and what
//! was read and is written again is read as the same.
//!
//! The functions are called by the tests here over the corpus in `fuzz/corpus`, and by cargo-fuzz (`make fuzz`) over whatever
//! it makes of it.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, clippy::expect_used, reason = "a panic is how a broken promise is told")]

mod configuration;
mod control;
mod frames;
mod handshake;
mod minds;
mod protocol1;

use std::future::Future;

pub use configuration::configuration;
pub use control::control;
pub use frames::frames;
pub use handshake::handshake;
pub use protocol1::protocol1;

/// A target with its name, which is that of its folder in the corpus.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("configuration", configuration),
    ("control", control),
    ("frames", frames),
    ("handshake", handshake),
    ("protocol1", protocol1),
];

/// Runs to its end what never waits for anything but bytes that are there already.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without threads or sockets needs nothing");
    runtime.block_on(future)
}
