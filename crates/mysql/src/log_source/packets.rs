//! Packets of the client protocol, the server's side, as a receiving thread of either family needs them.

use std::io;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SourceLog;
use crate::dialect::Flavour;

/// A packet that is as long as this one is followed by another of the same thing.
const PACKET_MAX: usize = 0xFF_FFFF;
/// Questions of receivers are short; the longest one names all GTIDs that its server has.
const QUESTION_MAX: usize = 32 * 1024 * 1024;
/// A receiver that takes nothing for so long is given up.
const SEND_LIMIT: Duration = Duration::from_secs(60);
const LOGIN_LIMIT: Duration = Duration::from_secs(10);

const CLIENT_LONG_PASSWORD: u32 = 1;
const CLIENT_LONG_FLAG: u32 = 4;
const CLIENT_CONNECT_WITH_DB: u32 = 8;
const CLIENT_PROTOCOL_41: u32 = 0x200;
const CLIENT_TRANSACTIONS: u32 = 0x2000;
const CLIENT_SECURE_CONNECTION: u32 = 0x8000;
const CLIENT_PLUGIN_AUTH: u32 = 0x8_0000;
const CLIENT_PLUGIN_AUTH_LENENC: u32 = 0x20_0000;
const STATUS_AUTOCOMMIT: u16 = 2;
const UTF8: u8 = 33;
const VAR_STRING: u8 = 0xFD;

#[derive(Debug)]
pub(super) struct Packets {
    stream: BufWriter<TcpStream>,
    sequence: u8,
    /// What stands before each event.
    mark: &'static [u8],
}

const IS_EVENT: &[u8] = &[0];
/// One who acknowledges finds out there for what: for nothing.
const IS_UNACKNOWLEDGED_EVENT: &[u8] = &[0, 0xEF, 0];

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// For what never outgrows one byte.
fn length(text: &str) -> u8 {
    u8::try_from(text.len().min(250)).unwrap_or(250)
}

fn sized(text: &str) -> Vec<u8> {
    [&[length(text)], &text.as_bytes()[..usize::from(length(text))]].concat()
}

