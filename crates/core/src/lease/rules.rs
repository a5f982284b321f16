//! Which rules of the lease are in force. Binaries take the default, which is all of them.

use serde::{Deserialize, Serialize};

/// Each field is a rule that was once missing in a model of the plan and then showed two writers, or none for ever.
/// Dropping one is for the proof that the checks notice it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one rule")]
pub struct LeaseRules {
    /// Monitor, promiser and a rebooted host count longer than the holder does.
    pub waiters_count_longer: bool,
    /// The monitor drops a renewal whose reading is not newer than the last it took in.
    pub readings_go_forward_at_monitor: bool,
    /// The agent drops a grant whose reading is not newer than the last it took in.
    pub readings_go_forward_at_agent: bool,
    /// The last lease granted counts; whom the monitor chose since is only a plan.
    pub grants_count_and_plans_do_not: bool,
    /// After the lease has run out only a host of its list may be promoted.
    pub only_listed_hosts: bool,
    /// A host is in the list only after the holder has said that it knows so.
    pub joining_is_confirmed: bool,
    /// A release names an epoch and also stops a promotion that is still on its way.
    pub release_covers_promotions_on_their_way: bool,
    /// A promotion because the lease ran out waits for the end of a running promise.
    pub promises_hold_against_time: bool,
    /// A host that holds a lease is free of it by its release only; nothing is inferred from what else it says.
    pub nothing_is_inferred_from_silence: bool,
    /// An address without a lifetime is taken off when what is left of the lease is too short for a finite one.
    pub permanent_addresses_are_taken_off: bool,
    /// The reading of a grant is named in a renewal only when list and lease are kept and each address has its lifetime.
    pub grants_are_taken_in_when_kept: bool,
}

impl LeaseRules {
    pub const ALL: LeaseRules = LeaseRules {
        waiters_count_longer: true,
        readings_go_forward_at_monitor: true,
        readings_go_forward_at_agent: true,
        grants_count_and_plans_do_not: true,
        only_listed_hosts: true,
        joining_is_confirmed: true,
        release_covers_promotions_on_their_way: true,
        promises_hold_against_time: true,
        nothing_is_inferred_from_silence: true,
        permanent_addresses_are_taken_off: true,
        grants_are_taken_in_when_kept: true,
    };
}

impl LeaseRules {
    /// All but one, to show what that one is for.
    #[must_use]
    pub const fn without(rule: LeaseRule) -> Self {
        let mut rules = Self::ALL;
        match rule {
            LeaseRule::WaitersCountLonger => rules.waiters_count_longer = false,
            LeaseRule::ReadingsGoForwardAtMonitor => rules.readings_go_forward_at_monitor = false,
            LeaseRule::ReadingsGoForwardAtAgent => rules.readings_go_forward_at_agent = false,
            LeaseRule::GrantsCountAndPlansDoNot => rules.grants_count_and_plans_do_not = false,
            LeaseRule::OnlyListedHosts => rules.only_listed_hosts = false,
            LeaseRule::JoiningIsConfirmed => rules.joining_is_confirmed = false,
            LeaseRule::ReleaseCoversPromotionsOnTheirWay => {
                rules.release_covers_promotions_on_their_way = false;
            }
            LeaseRule::PromisesHoldAgainstTime => rules.promises_hold_against_time = false,
            LeaseRule::NothingIsInferredFromSilence => rules.nothing_is_inferred_from_silence = false,
            LeaseRule::PermanentAddressesAreTakenOff => rules.permanent_addresses_are_taken_off = false,
            LeaseRule::GrantsAreTakenInWhenKept => rules.grants_are_taken_in_when_kept = false,
        }
        rules
    }
}

/// The name of each rule, one for each field of [`LeaseRules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseRule {
    WaitersCountLonger,
    ReadingsGoForwardAtMonitor,
    ReadingsGoForwardAtAgent,
    GrantsCountAndPlansDoNot,
    OnlyListedHosts,
    JoiningIsConfirmed,
    ReleaseCoversPromotionsOnTheirWay,
    PromisesHoldAgainstTime,
    NothingIsInferredFromSilence,
    PermanentAddressesAreTakenOff,
    GrantsAreTakenInWhenKept,
}

impl LeaseRule {
    /// In the order of the fields.
    pub const ALL: [LeaseRule; 11] = [
        Self::WaitersCountLonger,
        Self::ReadingsGoForwardAtMonitor,
        Self::ReadingsGoForwardAtAgent,
        Self::GrantsCountAndPlansDoNot,
        Self::OnlyListedHosts,
        Self::JoiningIsConfirmed,
        Self::ReleaseCoversPromotionsOnTheirWay,
        Self::PromisesHoldAgainstTime,
        Self::NothingIsInferredFromSilence,
        Self::PermanentAddressesAreTakenOff,
        Self::GrantsAreTakenInWhenKept,
    ];

    /// The field's name as an operator types it: `only-listed-hosts`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitersCountLonger => "waiters-count-longer",
            Self::ReadingsGoForwardAtMonitor => "readings-go-forward-at-monitor",
            Self::ReadingsGoForwardAtAgent => "readings-go-forward-at-agent",
            Self::GrantsCountAndPlansDoNot => "grants-count-and-plans-do-not",
            Self::OnlyListedHosts => "only-listed-hosts",
            Self::JoiningIsConfirmed => "joining-is-confirmed",
            Self::ReleaseCoversPromotionsOnTheirWay => "release-covers-promotions-on-their-way",
            Self::PromisesHoldAgainstTime => "promises-hold-against-time",
            Self::NothingIsInferredFromSilence => "nothing-is-inferred-from-silence",
            Self::PermanentAddressesAreTakenOff => "permanent-addresses-are-taken-off",
            Self::GrantsAreTakenInWhenKept => "grants-are-taken-in-when-kept",
        }
    }
}

impl Default for LeaseRules {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(rules: LeaseRules) -> Vec<(String, Value)> {
        let Value::Object(fields) = serde_json::to_value(rules).unwrap() else { panic!("{rules:?}") };
        fields.into_iter().collect()
    }

    #[test]
    fn every_rule_is_in_force_unless_somebody_asks_for_less() {
        assert_eq!(LeaseRules::default(), LeaseRules::ALL);
        assert!(fields(LeaseRules::ALL).iter().all(|(_, value)| *value == json!(true)));
    }

    #[test]
    fn each_field_has_one_name_and_that_name_leaves_out_that_field_alone() {
        let mut named: Vec<String> =
            LeaseRule::ALL.into_iter().map(|rule| rule.as_str().replace('-', "_")).collect();
        for (rule, field) in LeaseRule::ALL.into_iter().zip(&named) {
            let left_out: Vec<String> = fields(LeaseRules::without(rule))
                .into_iter()
                .filter(|(_, value)| *value == json!(false))
                .map(|(name, _)| name)
                .collect();
            assert_eq!(left_out, [field.as_str()], "{rule:?}");
        }
        named.sort();
        let mut all: Vec<String> = fields(LeaseRules::ALL).into_iter().map(|(name, _)| name).collect();
        all.sort();
        assert_eq!(named, all, "a field without a name, or a name that stands twice");
    }

    #[test]
    fn names_are_words_with_dashes() {
        for rule in LeaseRule::ALL {
            let name = rule.as_str();
            assert!(name.split('-').all(|word| !word.is_empty()), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
    }
}
