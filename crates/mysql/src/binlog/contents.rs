//! What a transaction did, as far as its events say it at a glance: kinds of statements and tables, for people.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::{BinlogEvent, BinlogReader, LogError, kind};

const TABLE_MAP: u8 = 19;
/// Of both versions of events of rows; those of `MariaDB` that are compressed come behind.
const WRITES: [u8; 4] = [23, 30, 166, 169];
const UPDATES: [u8; 5] = [24, 31, 39, 167, 170];
const DELETES: [u8; 4] = [25, 32, 168, 171];
/// Words of a statement that are told.
const WORDS: usize = 4;
const TEXT_MAX: usize = 120;

/// What the transaction in these bytes of a file did.
pub fn contents(file: &Path, from: u64, to: u64) -> Result<String, LogError> {
    let mut opened = File::open(file)?;
    let format = BinlogReader::open(opened.try_clone()?)?.format().clone();
    opened.seek(SeekFrom::Start(from))?;
    let mut reader = BinlogReader::resume(opened.take(to.saturating_sub(from)), format, from);
    let mut said: Vec<String> = Vec::new();
    let mut tables = BTreeMap::new();
    while let Ok(Some(event)) = reader.next_event()? {
        let word = match event.kind {
            TABLE_MAP => {
                tables.extend(table(event.body()));
                None
            }
            kind::QUERY => statement(event.body()),
            kind::TRANSACTION_PAYLOAD => Some("(compressed)".to_owned()),
            kind::MARIADB_QUERY_COMPRESSED => Some("(a compressed statement)".to_owned()),
            kind::XA_PREPARE => Some("XA PREPARE".to_owned()),
            _ => rows(&event, &tables),
        };
        said.extend(word.filter(|word| !said.contains(word)));
    }
    let text = said.join(", ");
    Ok(match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    })
}

fn rows(event: &BinlogEvent, tables: &BTreeMap<[u8; 6], String>) -> Option<String> {
    let verb = match event.kind {
        kind if WRITES.contains(&kind) => "INSERT",
        kind if UPDATES.contains(&kind) => "UPDATE",
        kind if DELETES.contains(&kind) => "DELETE",
        _ => return None,
    };
    let number: [u8; 6] = event.body().get(..6)?.try_into().ok()?;
    Some(format!("{verb} {}", tables.get(&number).map_or("?", String::as_str)))
}

/// The number of a table within its transaction, and its name.
fn table(body: &[u8]) -> Option<([u8; 6], String)> {
    let number = body.get(..6)?.try_into().ok()?;
    let (schema, rest) = counted(body.get(8..)?)?;
    let (table, _) = counted(rest)?;
    Some((number, format!("{schema}.{table}")))
}

/// A text behind its length, with a zero at its end.
fn counted(bytes: &[u8]) -> Option<(String, &[u8])> {
    let length = usize::from(*bytes.first()?);
    let text = String::from_utf8_lossy(bytes.get(1..=length)?).into_owned();
    Some((text, bytes.get(length + 2..)?))
}

/// The first words of a statement that changes something.
fn statement(body: &[u8]) -> Option<String> {
    let schema = usize::from(*body.get(8)?);
    let variables = usize::from(u16::from_le_bytes(body.get(11..13)?.try_into().ok()?));
    let text = String::from_utf8_lossy(body.get(13 + variables + schema + 1..)?).into_owned();
    // What stands between quotes is data, which is nobody's business here.
    let words: Vec<&str> =
        text.split_whitespace().take(WORDS).take_while(|word| !word.contains(['\'', '"', '('])).collect();
    let words = words.join(" ");
    let frame = ["BEGIN", "COMMIT", "ROLLBACK", "XA"];
    let framing =
        frame.iter().any(|word| words.split(' ').next().is_some_and(|w| w.eq_ignore_ascii_case(word)));
    (!framing && !words.is_empty()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_statements_are_named_without_their_data() {
        let mut map = vec![7, 0, 0, 0, 0, 0, 1, 0, 3];
        map.extend(b"lab\0\x05probe\0\x02");
        assert_eq!(table(&map), Some(([7, 0, 0, 0, 0, 0], "lab.probe".to_owned())));
        assert_eq!(table(&map[..12]), None);
        let query = |text: &str| {
            let mut body = vec![0; 8];
            body.extend([3, 0, 0, 2, 0, 9, 9]);
            body.extend(b"lab\0");
            body.extend(text.as_bytes());
            statement(&body)
        };
        assert_eq!(
            query("INSERT INTO probe VALUES (1,'secret')").as_deref(),
            Some("INSERT INTO probe VALUES")
        );
        assert_eq!(query("update t set a='x y'").as_deref(), Some("update t set"));
        assert_eq!(query("BEGIN"), None);
        assert_eq!(query("commit"), None);
        assert_eq!(statement(&[0; 11]), None);
    }
}
