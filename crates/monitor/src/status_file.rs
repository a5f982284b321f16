//! Keeps the status file as the mind wants it. A disk that takes no writes is told loudly and stops nothing.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// A failed write is tried again after this long.
const AGAIN: Duration = Duration::from_secs(5);

/// Writes each new text; ends, with the last one written, when the mind is gone.
pub(crate) async fn write_changes(path: PathBuf, mut texts: watch::Receiver<String>) {
    let mut failing = false;
    while texts.changed().await.is_ok() {
        loop {
            let text = texts.borrow_and_update().clone();
            let file = path.clone();
            let written = tokio::task::spawn_blocking(move || write(&file, &text)).await;
            let problem = match written {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            match problem {
                None => {
                    if failing {
                        tracing::info!("The status file {} can be written again", path.display());
                    }
                    failing = false;
                    break;
                }
                Some(problem) => {
                    failing = true;
                    mmm_daemon::fatal!(
                        "Can't write the status file {}: {problem}. The monitor goes on without it, but a restart would not know the present states; trying again in {} s",
                        path.display(),
                        AGAIN.as_secs()
                    );
                }
            }
            // A newer text is worth an attempt at once, and so is the end of the program.
            if let Ok(Err(_)) = timeout(AGAIN, texts.changed()).await {
                return;
            }
        }
    }
}

fn write(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    mmm_daemon::write_state(path, text)
}
