//! What may happen next in the model.

use mmm_core::lease::Epoch;

/// One step. Numbers are those of the candidates, 0 and 1, and places among the messages on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Tick,
    /// The monitor makes a new epoch durable and plans with this host.
    Choose(usize),
    /// The monitor has a proof for the host it planned with, and sends the promotion.
    Promote,
    /// The host takes in a promotion. The message stays: the monitor repeats it, and it may be as late as it likes.
    Accept(usize, usize),
    SendRenewal(usize),
    /// The monitor answers a renewal. Whether the other host could be promoted now is anybody's guess.
    Answer {
        host: usize,
        place: usize,
        other_is_promotable: bool,
        length: usize,
    },
    TakeGrant(usize, usize),
    AskPromise(usize),
    /// The other one hears the request of this host.
    GivePromise(usize),
    TakePromise(usize),
    /// The monitor hears from this host that its promise runs.
    Vouch(usize),
    /// The agent gives back this epoch: it was asked to, or it was started again without its lease.
    Release(usize, Epoch),
    /// The agent finds its lease over, at once or much later.
    Fence(usize),
    /// The monitor hears what this host has given back, in an answer, a greeting or a heartbeat.
    HearRelease(usize),
    Reboot(usize),
    /// The agent's program is started again in the same boot and has lost its lease, though not its promises.
    RestartAgent(usize),
    RestartMonitor,
    /// `kill_host` is started, and at once the host is off.
    Kill(usize),
    /// `kill_host` ends with 0.
    HearDeath(usize),
}
