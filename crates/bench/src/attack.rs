//! The attack on the control port, as it runs on the monitor's host: idle connections, and floods of random bytes one after another.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Attack {
    #[arg(long, default_value = "127.0.0.1:9988")]
    target: String,
    #[arg(long, default_value_t = 500)]
    connections: usize,
    #[arg(long, default_value_t = 1 << 20)]
    flood_bytes: usize,
}

impl Attack {
    /// Attacks until it is killed. Prints `ready` once the idle connections stand, then a line for each flood that begins.
    pub(crate) fn run(&self) -> Result<()> {
        let mut idle = Vec::new();
        for number in 0..self.connections {
            let stream = TcpStream::connect(&self.target)
                .with_context(|| format!("open connection {number} to {}", self.target))?;
            idle.push(stream);
        }
        println!("ready");
        let mut noise = vec![0; self.flood_bytes];
        getrandom::fill(&mut noise).context("get random bytes")?;
        loop {
            println!("flood");
            self.flood(&noise)?;
        }
    }

    /// Sends everything while reading what is answered. Being cut off is a legitimate answer.
    fn flood(&self, noise: &[u8]) -> Result<()> {
        let mut stream = TcpStream::connect(&self.target).context("connect for a flood")?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).context("set a limit on reading")?;
        let mut answers = stream.try_clone().context("read beside writing")?;
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8 * 1024];
            while matches!(answers.read(&mut buffer), Ok(read) if read > 0) {}
        });
        match stream.write_all(noise) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            Err(error) => return Err(error).context("send a flood"),
        }
        // Already closed from the other side is as good.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = reader.join();
        Ok(())
    }
}
