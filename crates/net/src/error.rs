//! The one error type of this crate: which operation failed, on which interface and address, and what to do.
//!
//! It does not log and does not decide whether a failure matters; whoever asked for the operation does.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

pub type Result<T> = std::result::Result<T, Error>;

/// What was being done when an error happened, with its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    OpenNetlink,
    ListAddresses,
    AddAddress { interface: String, ip: IpAddr },
    RemoveAddress { interface: String, ip: IpAddr },
    HoldAddresses { interface: String },
    StopReceiving { interface: String, ip: IpAddr },
    Announce { interface: String, ip: IpAddr },
    Ping { ip: IpAddr },
    Refuse { interface: String, ip: IpAddr },
    EndConnections { ip: IpAddr },
    AskWhoHas { interface: String, ip: IpAddr },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenNetlink => write!(f, "opening a netlink socket"),
            Self::ListAddresses => write!(f, "listing the addresses of this host"),
            Self::AddAddress { interface, ip } => write!(f, "adding {ip} to interface {interface}"),
            Self::RemoveAddress { interface, ip } => write!(f, "removing {ip} from interface {interface}"),
            Self::HoldAddresses { interface } => {
                write!(f, "setting how long addresses stay on interface {interface}")
            }
            Self::StopReceiving { interface, ip } => {
                write!(f, "stopping {ip} on interface {interface} from receiving")
            }
            Self::Announce { interface, ip } => write!(f, "announcing {ip} on interface {interface}"),
            Self::Ping { ip } => write!(f, "pinging {ip}"),
            Self::Refuse { interface, ip } => {
                write!(f, "getting ready to refuse TCP segments to {ip} on interface {interface}")
            }
            Self::EndConnections { ip } => write!(f, "ending the TCP connections to {ip}"),
            Self::AskWhoHas { interface, ip } => write!(f, "asking on interface {interface} who has {ip}"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "{operation} failed: this host has no interface {interface}; it has: {existing}\n\
         hint: correct cluster_interface for this host, or create the interface"
    )]
    NoSuchInterface { operation: Operation, interface: String, existing: String },

    #[error(
        "{operation} failed: not permitted\n\
         hint: run as root or with the capability {capability} in the host's own network namespace"
    )]
    NotPermitted {
        operation: Operation,
        capability: &'static str,
        #[source]
        source: io::Error,
    },

    /// The kernel may still carry the operation out: what it came to is known only after `list`.
    #[error(
        "{operation} failed: the kernel did not answer within {} ms, and may still do it\n\
         hint: something holds a lock of this host's network, or the host is overloaded; look for hung tasks in the \
         kernel's log",
        .after.as_millis()
    )]
    TimedOut { operation: Operation, after: Duration },

    #[error(
        "{operation} failed: a lifetime of {} ms is below one second, the shortest the kernel keeps",
        .lifetime.as_millis()
    )]
    LifetimeTooShort { operation: Operation, lifetime: Duration },

    #[error(
        "{operation} failed: {ip} is not usable on this host\n\
         hint: an address is announced after it was added; somebody else may have removed it"
    )]
    AddressNotHere {
        operation: Operation,
        ip: IpAddr,
        #[source]
        source: io::Error,
    },

    #[error(
        "{operation} failed: interface {interface} is no Ethernet link, so it has no neighbours to tell about {ip}"
    )]
    NoNeighbours { operation: Operation, interface: String, ip: IpAddr },

    #[error(
        "{operation} failed: interface {interface} is down\n\
         hint: bring it up with: ip link set {interface} up"
    )]
    InterfaceDown {
        operation: Operation,
        interface: String,
        #[source]
        source: io::Error,
    },

    #[error(
        "{operation} failed: the kernel of this host cannot end the connections of other programs ({source})\n\
         hint: it needs CONFIG_INET_DIAG (where that is a module: modprobe tcp_diag) and CONFIG_INET_DIAG_DESTROY; \
         without them clients of an address that leaves this host wait until a limit of their own"
    )]
    CannotEndConnections {
        operation: Operation,
        #[source]
        source: io::Error,
    },

    #[error("{operation} failed: {source}")]
    Refused {
        operation: Operation,
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Gives a failed system call its operator's meaning.
    pub(crate) fn from_io(operation: Operation, capability: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted { operation, capability, source },
            _ => Self::Refused { operation, source },
        }
    }
}
