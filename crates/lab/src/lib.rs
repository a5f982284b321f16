//! Whole clusters on one machine, for tests, the demo and the bench.
//!
//! A [`Lab`] is a named set of hosts. Each is a network, a mount and a UTS namespace, plugged into a bridge in a namespace of its own;
//! nothing leads from there to the machine's own interfaces. On the hosts run real `MariaDB` or `MySQL` servers, the product's daemons, and on a
//! client host a write probe whose record the [`Judge`] holds against what the servers have. Everything that is started is
//! recorded in the lab's directory, so that any later call, also after a crash, can use the lab or take it down.
//!
//! ```no_run
//! # fn main() -> mmm_lab::Result<()> {
//! use std::time::Duration;
//! use mmm_lab::{Judge, Lab, M1, M2, Program};
//!
//! let lab = Lab::for_test("killed_server").auto_set_online(1).up()?;
//! lab.expect_host(M1, "ONLINE", &["writer", "reader"], Duration::from_secs(30))?;
//! let probe = lab.start_probe()?;
//! let killed = lab.kill(M1, Program::Server)?;
//! probe.wait_write_by(13, killed, Duration::from_secs(5))?;
//! let judge = Judge::new(&lab, probe.stop()?);
//! assert!(judge.lost(M2)?.is_empty());
//! assert!(judge.takeover(killed, 13).is_some_and(|time| time < Duration::from_millis(500)));
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod address;
mod builder;
mod cleanup;
mod clients;
mod clock;
mod command;
mod control;
mod cuts;
mod disks;
mod error;
mod faults;
mod fetch;
mod files;
mod flavour;
mod holder;
mod host;
mod judge;
mod lab;
mod links;
mod moment;
mod network;
mod probe;
mod process;
mod programs;
mod record;
mod replication;
mod requirements;
mod second_monitor;
mod settings;
mod show;
mod sql;
mod state;
mod step;
mod target;
mod template;
mod usage;
mod wait;
mod writer;

pub use address::Address;
pub use builder::Builder;
pub use clients::{Books, ClientWorker, Clients, Deed, Done, Judgement, Load, Tolerance};
pub use command::Output;
pub use error::{LabError, Result};
pub use flavour::{Flavour, Software};
pub use host::{CLIENT, CLIENT2, GATEWAY, GATEWAY_IP, Host, HostKind, M1, M2, MON, Program, READERS, WRITER};
pub use judge::{HostVerdict, Judge, Verdict};
pub use lab::{Lab, base_dir};
pub use moment::Moment;
pub use network::{Cut, Manner};
pub use probe::Probe;
pub use process::{Life, ProcessId};
pub use record::{Attempt, Gap, Outcome, Record};
pub use replication::Replication;
pub use second_monitor::SecondMonitor;
pub use settings::ConfigFile;
pub use show::{Show, ShownHost};
pub use sql::Table;
pub use step::{Call, Doomed};
pub use target::Target;
pub use usage::Usage;
pub use wait::wait_for;
pub use writer::Writer;
