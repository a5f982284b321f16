//! The log in 2.2.1's form: `YYYY/MM/DD HH:MM:SS LEVEL message`, into a file and, in the foreground, to stdout.
//!
//! The file is opened again when it was renamed away, so logrotate needs no signal.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use mmm_core::LogLevel;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// The target that turns an error event into FATAL, a level that `tracing` does not have.
pub const FATAL: &str = "mmm::fatal";

/// Logs what a mind wants logged.
pub fn log(level: LogLevel, text: &str) {
    match level {
        LogLevel::Debug => tracing::debug!("{text}"),
        LogLevel::Info => tracing::info!("{text}"),
        LogLevel::Warn => tracing::warn!("{text}"),
        LogLevel::Error => tracing::error!("{text}"),
        LogLevel::Fatal => tracing::error!(target: FATAL, "{text}"),
    }
}

/// Where the log goes.
#[derive(Clone, Debug)]
pub struct LogSettings {
    pub file: PathBuf,
    /// Also write to stdout.
    pub foreground: bool,
    pub debug: bool,
}

/// Now, as the log and `checks` write it.
pub fn wall_clock() -> String {
    Zoned::now().strftime("%Y/%m/%d %H:%M:%S").to_string()
}

/// A moment as milliseconds since 1970, to the millisecond.
pub fn wall_clock_of(unix_ms: i64) -> String {
    let Ok(moment) = Timestamp::from_millisecond(unix_ms) else { return "-".to_owned() };
    moment.to_zoned(TimeZone::system()).strftime("%Y/%m/%d %H:%M:%S%.3f").to_string()
}

/// Starts logging for the whole process. A log file that can't be opened is told on stderr and is no reason to stop.
pub fn start_log(settings: LogSettings) {
    if let Some(folder) = settings.file.parent() {
        // A failure shows at once when the file is opened.
        let _ = fs::create_dir_all(folder);
    }
    if let Err(error) = open(&settings.file) {
        eprintln!("warning: can't write the log file {}: {error}", settings.file.display());
    }
    let level = if settings.debug { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let sink = Sink { file: Mutex::new(None), settings };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .event_format(Lines)
        .with_writer(move || sink.line())
        .finish();
    // Fails only when a log was started before, and then that one goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

struct Sink {
    settings: LogSettings,
    file: Mutex<Option<(File, u64)>>,
}

/// Collects one line, so that it reaches the file in one write even with two processes logging.
struct Line {
    text: Vec<u8>,
    settings: LogSettings,
    file: Option<File>,
}

impl Sink {
    fn line(&self) -> Line {
        Line { text: Vec::new(), settings: self.settings.clone(), file: self.take() }
    }

    /// The open file, opened again where its name leads to another one by now.
    fn take(&self) -> Option<File> {
        let mut slot = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let named = fs::metadata(&self.settings.file).map(|meta| meta.ino()).ok();
        if slot.as_ref().map(|(_, inode)| *inode) != named || named.is_none() {
            *slot = open(&self.settings.file).ok().and_then(|file| {
                let inode = file.metadata().ok()?.ino();
                Some((file, inode))
            });
        }
        slot.as_ref().and_then(|(file, _)| file.try_clone().ok())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A full disk must not stop a daemon: what can't be logged is lost.
        if let Some(file) = &mut self.file {
            let _ = file.write_all(&self.text);
        }
        if self.settings.foreground {
            let _ = io::stdout().write_all(&self.text);
        }
    }
}

struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match (*event.metadata().level(), event.metadata().target()) {
            (Level::ERROR, FATAL) => "FATAL",
            (Level::ERROR, _) => "ERROR",
            (Level::WARN, _) => " WARN",
            (Level::INFO, _) => " INFO",
            (Level::DEBUG | Level::TRACE, _) => "DEBUG",
        };
        let mut text = Text(String::new());
        event.record(&mut text);
        writeln!(writer, "{} {level} {}", wall_clock(), text.0)
    }
}

/// The message and after it any other fields.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        // Writing into a string can't fail.
        let _ = if field.name() == "message" {
            let rest = std::mem::take(&mut self.0);
            write!(self.0, "{value:?}{rest}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_form_of_2_2_1_and_follow_a_rotated_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/mmm_mond.log");
        start_log(LogSettings { file: path.clone(), foreground: false, debug: false });
        tracing::info!("first");
        tracing::error!(target: FATAL, "second {}", 2);
        tracing::debug!("not shown");
        fs::rename(&path, folder.path().join("old.log")).unwrap();
        tracing::warn!("third");
        let old = fs::read_to_string(folder.path().join("old.log")).unwrap();
        let new = fs::read_to_string(&path).unwrap();
        let tails: Vec<&str> = old.lines().map(|line| &line[19..]).collect();
        assert_eq!(tails, ["  INFO first", " FATAL second 2"]);
        assert_eq!(&new[19..], "  WARN third\n");
        assert!(new[..19].chars().all(|c| c.is_ascii_digit() || "/: ".contains(c)), "{new}");
    }
}
