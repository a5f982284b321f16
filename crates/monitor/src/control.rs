//! The control port: lines in, answers out, each client in a task of its own and none without a limit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mmm_daemon::Seldom;
use mmm_wire::{Connection, ControlDecoder, ControlEvent, LINE_TOO_LONG_ANSWER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::setup::Setup;

/// More clients are closed at once.
const CLIENTS_MAX: usize = 1000;
/// A client may be silent for this long.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// A client has shown its certificate within this time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// A client that does not read its answer is closed after this long.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// A planned move answers when the role has moved, or is back again; it has limits of its own.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A line from a client, and where its answer goes.
pub(crate) struct Command {
    pub(crate) line: String,
    pub(crate) answer: oneshot::Sender<String>,
}

pub(crate) struct ControlPort {
    port: TcpListener,
    /// With a secret in use, a command from another host would need to prove it, and lines can't; a certificate does.
    setup: watch::Receiver<Arc<Setup>>,
    commands: mpsc::Sender<Command>,
}

impl ControlPort {
    pub(crate) async fn bind(
        setup: watch::Receiver<Arc<Setup>>,
        commands: mpsc::Sender<Command>,
    ) -> Result<Self> {
        let listen = setup.borrow().listen;
        let port = TcpListener::bind(listen).await.with_context(|| {
            format!(
                "listen for mmm_control on {listen} (ip and port of <monitor>): is another monitor running, or does the address belong to another host?"
            )
        })?;
        Ok(Self { port, setup, commands })
    }

    pub(crate) async fn run(self) {
        let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
        let refusals = Arc::new(Seldom::default());
        loop {
            let (stream, caller) = match self.port.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("Can't accept a client on the control port: {error}");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&clients).try_acquire_owned() else {
                tracing::debug!("Closing the client {caller}: {CLIENTS_MAX} others are connected already");
                continue;
            };
            let transport = self.setup.borrow().transport.clone();
            let own_host_only = self.setup.borrow().secret.is_some() && !transport.is_authenticated();
            let refused = own_host_only && !is_own_host(&stream, caller);
            let commands = self.commands.clone();
            let refusals = Arc::clone(&refusals);
            tokio::spawn(async move {
                let _permit = permit;
                if refused {
                    return refuse(stream, caller).await;
                }
                // Answers are small and awaited.
                let _ = stream.set_nodelay(true);
                let limit = if transport.is_authenticated() { HANDSHAKE_LIMIT } else { IDLE_LIMIT };
                match transport.accept(stream, &format!("client at {caller}"), limit).await {
                    Ok(stream) => serve(stream, caller, commands).await,
                    Err(error) if error.is_silence() || !refusals.tell(caller.ip(), &error.to_string()) => {
                        tracing::debug!("{error}");
                    }
                    Err(error) => tracing::warn!("{error}"),
                }
            });
        }
    }
}

/// A connection that comes from the very address it arrived at, or from the loopback range.
fn is_own_host(stream: &TcpStream, caller: SocketAddr) -> bool {
    let ip = caller.ip();
    ip.is_loopback() || stream.local_addr().is_ok_and(|local| local.ip() == ip)
}

async fn refuse(mut stream: TcpStream, caller: SocketAddr) {
    tracing::warn!("Refused commands from {caller}: with secret_file set they are taken from this host only");
    let answer = b"ERROR: This monitor uses a secret and takes commands from its own host only. Run mmm_control there.";
    // Whether a stranger hears it is of no concern.
    let _ = timeout(WRITE_LIMIT, stream.write_all(answer)).await;
}

async fn serve(mut stream: Connection, caller: SocketAddr, commands: mpsc::Sender<Command>) {
    converse(&mut stream, caller, commands).await;
    // Inside TLS an answer is whole only with the farewell behind it.
    let _ = timeout(WRITE_LIMIT, stream.shutdown()).await;
}

async fn converse(stream: &mut Connection, caller: SocketAddr, commands: mpsc::Sender<Command>) {
    let mut decoder = ControlDecoder::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some(event) = decoder.next_event() {
            let answer = match event {
                ControlEvent::Line(line) => {
                    tracing::debug!("Command from {caller}: {line:?}");
                    answer(&commands, line).await
                }
                ControlEvent::Quit => return,
                ControlEvent::TooLong => LINE_TOO_LONG_ANSWER.to_owned(),
            };
            let written = timeout(WRITE_LIMIT, async {
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await
            });
            if !matches!(written.await, Ok(Ok(()))) {
                tracing::debug!("The client {caller} does not take its answer");
                return;
            }
        }
        if decoder.is_finished() {
            return;
        }
        match timeout(IDLE_LIMIT, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => decoder.half_close(),
            Ok(Ok(read)) => decoder.push(buffer.get(..read).unwrap_or_default()),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn answer(commands: &mpsc::Sender<Command>, line: String) -> String {
    let (answer, answered) = oneshot::channel();
    let asked = async {
        commands.send(Command { line, answer }).await.ok()?;
        answered.await.ok()
    };
    match timeout(ANSWER_LIMIT, asked).await {
        Ok(Some(text)) => text,
        Ok(None) => "ERROR: The monitor is ending.".to_owned(),
        Err(_) => format!(
            "ERROR: No answer within {} s; the command may still take effect, see 'mmm_control show'.",
            ANSWER_LIMIT.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests;
