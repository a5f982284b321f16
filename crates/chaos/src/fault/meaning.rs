//! What a fault means to those who look on, and what it may cost.

use mmm_lab::{CLIENT, MON, Program};

use super::Fault;

impl Fault {
    /// Clients may be unable to reach a writer that is well, or be stuck on the way to one that is lost.
    pub(crate) fn blinds_clients(self) -> bool {
        match self {
            Self::Isolate(host) | Self::Unplug(host) => host != MON,
            Self::Cut(_, CLIENT)
            | Self::CutOneWay(_, CLIENT)
            | Self::CutOneWay(CLIENT, _)
            // The server waits, and so do clients, long before anybody can know.
            | Self::Freeze(_, Program::Server)
            | Self::FullData(_)
            | Self::StallData(_)
            | Self::PowerOff(_) => true,
            _ => false,
        }
    }

    pub(crate) fn moves_the_monitors_clock(self) -> bool {
        matches!(self, Self::ClockJump(MON, _))
    }

    pub(crate) fn fills_the_monitors_disk(self) -> bool {
        self == Self::FullDisk(MON)
    }

    pub(crate) fn ends_the_monitor(self) -> bool {
        match self {
            Self::Kill(MON, _) | Self::Stop(MON, _) => true,
            Self::PowerOff(host) | Self::Reboot(host) => host == MON,
            _ => false,
        }
    }

    /// Makes whoever has the role depend on the other master's promise, or takes that away; by itself it costs nobody anything.
    pub(crate) fn isolates(self) -> bool {
        match self {
            Self::Cut(_, other) => other != CLIENT,
            Self::CutOneWay(from, to) => from != CLIENT && to != CLIENT,
            Self::Kill(MON, _) | Self::Stop(MON, _) | Self::Freeze(MON, _) => true,
            Self::Isolate(host) | Self::Unplug(host) | Self::PowerOff(host) | Self::Reboot(host) => {
                host == MON
            }
            _ => false,
        }
    }

    /// By itself it may cost this host the role.
    pub(crate) fn may_cost_the_role(self, host: &str) -> bool {
        match self {
            Self::Kill(at, _)
            | Self::Stop(at, _)
            | Self::Freeze(at, _)
            | Self::Isolate(at)
            | Self::Unplug(at)
            | Self::PowerOff(at)
            | Self::Reboot(at)
            | Self::FullData(at)
            | Self::StallData(at) => at == host,
            _ => false,
        }
    }

    /// What a writer acknowledged may stay where nobody can get at it: on a host that is out of reach, or without its agent.
    pub(crate) fn may_lose(self) -> bool {
        match self {
            Self::Kill(_, Program::Agent)
            | Self::Stop(_, Program::Agent)
            | Self::Freeze(_, Program::Agent)
            | Self::FreezeWorker(_)
            | Self::KillWorker(_)
            | Self::FullData(_)
            | Self::StallData(_) => true,
            Self::Cut(_, other) => other != CLIENT,
            Self::CutOneWay(from, to) => from != CLIENT && to != CLIENT,
            Self::Isolate(host) | Self::Unplug(host) | Self::PowerOff(host) | Self::Reboot(host) => {
                host != MON
            }
            _ => false,
        }
    }

    /// The host whose data must lie on a disk of its own for it.
    pub(crate) fn own_disk(self) -> Option<&'static str> {
        match self {
            Self::FullData(host) | Self::StallData(host) => Some(host),
            _ => None,
        }
    }
}
