//! Where transactions begin and end among the events.

use super::gtid::{Form, beginning};
use super::{BinlogEvent, LogTransaction, kind};

/// Behind what a statement carries with it: thread, time, lengths.
const QUERY_FIXED: usize = 13;
/// Events that a reader may leave out say so.
const IGNORABLE: u16 = 0x80;

/// The transaction that events are gathered for.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    open: Option<Open>,
    any: bool,
}

#[derive(Debug)]
struct Open {
    transaction: LogTransaction,
    form: Form,
    begun: bool,
}

/// What a statement means for the transaction that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Begins,
    Ends,
    Other,
}

impl Boundary {
    /// A transaction has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// No transaction has begun yet.
    pub(super) fn is_untouched(&self) -> bool {
        !self.any
    }

    /// The transaction that this event ends, if it ends one.
    pub(super) fn take_in(&mut self, event: &BinlogEvent) -> Result<Option<LogTransaction>, String> {
        if let Some(beginning) = beginning(event)? {
            // One that has not ended never will.
            self.begin(event, beginning.gtid, beginning.form);
            return Ok(None);
        }
        if is_housekeeping(event) {
            if event.kind == kind::FORMAT_DESCRIPTION {
                self.open = None;
            }
            return Ok(None);
        }
        if self.open.is_none() {
            // Servers without GTIDs write nothing in front of a transaction.
            self.begin(event, None, Form::Told);
        }
        let Some(open) = &mut self.open else { return Ok(None) };
        let ends = match event.kind {
            kind::XID | kind::XA_PREPARE => true,
            kind::TRANSACTION_PAYLOAD | kind::INCIDENT => !open.begun,
            kind::QUERY => match word(event.body()) {
                Word::Begins => {
                    open.begun = true;
                    false
                }
                Word::Ends => true,
                Word::Other => open.is_alone(),
            },
            kind::MARIADB_QUERY_COMPRESSED => open.is_alone(),
            _ => false,
        };
        if !ends {
            return Ok(None);
        }
        let ended = self.open.take();
        Ok(ended.map(|open| LogTransaction { to: event.to, ..open.transaction }))
    }

    fn begin(&mut self, event: &BinlogEvent, gtid: Option<super::LogGtid>, form: Form) {
        self.any = true;
        let transaction = LogTransaction {
            gtid,
            from: event.from,
            to: event.to,
            server_id: event.server_id,
            timestamp: event.timestamp,
        };
        self.open = Some(Open { transaction, form, begun: false });
    }
}

impl Open {
    /// One statement is all there is of it.
    fn is_alone(&self) -> bool {
        match self.form {
            Form::Told => !self.begun,
            Form::Alone => true,
            Form::Group => false,
        }
    }
}

fn is_housekeeping(event: &BinlogEvent) -> bool {
    let known = matches!(
        event.kind,
        kind::STOP
            | kind::ROTATE
            | kind::FORMAT_DESCRIPTION
            | kind::HEARTBEAT
            | kind::HEARTBEAT_V2
            | kind::PREVIOUS_GTIDS
            | kind::MARIADB_CHECKPOINT
            | kind::MARIADB_GTID_LIST
            | kind::MARIADB_START_ENCRYPTION
    );
    known || event.flags & IGNORABLE != 0
}

fn word(body: &[u8]) -> Word {
    let statement = || {
        let database = usize::from(*body.get(8)?);
        let circumstances = usize::from(u16::from_le_bytes([*body.get(11)?, *body.get(12)?]));
        body.get(QUERY_FIXED + circumstances + database + 1..)
    };
    let Some(statement) = statement() else { return Word::Other };
    // Servers write these words themselves, always so.
    match statement {
        b"BEGIN" => Word::Begins,
        b"COMMIT" | b"ROLLBACK" => Word::Ends,
        _ if statement.starts_with(b"XA START") => Word::Begins,
        _ if statement.starts_with(b"XA COMMIT") || statement.starts_with(b"XA ROLLBACK") => Word::Ends,
        _ => Word::Other,
    }
}
