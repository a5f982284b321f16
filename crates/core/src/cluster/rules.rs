//! The state table: from what is known of one host to its next state. One arm a state, one name a rule.

use std::time::Duration;

use crate::state::HostState;

/// Down for less than this, without a reboot, a host comes back by itself.
pub(super) const QUICK_RETURN: Duration = Duration::from_mins(1);
/// A peer that became ONLINE less than this ago proves nothing about replication.
pub(super) const FRESHLY_ONLINE: Duration = Duration::from_mins(1);

/// Everything that the next state of a host depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one condition of the state table")]
pub(super) struct Facts {
    pub(super) state: HostState,
    pub(super) ping: bool,
    pub(super) mysql: bool,
    pub(super) threads: bool,
    pub(super) backlog: bool,
    /// Its agent has found that it can't follow the active master: no witness is needed for that.
    pub(super) refused: bool,
    /// It was lost as the writer and has transactions that nobody else has.
    pub(super) diverged: bool,
    /// It was lost as the writer, and its transactions have not been compared yet.
    pub(super) uncompared: bool,
    pub(super) is_active_master: bool,
    /// The agent of the active master says that its server is well.
    pub(super) vouched: bool,
    /// It has the lease in the book, heard of just now or by a promise.
    pub(super) holds_lease: bool,
    /// Its lease has run out, and somebody could take its place.
    pub(super) lease_ran_out: bool,
    /// Its lease ran out, and its agent has not been heard since.
    pub(super) lease_lost: bool,
    /// Its server has ended, and may still be restarted in place.
    pub(super) in_grace: bool,
    pub(super) there_is_an_active_master: bool,
    pub(super) may_be_active_master: bool,
    pub(super) peer_online: bool,
    pub(super) peer_reachable: bool,
    pub(super) peer_online_for: Duration,
    pub(super) flapping: bool,
    /// How long the host was down when that was short and without a reboot.
    pub(super) quick_return: Option<Duration>,
    pub(super) in_state_for: Duration,
    pub(super) checks_unchanged_for: Duration,
    pub(super) auto_set_online: Duration,
    pub(super) flap_duration: Duration,
}

/// Why a host changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    ServerLost,
    LeaseRanOut,
    BackWithLease,
    Diverged,
    ReplicationBroken,
    ReplicationBehind,
    LostWhileAwaitingRecovery,
    LostWhileReplicationBad,
    DownOnlyShortly,
    AutoSetOnline,
    AutoSetOnlineAfterFlapping,
    BackWithBrokenReplication,
    BackBehind,
    Back,
    ReplicationWorse,
    ReplicationBetter,
    ReplicationWell,
    ReplicationWellButFlapping,
}

impl Facts {
    fn alive(&self) -> bool {
        self.ping && self.mysql
    }

    fn replicates(&self) -> bool {
        self.threads && self.backlog && !self.refused
    }

    fn peer_is_witness(&self) -> bool {
        self.peer_online && self.peer_reachable
    }
}

/// The rule that applies and the state it leads to; `None` where the host stays as it is.
pub(super) fn judge(facts: &Facts) -> Option<(Rule, HostState)> {
    match facts.state {
        HostState::Unknown | HostState::AdminOffline => None,
        HostState::Online => judge_online(facts),
        HostState::AwaitingRecovery => judge_awaiting(facts),
        HostState::HardOffline => judge_offline(facts),
        HostState::ReplicationFail | HostState::ReplicationDelay => judge_replication(facts),
    }
}

fn judge_online(facts: &Facts) -> Option<(Rule, HostState)> {
    if !facts.alive() {
        // A probe that fails while the holder's own agent, or one that promised it something, says that it lives, says
        // something about the way there.
        let spared = facts.is_active_master && (facts.vouched || facts.holds_lease || facts.in_grace);
        if !spared {
            return Some((Rule::ServerLost, HostState::HardOffline));
        }
    }
    if facts.lease_ran_out {
        return Some((Rule::LeaseRanOut, HostState::HardOffline));
    }
    if !facts.alive() {
        return None;
    }
    if facts.diverged && !facts.is_active_master {
        return Some((Rule::Diverged, HostState::ReplicationFail));
    }
    if facts.refused && !facts.is_active_master {
        return Some((Rule::ReplicationBroken, HostState::ReplicationFail));
    }
    let witness = facts.peer_is_witness() && facts.peer_online_for >= FRESHLY_ONLINE;
    if facts.is_active_master || !witness {
        return None;
    }
    if !facts.threads {
        return Some((Rule::ReplicationBroken, HostState::ReplicationFail));
    }
    (!facts.backlog).then_some((Rule::ReplicationBehind, HostState::ReplicationDelay))
}

