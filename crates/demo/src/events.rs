//! What happened to the writes at each event, and the table the demo ends with.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use mmm_lab::{Judge, Lab, Moment, Probe, Record};

/// One line of the table.
struct Event {
    what: String,
    from: Moment,
    /// Acknowledged writes that the writer after the event does not have.
    lost: usize,
}

/// Every event so far, in order.
pub(crate) struct Events<'a> {
    lab: &'a Lab,
    probe: Probe,
    noted: Vec<Event>,
    /// Rows that are missing since an earlier event are not counted again.
    known_lost: BTreeSet<u64>,
}

/// The finished table.
pub(crate) struct Summary {
    rows: Vec<(String, f64, usize)>,
    acknowledged: usize,
    /// Missing on the first or the second master at the end.
    lost_at_the_end: usize,
    duplicates: usize,
}

impl<'a> Events<'a> {
    pub(crate) fn new(lab: &'a Lab, probe: Probe) -> Self {
        Self { lab, probe, noted: Vec::new(), known_lost: BTreeSet::new() }
    }

    pub(crate) fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Notes an event that began at `from` and has settled with `writer` as the writer; gives the length of its gap in ms.
    pub(crate) fn note(&mut self, what: &str, from: Moment, writer: &str) -> Result<f64> {
        let judge = Judge::new(self.lab, self.probe.record()?);
        let lost: Vec<u64> =
            judge.lost(writer)?.into_iter().filter(|number| self.known_lost.insert(*number)).collect();
        self.noted.push(Event { what: what.to_owned(), from, lost: lost.len() });
        Ok(gap_ms(judge.record(), from, Moment::now()))
    }

    /// The table, from the whole record; both servers must have applied everything before.
    pub(crate) fn finish(&self, record: Record, hosts: [&str; 2]) -> Result<Summary> {
        let judge = Judge::new(self.lab, record);
        let ends = self.noted.iter().skip(1).map(|event| event.from);
        let ends = ends.chain([Moment::from_micros(u64::MAX)]);
        let rows = self.noted.iter().zip(ends);
        let rows = rows
            .map(|(event, end)| (event.what.clone(), gap_ms(judge.record(), event.from, end), event.lost));
        let mut lost = BTreeSet::new();
        let mut duplicates = BTreeSet::new();
        for host in hosts {
            lost.extend(judge.lost(host)?);
            duplicates.extend(judge.duplicates(host)?);
        }
        Ok(Summary {
            rows: rows.collect(),
            acknowledged: judge.acknowledged().count(),
            lost_at_the_end: lost.len(),
            duplicates: duplicates.len(),
        })
    }
}

/// The longest time without an acknowledged write that touches the stretch.
fn gap_ms(record: &Record, from: Moment, until: Moment) -> f64 {
    record.longest_gap(from, until).map_or(0.0, |gap| gap.length().as_secs_f64() * 1000.0)
}

impl Summary {
    /// No acknowledged write was lost at any time and none was made twice.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost_at_the_end == 0 && self.duplicates == 0 && self.rows.iter().all(|(_, _, lost)| *lost == 0)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(what, ..)| what.len()).max().unwrap_or_default();
        writeln!(f, "{:width$}  {:>18}  {:>19}", "", "writes interrupted", "acknowledged writes")?;
        writeln!(f, "{:width$}  {:>18}  {:>19}", "event", "for (ms)", "lost")?;
        for (what, gap, lost) in &self.rows {
            writeln!(f, "{what:width$}  {gap:>18.1}  {lost:>19}")?;
        }
        writeln!(
            f,
            "\n{} writes acknowledged in all; missing on MySQL-M1 or MySQL-M2 at the end: {}; written twice: {}",
            self.acknowledged, self.lost_at_the_end, self.duplicates
        )?;
        f.write_str(
            "(A write is tried every 5 ms, so about 5 ms is no interruption at all. A loss is looked for after each event on the \
             server that is the writer then.)",
        )
    }
}
