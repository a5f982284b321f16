//! What the daemons need from the kernel: addresses on interfaces, their announcement to the neighbours, ICMP
//! echo, handles on processes, limits on dead TCP peers, the refusal of what is sent to an address that left, the end
//! of connections to one that is about to leave, and the identity of this boot.
//!
//! This crate decides nothing. It carries out what it is told, says what is there, and tells the operator what was
//! refused and why. It is the only crate of the workspace in which `unsafe` is allowed: each module that needs it
//! says so, and each block says why it is sound.
//!
//! Sockets belong to the network namespace of the thread that opened them, for ever.

mod address_changes;
mod addresses;
mod announce;
mod arp_probe;
mod boot;
mod checksum;
mod connection_message;
mod connections;
mod echo;
mod error;
mod guard;
mod interface;
mod link_socket;
mod links;
mod netlink_socket;
mod packet_filter;
mod pinger;
mod process;
mod ready_fd;
mod refuser;
mod segment;
mod socket_address;

pub use address_changes::AddressChanges;
pub use addresses::{Addresses, Held, HeldAddress, OWNERSHIP_MARK};
pub use announce::{ANNOUNCE_SCHEDULE, announce};
pub use arp_probe::who_has;
pub use boot::{boot_id, uptime, wall_minus_boot};
pub use connections::{ENDED_AT_MOST, end_connections};
pub use error::{Error, Operation, Result};
pub use guard::guard;
pub use links::{Link, links};
pub use pinger::Pinger;
pub use process::{ProcessHandle, process_name};
pub use refuser::Refuser;
