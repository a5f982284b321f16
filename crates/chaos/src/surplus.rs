//! Transactions that one master has and the other one lacks, as the servers and their own tools tell it, held against what the history
//! says of them. Nothing of the product is asked what a server has.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mmm_lab::{Judgement, Lab};

use crate::account::other;
use crate::fault::MASTERS;
use crate::ledger::{Ledger, Transactions};

/// One transaction: where it was made first, and its number there.
type Gtid = (String, u64);

/// Only what is looked at: the logs are large. File by file, for the tool reads none behind one whose end is torn.
const DUMP: &str = "cd /var/lib/mysql && for file in $(ls | grep -E 'bin\\.[0-9]+$' | sort); do \
    mariadb-binlog --no-defaults --base64-output=DECODE-ROWS $file 2>/dev/null; done \
    | grep -oE 'GTID [0-9]+-[0-9]+-[0-9]+|^COMMIT' || true";
/// No list here is longer, unless a text is misread.
const MOST: u64 = 1_000_000;

/// What is wrong with what the history says of the masters' transactions.
pub(crate) fn wrong_words(
    lab: &Lab,
    ledger: &Ledger,
    judgement: &Judgement,
    writer: &str,
) -> Result<Vec<String>> {
    let is_told = ledger.records.iter().any(|record| !record.diverged.is_empty() || !record.lost.is_empty());
    if judgement.differences.is_empty() && !is_told {
        return Ok(Vec::new());
    }
    let host = other(writer);
    let has = all_of(lab, host)?;
    let lacks = alone(lab, host, writer, &has)?;
    let mut wrong = Vec::new();
    for of in ledger.records.iter().flat_map(|record| record.diverged.iter().chain(&record.lost)) {
        ensure!(MASTERS.contains(&of.host.as_str()), "the history tells of `{}`", of.host);
    }
    let told: Vec<&Transactions> = ledger
        .records
        .iter()
        .filter(|record| record.from.as_deref() == Some(host))
        .flat_map(|record| record.diverged.iter().chain(&record.lost))
        .filter(|of| of.host == host)
        .collect();
    let mut named = BTreeSet::new();
    for of in &told {
        named.extend(parse(&of.names).with_context(|| format!("understand the names {}", of.names))?);
    }
    let untold: Vec<&Gtid> = lacks.difference(&named).collect();
    if !untold.is_empty() {
        wrong.push(format!("only {host} has {}; the history names {}", words(&untold), told_words(&told)));
    }
    // Positions of MariaDB count through a whole domain, so that not each of the numbers is a transaction of this server.
    let false_ones: Vec<&Gtid> = named.intersection(&has).filter(|gtid| !lacks.contains(*gtid)).collect();
    if !false_ones.is_empty() {
        wrong.push(format!(
            "the history says that only {host} has {}, and {writer} has them",
            words(&false_ones)
        ));
    }
    if !judgement.differences.is_empty() && lacks.is_empty() {
        wrong.push(format!("the masters differ, and {host} has no transaction that {writer} lacks"));
    }
    println!("  {} transactions only on {host}, told as {}", lacks.len(), told_words(&told));
    Ok(wrong)
}

fn words(all: &[&Gtid]) -> String {
    let shown: Vec<String> =
        all.iter().take(5).map(|(origin, number)| format!("{origin}:{number}")).collect();
    format!("{} transactions ({}...)", all.len(), shown.join(" "))
}

fn told_words(told: &[&Transactions]) -> String {
    if told.is_empty() {
        return "none".to_owned();
    }
    told.iter().map(|of| of.names.as_str()).collect::<Vec<_>>().join(" and ")
}

fn is_mysql(lab: &Lab, host: &str) -> Result<bool> {
    Ok(lab.sql(host, "SELECT VERSION()")?.value().is_some_and(|version| !version.contains("MariaDB")))
}