impl Packets {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: BufWriter::with_capacity(256 * 1024, stream), sequence: 0, mark: IS_EVENT }
    }

    /// Greets and lets in whoever comes as the channel's account. Nothing is asked of the password: it is the old source's business,
    /// and not known here.
    pub(super) async fn greet(&mut self, log: &SourceLog) -> io::Result<()> {
        timeout(LOGIN_LIMIT, self.let_in(log)).await.map_err(|_| broken("it did not log in in time"))?
    }

    async fn let_in(&mut self, log: &SourceLog) -> io::Result<()> {
        let (version, plugin) = match log.flavour {
            Flavour::MariaDb => (format!("5.5.5-{}", log.server_version), "mysql_native_password"),
            Flavour::MySql => (log.server_version.clone(), "caching_sha2_password"),
        };
        let capabilities = CLIENT_LONG_PASSWORD
            | CLIENT_LONG_FLAG
            | CLIENT_CONNECT_WITH_DB
            | CLIENT_PROTOCOL_41
            | CLIENT_TRANSACTIONS
            | CLIENT_SECURE_CONNECTION
            | CLIENT_PLUGIN_AUTH
            | CLIENT_PLUGIN_AUTH_LENENC;
        let capabilities = capabilities.to_le_bytes();
        // What the client makes of these bytes is not looked at.
        let salt = [b's'; 20];
        let mut greeting = vec![10];
        greeting.extend(version.as_bytes());
        greeting.extend([0, 1, 0, 0, 0]);
        greeting.extend(&salt[..8]);
        greeting.push(0);
        greeting.extend(&capabilities[..2]);
        greeting.push(UTF8);
        greeting.extend(STATUS_AUTOCOMMIT.to_le_bytes());
        greeting.extend(&capabilities[2..]);
        greeting.push(21);
        greeting.extend([0; 10]);
        greeting.extend(&salt[8..]);
        greeting.push(0);
        greeting.extend(plugin.as_bytes());
        greeting.push(0);
        self.send(&greeting).await?;
        let login = self.read().await?;
        let user = login.get(32..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        if user != log.user.as_bytes() {
            self.error(1045, "Access denied: this is not the account of the channel").await?;
            return Err(broken("it came as somebody else"));
        }
        let password = login.get(32 + user.len() + 1).copied().unwrap_or_default();
        if log.flavour == Flavour::MySql && password > 0 {
            // "Right, as far as is remembered": the client need not prove it again.
            self.send(&[1, 3]).await?;
        }
        self.ok().await
    }

    pub(super) async fn read_command(&mut self) -> io::Result<Vec<u8>> {
        self.read().await
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let mut head = [0; 4];
            self.stream.get_mut().read_exact(&mut head).await?;
            let size = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
            self.sequence = head[3].wrapping_add(1);
            if whole.len() + size > QUESTION_MAX {
                return Err(broken("it asks too much"));
            }
            let begins = whole.len();
            whole.resize(begins + size, 0);
            self.stream.get_mut().read_exact(&mut whole[begins..]).await?;
            if size < PACKET_MAX {
                return Ok(whole);
            }
        }
    }

    async fn head(&mut self, size: usize) -> io::Result<()> {
        let size = u32::try_from(size).map_err(|_| broken("a packet is too long"))?.to_le_bytes();
        self.stream.write_all(&[size[0], size[1], size[2], self.sequence]).await?;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    async fn put(&mut self, payload: &[u8]) -> io::Result<()> {
        self.head(payload.len()).await?;
        self.stream.write_all(payload).await
    }

    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.put(payload).await?;
        self.flush().await
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        timeout(SEND_LIMIT, self.stream.flush()).await.map_err(|_| broken("it takes nothing"))?
    }

    pub(super) async fn ok(&mut self) -> io::Result<()> {
        let status = STATUS_AUTOCOMMIT.to_le_bytes();
        self.send(&[0, 0, 0, status[0], status[1], 0, 0]).await
    }

    pub(super) async fn error(&mut self, code: u16, text: &str) -> io::Result<()> {
        self.send(&[&[0xFF], &code.to_le_bytes()[..], b"#HY000", text.as_bytes()].concat()).await
    }

    async fn end_of_part(&mut self) -> io::Result<()> {
        let status = STATUS_AUTOCOMMIT.to_le_bytes();
        self.put(&[0xFE, 0, 0, status[0], status[1]]).await
    }

    /// An answer of one row.
    pub(super) async fn row(&mut self, columns: &[&str], values: &[String]) -> io::Result<()> {
        self.put(&[u8::try_from(columns.len()).unwrap_or(0)]).await?;
        for column in columns {
            let mut definition = sized("def");
            for text in ["", "", "", column, ""] {
                definition.extend(sized(text));
            }
            definition.extend([12, UTF8, 0, 0, 1, 0, 0, VAR_STRING, 0, 0, 0, 0, 0]);
            self.put(&definition).await?;
        }
        self.end_of_part().await?;
        let row: Vec<u8> = values.iter().flat_map(|value| sized(value)).collect();
        self.put(&row).await?;
        self.end_of_part().await?;
        self.flush().await
    }

    /// From here on each event says whether it is to be acknowledged, as a receiver wants it that has said that it acknowledges.
    pub(super) fn ask_for_no_acknowledgement(&mut self) {
        self.mark = IS_UNACKNOWLEDGED_EVENT;
    }

    /// One event that is in memory; they are short.
    pub(super) async fn event(&mut self, event: &[u8]) -> io::Result<()> {
        self.put(&[self.mark, event].concat()).await
    }

    /// One event whose head has been read, however long it is.
    pub(super) async fn event_from(&mut self, header: &[u8], rest: &mut File, size: u64) -> io::Result<()> {
        let mut left = usize::try_from(size).map_err(|_| broken("an event is too long"))? + self.mark.len();
        let mut begins: Vec<u8> = [self.mark, header].concat();
        loop {
            let part = left.min(PACKET_MAX);
            self.head(part).await?;
            let first = begins.len();
            self.stream.write_all(&begins).await?;
            begins.clear();
            let mut wanted = part - first;
            let mut buffer = vec![0; wanted.min(64 * 1024)];
            while wanted > 0 {
                let some = &mut buffer[..wanted.min(64 * 1024)];
                rest.read_exact(some).await?;
                let sending = timeout(SEND_LIMIT, self.stream.write_all(some));
                sending.await.map_err(|_| broken("it takes nothing"))??;
                wanted -= some.len();
            }
            left -= part;
            if part < PACKET_MAX {
                return Ok(());
            }
        }
    }

    /// The receiver has all there is; it leaves when it is stopped.
    pub(super) async fn wait_for_end(&mut self) -> io::Result<()> {
        let mut byte = [0; 64];
        while self.stream.get_mut().read(&mut byte).await? > 0 {}
        Ok(())
    }
}
