//! What a new writer lacks of what the old one acknowledged is named in the record of that change, once the old one is back and
//! was compared; and nothing is named there that was not lacking.

use mmm_core::HostName;
use mmm_core::ledger::{Record, Transactions};

use crate::data::{Change, Rows};
use crate::run::Sabotage;
use crate::world::World;

/// The rows of its host that an account names: `12-12-4`, or `12-12-4..7`, or `12-12-4 to 12-12-7` where they were seen in a log.
fn rows_of(account: &Transactions) -> Vec<Rows> {
    let number = |name: &str| name.rsplit_once('-').map_or(name, |(_, number)| number).parse::<u64>().ok();
    let range = |name: &str| {
        let name = name.trim();
        let (first, last) = name.split_once(" to ").or(name.split_once("..")).unwrap_or((name, name));
        Some((number(first)?.checked_sub(1)?, number(last)?))
    };
    account.names.split(',').filter_map(range).collect()
}

fn is_judged(world: &World) -> bool {
    world.options.sabotage == Sabotage::None && world.all_rules()
}

/// A monitor writes down what is on one host only.
pub(crate) fn record_is_true(world: &mut World, record: &Record) {
    if !is_judged(world) {
        return;
    }
    // Whoever is being opened counts as open.
    let opening = record.to.as_ref().and_then(|to| world.change_to(to));
    let now = world.data.opened.iter().chain(&opening).flat_map(Change::lacked).collect::<Vec<_>>();
    let false_one = record.lost.iter().chain(&record.diverged).chain(&record.errant).find_map(|account| {
        let wrong = |rows: &Rows| {
            // A host may have been lost, carried over and lost again: what it lacked each time counts.
            let lacked = |row: u64| {
                world
                    .data
                    .lacked
                    .iter()
                    .chain(&now)
                    .any(|(host, (has, own))| *host == account.host && *has < row && row <= *own)
            };
            !lacked(rows.0 + 1) || !lacked(rows.1)
        };
        let rows = rows_of(account);
        (rows.is_empty() || rows.iter().any(wrong)).then(|| account.clone())
    });
    if let Some(account) = false_one {
        let text = format!("record {} names what nobody lacks: {account:?}", record.number);
        world.break_promise("the ledger is true", text);
    }
}

fn is_named(world: &World, from: &HostName, row: u64) -> bool {
    let histories = world.monitors.iter().map(|monitor| monitor.history.values());
    histories
        .flat_map(|records| {
            // Where no record of that monitor tells of the loss itself, any may.
            let was_old = records.clone().any(|(_, record)| record.from.as_ref() == Some(from));
            records.filter(move |(_, record)| !was_old || record.from.as_ref() == Some(from))
        })
        .flat_map(|(_, record)| record.lost.iter().chain(&record.diverged).chain(&record.errant))
        .filter(|account| account.host == *from)
        .flat_map(rows_of)
        .any(|(before, last)| before < row && row <= last)
}

/// Without an operator a host stays out of service that has what nobody else has, when that was said.
pub(crate) fn is_held_honestly(world: &World, name: &HostName) -> bool {
    let mut lacking = world.data.changes.iter().filter(|change| change.from == *name);
    world.options.drill.is_some() && lacking.any(|change| is_named(world, name, change.lacking.1))
}

/// A new writer gets rows of the old one: one that was restarted replicates by itself until its agent stops that again.
pub(crate) fn arrived(world: &mut World, name: &HostName, from: &HostName, applied: u64) {
    let restarted = world.data.started.get(name).copied().unwrap_or_default();
    let open = |world: &World| {
        world.data.changes.iter().rposition(|change| {
            change.excuse.is_none()
                && change.to == *name
                && change.from == *from
                && change.lacking.0 < applied
                && change.at < restarted
        })
    };
    if let Some(place) = open(world)
        && let Some(row) = world.data.changes.get(place).map(|change| change.lacking.0 + 1)
        && !is_named(world, from, row)
        && let Some(change) = world.data.changes.get_mut(place)
    {
        change.excuse = Some("the new writer was restarted and got them by itself");
    }
}

/// The cluster is whole, and every host that is there was compared.
pub(crate) fn every_loss_is_named(world: &mut World) {
    if !is_judged(world) {
        return;
    }
    let away = |name: &HostName| world.hosts.get(name).is_none_or(|host| host.away_for_good);
    let unnamed = world.data.changes.iter().find(|change| {
        let last = change.lacking.1.min(change.acknowledged);
        change.excuse.is_none()
            && change.lacking.0 < last
            && !away(&change.from)
            && !(is_named(world, &change.from, change.lacking.0 + 1) && is_named(world, &change.from, last))
    });
    if let Some(change) = unnamed {
        let text = format!("no record names what was lost: {change:?}");
        world.break_promise("every loss is named", text);
    }
}
