//! Keeps the certificates as the files are: looked at before a handshake, read again when they have changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::certificates::Certificates;
use super::files::{Stamp, TlsFileError, TlsFiles};

/// The files are replaced one after the other; they are read when nothing has changed for so long.
const SETTLE: Duration = Duration::from_secs(1);

/// A disk that does not answer holds up a handshake for so long, and then no longer.
const LOOK_LIMIT: Duration = Duration::from_millis(200);

/// The certificates of one program.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    kept: Mutex<Kept>,
    /// One look at a time: one that hangs must not take a thread for each handshake.
    looking: Arc<Semaphore>,
}

#[derive(Debug)]
struct Kept {
    certificates: Certificates,
    /// The files as they were when they were last read, whether or not they could be used. `None` when that is not known.
    seen: Option<Stamp>,
}

impl Tls {
    /// Reads the files, and refuses what no peer would ever take.
    pub fn load(files: TlsFiles) -> Result<Self, TlsFileError> {
        // Before they are read: what changes in between is read again.
        let seen = files.stamp();
        let certificates = Certificates::load(&files)?;
        let kept = Mutex::new(Kept { certificates, seen });
        Ok(Self { files, kept, looking: Arc::new(Semaphore::new(1)) })
    }

    pub(super) fn files(&self) -> &TlsFiles {
        &self.files
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        self.kept().certificates.warnings.clone()
    }

    /// What a handshake that begins now goes by.
    pub(super) async fn current(self: &Arc<Self>) -> Certificates {
        if let Ok(permit) = Arc::clone(&self.looking).try_acquire_owned() {
            let this = Arc::clone(self);
            let look = spawn_blocking(move || {
                this.look();
                drop(permit);
            });
            let _ = timeout(LOOK_LIMIT, look).await;
        }
        self.kept().certificates.clone()
    }

    /// Reads the files if they are others than those that were read last.
    fn look(&self) {
        let Some(stamp) = self.files.stamp() else {
            // In the middle of being replaced, perhaps; told of once.
            if self.kept().seen.take().is_some() {
                tracing::error!(
                    "A file of <socket> can't be looked at, the certificates read before stay in use: cert_file {}, key_file {}, ca_file {}",
                    self.files.cert_file.display(),
                    self.files.key_file.display(),
                    self.files.ca_file.display()
                );
            }
            return;
        };
        if self.kept().seen == Some(stamp) || !stamp.has_settled(SETTLE) {
            return;
        }
        let read = Certificates::load(&self.files);
        let mut kept = self.kept();
        kept.seen = Some(stamp);
        match read {
            Ok(certificates) => {
                tracing::info!(
                    "The certificates of <socket> have changed: new connections use {}",
                    self.files.cert_file.display()
                );
                for warning in &certificates.warnings {
                    tracing::warn!("{warning}");
                }
                kept.certificates = certificates;
            }
            Err(error) => {
                tracing::error!(
                    "The changed certificates can't be used, those read before stay in use: {error}"
                );
            }
        }
    }
}
