//! Disks of servers that fill up or stand still. The data directory is put on a file system of its own first (ext4 in a file), so that
//! nothing but that server notices.

use std::process::Command;
use std::time::Duration;

use crate::command::run;
use crate::error::{LabError, Result};
use crate::host::Program;
use crate::lab::Lab;
use crate::moment::Moment;
use crate::process::{Life, ProcessId};

/// Moves the data over. The image lies on the host's /run; the mount keeps it when a reboot empties that.
const OWN_DISK: &str = "set -e; image=/run/data.image; new=/run/data.new; \
    truncate -s 800M $image; mkfs.ext4 -q -F $image; mkdir -p $new; mount -o loop $image $new; \
    cp -a /var/lib/mysql/. $new/; chown --reference=/var/lib/mysql $new; umount $new; rmdir $new; \
    mount -o loop $image /var/lib/mysql";
/// What else lies there would stand still with the data: the whole machine, at worst.
const IS_OWN: &str = "findmnt -n -o SOURCE /var/lib/mysql | grep -q '^/dev/loop' || \
    { echo 'the data has no disk of its own'; exit 1; }; ";

impl Lab {
    /// Puts the data directory of a host's server on a disk of its own. A server that runs is restarted.
    pub fn own_disk(&self, host: &str) -> Result<()> {
        let runs = self.life(host, Program::Server)? != Life::Ended;
        if runs {
            self.stop(host, Program::Server)?;
        }
        self.on_disk(host, OWN_DISK)?;
        if runs {
            self.start(host, Program::Server)?;
        }
        Ok(())
    }

    /// Storage that does not answer any more: every write to the data directory hangs, reads of what is in memory go on. Needs
    /// [`Lab::own_disk`].
    pub fn stall_storage(&self, host: &str) -> Result<Moment> {
        let at = Moment::now();
        self.on_disk(host, &format!("{IS_OWN} fsfreeze -f /var/lib/mysql"))?;
        self.store.update(|state| {
            state.stalled.insert(host.to_owned());
            Ok(at)
        })
    }

    /// The storage answers again.
    pub fn resume_storage(&self, host: &str) -> Result<Moment> {
        let at = Moment::now();
        self.on_disk(host, &format!("{IS_OWN} fsfreeze -u /var/lib/mysql"))?;
        self.store.update(|state| {
            state.stalled.remove(host);
            Ok(at)
        })
    }

    /// Whether the data directory lies on a disk of its own that stands still. It only asks: a write would hang there as well.
    pub fn has_stalled_storage(&self, host: &str) -> Result<bool> {
        Ok(self.store.read()?.stalled.contains(host))
    }

    /// Takes all room from the data directory. Needs [`Lab::own_disk`].
    pub fn fill_data_disk(&self, host: &str) -> Result<Moment> {
        let at = Moment::now();
        self.on_disk(host, &format!("{IS_OWN} cat /dev/zero >/var/lib/mysql/filler 2>/dev/null || true"))?;
        Ok(at)
    }

    /// And gives it back.
    pub fn empty_data_disk(&self, host: &str) -> Result<Moment> {
        let at = Moment::now();
        self.on_disk(host, &format!("{IS_OWN} rm -f /var/lib/mysql/filler"))?;
        Ok(at)
    }

    fn on_disk(&self, host: &str, script: &str) -> Result<()> {
        let output = self.exec_within(host, &["sh", "-c", script], Duration::from_mins(1))?;
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

/// Processes that wait for storage that stands still can't be killed, so it goes on first. Where nothing stands still this is refused.
pub(crate) fn resume(holder: ProcessId) {
    let pid = holder.pid.to_string();
    let script = format!("{IS_OWN} fsfreeze -u /var/lib/mysql");
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "--mount", "--", "sh", "-c", &script]);
    let _ = run(command, Duration::from_secs(5));
}
