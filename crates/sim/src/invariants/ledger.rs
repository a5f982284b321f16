//! Every promotion has a record, and once the cluster is whole every record has ended. The gap of a record is never
//! negative, and its steps are in the order of time.

use mmm_core::Order;
use mmm_core::lease::Proof;
use mmm_core::ledger::Record;

use crate::world::World;

/// A monitor is about to tell a host of its promotion.
pub(crate) fn promotion_is_told_of(world: &mut World, index: usize, order: &Order) {
    let Some(promotion) = order.writer.as_ref().filter(|promotion| promotion.proof != Proof::Own) else {
        return;
    };
    let Some(monitor) = world.monitors.get(index) else { return };
    let recorded = monitor.history.values().any(|(_, record)| record.tells_of(promotion.epoch));
    if !recorded {
        world.break_promise(
            "ledger",
            format!("no record tells of the promotion with epoch {}", promotion.epoch),
        );
    }
}

pub(crate) fn record_makes_sense(world: &mut World, record: &Record) {
    let gap = &record.gap;
    let backwards = matches!((gap.from_ms, gap.until_ms), (Some(from), Some(until)) if until < from);
    let endless = record.outcome.is_some() != record.ended_ms.is_some();
    if backwards || endless {
        world.break_promise("ledger", format!("a record makes no sense: {record:?}"));
    }
}

/// The cluster is whole; the mind says of no record that it goes on, and so it is on disk.
pub(crate) fn every_record_has_ended(world: &mut World) {
    let Some(monitor) = world.monitors.first() else { return };
    let open = monitor.history.values().map(|(_, record)| record).find(|record| record.outcome.is_none());
    if let Some(open) = open {
        let text = format!("a record has not ended: {open:?}");
        world.break_promise("ledger", text);
    }
}
