//! What one server has of everything that clients ever did in a lab.

use std::collections::BTreeMap;

use crate::error::{LabError, Result};
use crate::lab::Lab;

/// A transfer as its row tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub server_id: u32,
    pub source: u32,
    pub target: u32,
    pub amount: i64,
}

/// The tables of one server, read at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Number and the `server_id` that wrote it first.
    pub entries: BTreeMap<u64, u32>,
    pub transfers: BTreeMap<u64, Moved>,
    pub counters: BTreeMap<u32, i64>,
    pub accounts: BTreeMap<u32, i64>,
}

/// All tables in one answer, so that they are of one moment: kind, id, and four numbers.
const STATEMENT: &str = "\
SELECT 1 AS kind, id, server_id AS a, 0 AS b, 0 AS c, 0 AS d FROM lab.entry \
UNION ALL SELECT 2, id, server_id, source, target, amount FROM lab.transfer \
UNION ALL SELECT 3, id, value, 0, 0, 0 FROM lab.counter \
UNION ALL SELECT 4, id, balance, 0, 0, 0 FROM lab.account";

impl Lab {
    /// What the server on this host has.
    pub fn books(&self, host: &str) -> Result<Books> {
        let table = self.sql(host, STATEMENT)?;
        let mut books = Books::default();
        for row in &table.rows {
            books.take(row).ok_or_else(|| {
                LabError::Other(format!("odd row of the clients' tables on {host}: {row:?}"))
            })?;
        }
        Ok(books)
    }
}

impl Books {
    fn take(&mut self, row: &[Option<String>]) -> Option<()> {
        let number = |index: usize| row.get(index)?.as_deref()?.parse::<i64>().ok();
        let small = |index: usize| u32::try_from(number(index)?).ok();
        let id = u64::try_from(number(1)?).ok()?;
        match number(0)? {
            1 => drop(self.entries.insert(id, small(2)?)),
            2 => {
                let moved =
                    Moved { server_id: small(2)?, source: small(3)?, target: small(4)?, amount: number(5)? };
                self.transfers.insert(id, moved);
            }
            3 => drop(self.counters.insert(small(1)?, number(2)?)),
            4 => drop(self.accounts.insert(small(1)?, number(2)?)),
            _ => return None,
        }
        Some(())
    }
}
