//! Links that carry little: what one host sends to another leaves at a given rate, and everything else as fast as ever.

use std::time::Duration;

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::moment::Moment;

const LIMIT: Duration = Duration::from_secs(10);

impl Lab {
    /// From now on `from` sends to `to` no more than so many kilobits in a second; one pair at a time for each sender.
    pub fn slow_link(&self, from: &str, to: &str, kilobits: u32) -> Result<Moment> {
        let ip = self.host(to)?.ip.clone();
        let at = Moment::now();
        self.on_link(
            from,
            &format!(
                "set -e; tc qdisc replace dev eth0 root handle 1: htb default 1; \
                 tc class replace dev eth0 parent 1: classid 1:1 htb rate 10gbit quantum 60000; \
                 tc class replace dev eth0 parent 1: classid 1:3 htb rate {kilobits}kbit; \
                 nft add table ip slow; nft flush table ip slow; \
                 nft 'add chain ip slow out {{ type filter hook postrouting priority 0; }}'; \
                 nft add rule ip slow out ip daddr {ip} meta priority set 1:3"
            ),
        )?;
        Ok(at)
    }

    /// Ends [`Lab::slow_link`].
    pub fn full_speed(&self, from: &str) -> Result<Moment> {
        let at = Moment::now();
        self.on_link(from, "nft delete table ip slow; tc qdisc del dev eth0 root")?;
        Ok(at)
    }

    fn on_link(&self, host: &str, script: &str) -> Result<()> {
        let output = self.exec_within(host, &["sh", "-c", script], LIMIT)?;
        if output.success() {
            return Ok(());
        }
        Err(LabError::Command {
            command: format!("{script} (on {host})"),
            code: output.code.to_string(),
            output: output.text().trim().to_owned(),
        })
    }
}