fn judge_awaiting(facts: &Facts) -> Option<(Rule, HostState)> {
    if facts.holds_lease {
        return Some((Rule::BackWithLease, HostState::Online));
    }
    if !facts.alive() {
        return Some((Rule::LostWhileAwaitingRecovery, HostState::HardOffline));
    }
    if facts.diverged {
        return Some((Rule::Diverged, HostState::ReplicationFail));
    }
    if !facts.replicates() || facts.uncompared {
        return None;
    }
    let auto = !facts.auto_set_online.is_zero();
    if facts.flapping {
        let calm = auto && facts.checks_unchanged_for >= facts.flap_duration;
        return calm.then_some((Rule::AutoSetOnlineAfterFlapping, HostState::Online));
    }
    if facts.quick_return.is_some() {
        return Some((Rule::DownOnlyShortly, HostState::Online));
    }
    (auto && facts.in_state_for >= facts.auto_set_online).then_some((Rule::AutoSetOnline, HostState::Online))
}

fn judge_offline(facts: &Facts) -> Option<(Rule, HostState)> {
    if facts.holds_lease {
        return Some((Rule::BackWithLease, HostState::Online));
    }
    // Whatever its checks say, its addresses are gone, and nothing can be placed there before its agent is back.
    if !facts.alive() || facts.lease_lost {
        return None;
    }
    if facts.diverged {
        return Some((Rule::Diverged, HostState::ReplicationFail));
    }
    if facts.there_is_an_active_master || !facts.may_be_active_master {
        if !facts.threads {
            return Some((Rule::BackWithBrokenReplication, HostState::ReplicationFail));
        }
        if !facts.backlog {
            return Some((Rule::BackBehind, HostState::ReplicationDelay));
        }
    }
    Some((Rule::Back, HostState::AwaitingRecovery))
}