fn executed(lab: &Lab, host: &str) -> Result<String> {
    let table = lab.sql(host, "SELECT @@GLOBAL.gtid_executed")?;
    Ok(table.value().unwrap_or_default().replace('\n', ""))
}

/// What the host's log has.
fn all_of(lab: &Lab, host: &str) -> Result<BTreeSet<Gtid>> {
    if is_mysql(lab, host)? {
        return parse(&executed(lab, host)?);
    }
    let output = lab.exec_within(host, &["sh", "-c", DUMP], Duration::from_mins(1))?;
    ensure!(output.success(), "the binary log of {host} can't be read: {output}");
    // A crash leaves the beginning of a transaction that never was.
    let (mut all, mut begun) = (BTreeSet::new(), None);
    for line in output.stdout.lines() {
        match line.strip_prefix("GTID ") {
            Some(gtid) => begun = Some(gtid),
            None => all.extend(begun.take().map(parse).transpose()?.unwrap_or_default()),
        }
    }
    Ok(all)
}

fn alone(lab: &Lab, host: &str, writer: &str, has: &BTreeSet<Gtid>) -> Result<BTreeSet<Gtid>> {
    if is_mysql(lab, host)? {
        let (own, there) = (executed(lab, host)?, executed(lab, writer)?);
        let table = lab.sql(host, &format!("SELECT GTID_SUBTRACT('{own}', '{there}')"))?;
        return parse(&table.value().unwrap_or_default().replace('\n', ""));
    }
    // A master does not log what it replicates, and knows the last of it only.
    let table = lab.sql(writer, "SELECT @@GLOBAL.gtid_slave_pos")?;
    let position = parse(table.value().unwrap_or_default())?;
    let id = lab.host(host)?.server_id.unwrap_or_default();
    let last =
        |origin: &str| position.iter().find(|(seen, _)| seen == origin).map_or(0, |(_, number)| *number);
    let is_own = |origin: &str| origin.rsplit_once('-').is_some_and(|(_, server)| server == id.to_string());
    Ok(has.iter().filter(|(origin, number)| is_own(origin) && *number > last(origin)).cloned().collect())
}

/// `0-12-41`, `0-12-41..43`, `uuid:1-5:7`, and several of these behind commas.
fn parse(text: &str) -> Result<BTreeSet<Gtid>> {
    let mut all = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (origin, ranges) = if let Some((uuid, ranges)) = part.split_once(':') {
            (uuid.to_lowercase(), ranges.replace('-', ".."))
        } else {
            let (origin, range) = part.rsplit_once('-').with_context(|| format!("`{part}` is no GTID"))?;
            (origin.to_owned(), range.to_owned())
        };
        for range in ranges.split(':') {
            let (first, last) = range.split_once("..").unwrap_or((range, range));
            let number = |text: &str| text.parse::<u64>().with_context(|| format!("`{part}` is no GTID"));
            let (first, last) = (number(first)?, number(last)?);
            ensure!(last.saturating_sub(first) < MOST, "`{part}` has too many");
            all.extend((first..=last).map(|number| (origin.clone(), number)));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_servers_are_understood() {
        let numbers =
            |text: &str| parse(text).unwrap().into_iter().map(|(_, number)| number).collect::<Vec<_>>();
        assert_eq!(numbers("0-12-41..43,0-13-7"), [41, 42, 43, 7]);
        assert_eq!(
            numbers("3E11FA47-71ca-11e1-9e33-c80aa9429562:1-3:5, 3e11fa47-71ca-11e1-9e33-c80aa9429563:9"),
            [1, 2, 3, 5, 9]
        );
        assert_eq!(numbers(""), Vec::<u64>::new());
        assert_eq!(parse("AB-1:4").unwrap(), BTreeSet::from([("ab-1".to_owned(), 4)]));
        assert!(parse("bin.000003:157 to bin.000003:900 of its log").is_err());
        assert!(parse("0-12-…").is_err());
    }
}
