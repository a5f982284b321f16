//! One thing that a client does, and its line in the client's file.

use std::fmt;
use std::str::FromStr;

use super::{ACCOUNTS, COUNTERS};
use crate::record::Attempt;

/// A change, each a transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A numbered row.
    Insert,
    /// One more on a counter.
    Count { counter: u32 },
    /// An amount from one account to another, with a numbered row that tells of it.
    Transfer { source: u32, target: u32, amount: i64 },
}

impl Deed {
    /// What the attempt of this number does: half are rows, a quarter counters, a quarter transfers, spread without a pattern.
    pub(crate) fn of(number: u64) -> Self {
        // The finalizer of splitmix64.
        let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let mut take = |limit: u32| {
            let part = u32::try_from(mixed % u64::from(limit)).unwrap_or_default();
            mixed /= u64::from(limit);
            part
        };
        match take(4) {
            0 | 1 => Self::Insert,
            2 => Self::Count { counter: take(COUNTERS) },
            _ => {
                let source = take(ACCOUNTS);
                let target = (source + 1 + take(ACCOUNTS - 1)) % ACCOUNTS;
                Self::Transfer { source, target, amount: i64::from(1 + take(50)) }
            }
        }
    }

    /// What is sent before the last statement, and the one whose answer is the acknowledgement.
    pub(crate) fn statements(self, number: u64) -> (Option<String>, String) {
        match self {
            Self::Insert => (None, format!("INSERT INTO lab.entry VALUES ({number}, @@server_id)")),
            Self::Count { counter } => {
                (None, format!("UPDATE lab.counter SET value = value + 1 WHERE id = {counter}"))
            }
            Self::Transfer { source, target, amount } => {
                let mut changes = [(source, -amount), (target, amount)];
                // Always in the same order, so that two transfers never wait for each other.
                changes.sort_unstable();
                let changes = changes.map(|(id, by)| {
                    format!("UPDATE lab.account SET balance = balance + {by} WHERE id = {id}; ")
                });
                let begin = format!(
                    "START TRANSACTION; {}INSERT INTO lab.transfer VALUES ({number}, @@server_id, {source}, {target}, {amount})",
                    changes.concat()
                );
                (Some(begin), "COMMIT".to_owned())
            }
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert => f.write_str("insert"),
            Self::Count { counter } => write!(f, "count {counter}"),
            Self::Transfer { source, target, amount } => write!(f, "transfer {source} {target} {amount}"),
        }
    }
}

impl FromStr for Deed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || format!("`{text}` is nothing that a client does");
        let number = |word: &str| word.parse::<u32>().map_err(|_| fail());
        match *text.split(' ').collect::<Vec<_>>() {
            ["insert"] => Ok(Self::Insert),
            ["count", counter] => Ok(Self::Count { counter: number(counter)? }),
            ["transfer", source, target, amount] => Ok(Self::Transfer {
                source: number(source)?,
                target: number(target)?,
                amount: amount.parse().map_err(|_| fail())?,
            }),
            _ => Err(fail()),
        }
    }
}

/// A deed that was tried, and how that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub deed: Deed,
    pub attempt: Attempt,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}", self.deed, self.attempt)
    }
}

impl FromStr for Done {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (deed, attempt) = line.split_once('\t').ok_or("no tab in it")?;
        Ok(Self { deed: deed.parse()?, attempt: attempt.parse()? })
    }
}