fn judge_replication(facts: &Facts) -> Option<(Rule, HostState)> {
    if facts.holds_lease {
        return Some((Rule::BackWithLease, HostState::Online));
    }
    if !facts.alive() {
        return Some((Rule::LostWhileReplicationBad, HostState::HardOffline));
    }
    if facts.diverged {
        return (facts.state == HostState::ReplicationDelay)
            .then_some((Rule::Diverged, HostState::ReplicationFail));
    }
    if facts.uncompared {
        return None;
    }
    if facts.replicates() || (!facts.peer_online && !facts.refused) {
        if facts.flapping {
            return Some((Rule::ReplicationWellButFlapping, HostState::AwaitingRecovery));
        }
        return Some((Rule::ReplicationWell, HostState::Online));
    }
    if facts.state == HostState::ReplicationFail && facts.threads {
        return Some((Rule::ReplicationBetter, HostState::ReplicationDelay));
    }
    (facts.state == HostState::ReplicationDelay && !facts.threads)
        .then_some((Rule::ReplicationWorse, HostState::ReplicationFail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use HostState::{AdminOffline, AwaitingRecovery, HardOffline, Online, ReplicationDelay, ReplicationFail};

    fn well(state: HostState) -> Facts {
        Facts {
            state,
            ping: true,
            mysql: true,
            threads: true,
            backlog: true,
            refused: false,
            diverged: false,
            uncompared: false,
            is_active_master: false,
            vouched: false,
            holds_lease: false,
            lease_ran_out: false,
            lease_lost: false,
            in_grace: false,
            there_is_an_active_master: true,
            may_be_active_master: true,
            peer_online: true,
            peer_reachable: true,
            peer_online_for: Duration::from_secs(600),
            flapping: false,
            quick_return: None,
            in_state_for: Duration::from_secs(5),
            checks_unchanged_for: Duration::from_secs(5),
            auto_set_online: Duration::ZERO,
            flap_duration: Duration::from_secs(3600),
        }
    }

    fn next(facts: &Facts) -> Option<HostState> {
        judge(facts).map(|(_, state)| state)
    }

    #[test]
    fn an_online_host_without_ping_or_mysql_is_hard_offline() {
        assert_eq!(next(&well(Online)), None);
        for (ping, mysql) in [(false, true), (true, false), (false, false)] {
            let facts = Facts { ping, mysql, ..well(Online) };
            assert_eq!(next(&facts), Some(HardOffline));
            assert_eq!(next(&Facts { is_active_master: true, ..facts }), Some(HardOffline));
        }
    }

    #[test]
    fn a_writer_whose_agent_vouches_for_the_server_stays_online() {
        let facts = Facts { mysql: false, is_active_master: true, vouched: true, ..well(Online) };
        assert_eq!(next(&facts), None);
        assert_eq!(next(&Facts { is_active_master: false, ..facts }), Some(HardOffline));
    }

    #[test]
    fn a_writer_that_somebody_vouches_for_or_that_may_be_restarted_in_place_stays_online() {
        let lost = Facts { ping: false, mysql: false, is_active_master: true, ..well(Online) };
        assert_eq!(next(&Facts { holds_lease: true, ..lost }), None);
        assert_eq!(next(&Facts { in_grace: true, ..lost }), None);
        assert_eq!(next(&Facts { is_active_master: false, holds_lease: true, ..lost }), Some(HardOffline));
    }

    #[test]
    fn a_writer_whose_lease_has_run_out_is_replaced_whatever_its_checks_say() {
        let facts = Facts { is_active_master: true, lease_ran_out: true, ..well(Online) };
        assert_eq!(judge(&facts), Some((Rule::LeaseRanOut, HardOffline)));
        assert_eq!(next(&Facts { lease_lost: true, ..well(HardOffline) }), None, "until its agent is heard");
    }

    #[test]
    fn a_writer_that_returns_with_its_lease_is_the_writer_at_once() {
        for state in [HardOffline, AwaitingRecovery, ReplicationFail, ReplicationDelay] {
            let facts = Facts { holds_lease: true, ..well(state) };
            assert_eq!(judge(&facts), Some((Rule::BackWithLease, Online)));
        }
        assert_eq!(next(&Facts { holds_lease: true, ..well(AdminOffline) }), None);
    }

    #[test]
    fn broken_replication_takes_an_online_host_out_only_with_a_settled_peer_as_witness() {
        let facts = Facts { threads: false, ..well(Online) };
        assert_eq!(next(&facts), Some(ReplicationFail));
        assert_eq!(next(&Facts { is_active_master: true, ..facts }), None);
        assert_eq!(next(&Facts { peer_online: false, ..facts }), None);
        assert_eq!(next(&Facts { peer_reachable: false, ..facts }), None);
        assert_eq!(next(&Facts { peer_online_for: Duration::from_secs(59), ..facts }), None);
    }

    #[test]
    fn a_backlog_delays_an_online_host_only_with_a_settled_peer_as_witness() {
        let facts = Facts { backlog: false, ..well(Online) };
        assert_eq!(next(&facts), Some(ReplicationDelay));
        assert_eq!(next(&Facts { is_active_master: true, ..facts }), None);
        assert_eq!(next(&Facts { peer_online: false, ..facts }), None);
        assert_eq!(next(&Facts { peer_online_for: Duration::from_secs(59), ..facts }), None);
    }

    #[test]
    fn awaiting_recovery_falls_back_when_the_host_is_lost_again() {
        for (ping, mysql) in [(false, true), (true, false)] {
            assert_eq!(next(&Facts { ping, mysql, ..well(AwaitingRecovery) }), Some(HardOffline));
        }
    }

    #[test]
    fn a_host_that_was_down_only_shortly_comes_back_by_itself() {
        let facts = Facts { quick_return: Some(Duration::from_secs(14)), ..well(AwaitingRecovery) };
        assert_eq!(judge(&facts), Some((Rule::DownOnlyShortly, Online)));
        assert_eq!(next(&well(AwaitingRecovery)), None, "without that it waits for the operator");
        assert_eq!(next(&Facts { flapping: true, ..facts }), None);
        assert_eq!(next(&Facts { threads: false, ..facts }), None);
        assert_eq!(next(&Facts { backlog: false, ..facts }), None);
    }

    #[test]
    fn auto_set_online_counts_the_seconds_in_the_state() {
        let auto = Facts { auto_set_online: Duration::from_secs(10), ..well(AwaitingRecovery) };
        assert_eq!(next(&Facts { in_state_for: Duration::from_secs(9), ..auto }), None);
        let waited = Facts { in_state_for: Duration::from_secs(10), ..auto };
        assert_eq!(judge(&waited), Some((Rule::AutoSetOnline, Online)));
        assert_eq!(next(&Facts { flapping: true, ..waited }), None);
    }

    #[test]
    fn a_flapping_host_comes_back_by_auto_set_online_after_a_calm_flap_duration() {
        let flapping = Facts {
            flapping: true,
            auto_set_online: Duration::from_secs(10),
            in_state_for: Duration::from_secs(9999),
            checks_unchanged_for: Duration::from_secs(3599),
            ..well(AwaitingRecovery)
        };
        assert_eq!(next(&flapping), None);
        let calm = Facts { checks_unchanged_for: Duration::from_secs(3600), ..flapping };
        assert_eq!(judge(&calm), Some((Rule::AutoSetOnlineAfterFlapping, Online)));
        assert_eq!(next(&Facts { auto_set_online: Duration::ZERO, ..calm }), None);
    }

    #[test]
    fn a_host_that_is_back_awaits_recovery_or_shows_what_its_replication_lacks() {
        assert_eq!(next(&well(HardOffline)), Some(AwaitingRecovery));
        let broken = Facts { threads: false, ..well(HardOffline) };
        assert_eq!(next(&broken), Some(ReplicationFail));
        assert_eq!(next(&Facts { backlog: false, ..well(HardOffline) }), Some(ReplicationDelay));
        let alone = Facts { there_is_an_active_master: false, ..broken };
        assert_eq!(next(&alone), Some(AwaitingRecovery), "it could be the active master itself");
        assert_eq!(next(&Facts { may_be_active_master: false, ..alone }), Some(ReplicationFail));
        assert_eq!(next(&Facts { mysql: false, ..broken }), None);
    }

    #[test]
    fn bad_replication_states_change_into_each_other() {
        let behind = Facts { backlog: false, ..well(ReplicationFail) };
        assert_eq!(next(&behind), Some(ReplicationDelay));
        let broken = Facts { threads: false, ..well(ReplicationDelay) };
        assert_eq!(next(&broken), Some(ReplicationFail));
        assert_eq!(next(&Facts { threads: false, ..well(ReplicationFail) }), None);
        assert_eq!(next(&Facts { backlog: false, ..well(ReplicationDelay) }), None);
    }

    #[test]
    fn good_replication_or_a_lost_peer_brings_a_host_back_unless_it_flaps() {
        for state in [ReplicationFail, ReplicationDelay] {
            assert_eq!(next(&well(state)), Some(Online));
            assert_eq!(next(&Facts { flapping: true, ..well(state) }), Some(AwaitingRecovery));
            let alone = Facts { threads: false, peer_online: false, ..well(state) };
            assert_eq!(next(&alone), Some(Online));
            assert_eq!(next(&Facts { ping: false, ..alone }), Some(HardOffline));
            assert_eq!(next(&Facts { mysql: false, ..alone }), Some(HardOffline));
        }
    }

    #[test]
    fn a_replica_that_can_not_follow_fails_without_a_witness_and_stays_so() {
        let facts = Facts { refused: true, threads: false, peer_online_for: Duration::ZERO, ..well(Online) };
        assert_eq!(judge(&facts), Some((Rule::ReplicationBroken, ReplicationFail)));
        assert_eq!(next(&Facts { is_active_master: true, ..facts }), None);
        let alone = Facts { refused: true, threads: false, peer_online: false, ..well(ReplicationFail) };
        assert_eq!(next(&alone), None);
        assert_eq!(
            next(&Facts { refused: true, threads: false, ..well(HardOffline) }),
            Some(ReplicationFail)
        );
    }

    #[test]
    fn a_lost_writer_is_compared_before_it_is_online() {
        let uncompared = Facts {
            uncompared: true,
            quick_return: Some(Duration::from_secs(3)),
            auto_set_online: Duration::from_secs(1),
            ..well(HardOffline)
        };
        assert_eq!(next(&uncompared), Some(AwaitingRecovery));
        for state in [AwaitingRecovery, ReplicationFail, ReplicationDelay] {
            assert_eq!(next(&Facts { state, ..uncompared }), None);
            assert_eq!(next(&Facts { state, uncompared: false, ..uncompared }), Some(Online));
        }
    }

    #[test]
    fn transactions_that_nobody_else_has_keep_a_host_in_replication_fail() {
        for state in [Online, HardOffline, AwaitingRecovery, ReplicationDelay] {
            let facts = Facts { diverged: true, ..well(state) };
            assert_eq!(judge(&facts), Some((Rule::Diverged, ReplicationFail)), "{state}");
        }
        let facts = Facts { diverged: true, peer_online: false, ..well(ReplicationFail) };
        assert_eq!(next(&facts), None);
        assert_eq!(next(&Facts { mysql: false, ..facts }), Some(HardOffline));
        assert_eq!(next(&Facts { is_active_master: true, diverged: true, ..well(Online) }), None);
        assert_eq!(next(&Facts { diverged: true, ..well(AdminOffline) }), None);
    }

    #[test]
    fn only_an_operator_moves_a_host_out_of_admin_offline() {
        assert_eq!(next(&well(AdminOffline)), None);
        assert_eq!(next(&Facts { ping: false, mysql: false, ..well(AdminOffline) }), None);
    }
}
