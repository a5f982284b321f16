//! By `mariadb-backup` on the writer's host: its stream is unpacked beside the data, made usable, and takes the place of the data
//! while the server is down.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mmm_core::rebuild::{BackupAnswer, BackupRequest, RebuildStage, in_megabytes};
use mmm_mysql::{Coordinates, Flavour, GtidUse, Repoint, Session, StartAt};
use mmm_net::ProcessHandle;
use mmm_wire::Connection;
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{ChildStdin, Command};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::backup_desk::{BACKUP_TOOLS, last_of};
use super::folders::{Folders, give_to_owner_of};
use super::journal::{Journal, Phase};
use super::mysql::{close, leads_to};
use super::{Trouble, Work};
use crate::peer_calls::open_session;
use crate::server_process::{find_server, tools_beside_server};

const QUICK: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A part, or the word that there is none yet.
const PART_LIMIT: Duration = Duration::from_secs(30);
/// Without an answer for so long it is given up; nothing was changed by then.
const PATIENCE: Duration = Duration::from_mins(1);
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Writing out what the server has, for data that nobody needs any more.
const END_LIMIT: Duration = Duration::from_mins(5);
/// Of a process that was killed, whatever its disk does.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// Applying the log of a backup, however large; it is seen to be at work.
const PREPARE_LIMIT: Duration = Duration::from_hours(24);
const REPORT_EVERY: Duration = Duration::from_secs(1);
const DEFAULT_RETRY: u64 = 60;

type Line = mmm_wire::Session<Connection>;

impl Work {
    /// Ends with a copy that is ready to be used, beside the data; until then nothing of these is touched.
    pub(super) async fn prepare_backup(
        &self,
        journal: &mut Journal,
        mut own: Session,
        mut other: Session,
    ) -> Result<(), Trouble> {
        let folders = own.data_folders(QUICK).await.map_err(Trouble::vain)?;
        if let Some(elsewhere) = folders.elsewhere {
            return Err(Trouble::Vain(format!(
                "a part of the data is outside of {}, in {}: rebuild this host by hand",
                folders.data.display(),
                elsewhere.display()
            )));
        }
        let pid_file =
            own.identity().pid_file.clone().unwrap_or_else(|| self.setup().server_pid_file.clone());
        let tool = |names: &[&str]| {
            let found = tools_beside_server(&pid_file, names).into_iter().next();
            let text = || {
                format!(
                    "there is no {} on this host: install mariadb-backup here and on the writer's host",
                    names[0]
                )
            };
            found.ok_or_else(|| Trouble::Vain(text()))
        };
        let (unpacker, tool) = (tool(&["mbstream"])?, tool(&BACKUP_TOOLS)?);
        let mut by_place = false;
        if let Some(channel) = own.channel(QUICK).await.map_err(Trouble::vain)? {
            journal.tls = channel.tls;
            by_place = channel.gtid == GtidUse::No;
            journal.retry = channel.connect_retry().unwrap_or(DEFAULT_RETRY);
        }
        own.may_set_gtid_history(QUICK).await.map_err(|error| {
            Trouble::Vain(format!("{error}. The agent's account needs RELOAD, LOCK TABLES and REPLICATION MASTER ADMIN on both hosts"))
        })?;
        // What is older than the backup is surely in it.
        let before = other.gtid_state(QUICK).await.map_err(Trouble::vain)?;
        let server_id = own.identity().server_id;
        own.close().await;
        other.close().await;
        let folders = Folders::new(&folders.data);
        folders.begin().await.map_err(Trouble::vain)?;
        let copied = self.receive(journal, &folders, &unpacker).await;
        let ready = match copied {
            Ok(()) => self.make_usable(journal, &folders, &tool).await,
            Err(error) => Err(error),
        };
        let gtid = match ready {
            Ok(()) => position(&folders.new).await,
            Err(error) => Err(error),
        };
        match gtid {
            Ok((gtid, place)) => {
                journal.place = by_place.then_some(place);
                journal.copied_from = Some(journal.from.clone());
                journal.log_state = written_by(server_id, &[&before.binlog_state, &before.slave_pos]);
                journal.gtid = Some(gtid);
                journal.pid_file = Some(pid_file);
                journal.data = Some(folders.data.clone());
                self.enter(journal, Phase::Copy)
            }
            Err(error) => {
                folders.forget_new().await;
                Err(error)
            }
        }
    }

    async fn receive(
        &self,
        journal: &mut Journal,
        folders: &Folders,
        unpacker: &Path,
    ) -> Result<(), Trouble> {
        let mut command = Command::new(unpacker);
        command.arg("-x").arg("-C").arg(&folders.new).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().map_err(Trouble::vain)?;
        let mut into =
            child.stdin.take().ok_or_else(|| Trouble::Vain("mbstream takes nothing".to_owned()))?;
        let copied = self.stream(journal, &mut into).await;
        drop(into);
        let output = timeout(PATIENCE, child.wait_with_output()).await;
        copied?;
        let output = output.map_err(|_| Trouble::Vain("mbstream does not end".to_owned()))?;
        succeeded("mbstream", &output.map_err(Trouble::vain)?)
    }

    /// Hands on what comes, over another connection where one broke.
    async fn stream(&self, journal: &mut Journal, into: &mut ChildStdin) -> Result<(), Trouble> {
        let (mut line, mut number): (Option<Line>, Option<u64>) = (None, None);
        let (mut at, mut heard, mut told) = (0, Instant::now(), Instant::now());
        loop {
            let request = match number {
                None => BackupRequest::BeginBackup,
                Some(number) => BackupRequest::BackupPart { number, at },
            };
            match self.ask(journal, &mut line, &request).await {
                Ok(BackupAnswer::Begun { number: begun }) if number.is_none() => number = Some(begun),
                Ok(BackupAnswer::Part { at: from, bytes, sum }) if from == at => {
                    let bytes = STANDARD.decode(bytes).map_err(Trouble::vain)?;
                    if mmm_mysql::binlog::checksum(&bytes) != sum {
                        // Asked for again.
                        line = None;
                        continue;
                    }
                    unpack(into, &bytes).await?;
                    at += bytes.len() as u64;
                }
                Ok(BackupAnswer::End) => {
                    journal.bytes = at;
                    return Ok(());
                }
                Ok(BackupAnswer::Failed(why)) => {
                    return Err(Trouble::Vain(format!("'{}' can't hand out a backup: {why}", journal.from)));
                }
                Ok(_) => {
                    return Err(Trouble::Vain(format!(
                        "the agent of '{}' was started anew, and the backup ended with it",
                        journal.from
                    )));
                }
                Err(why) => {
                    line = None;
                    if heard.elapsed() >= PATIENCE {
                        return Err(Trouble::Vain(format!(
                            "no answer from the agent of '{}': {why}",
                            journal.from
                        )));
                    }
                    sleep(AGAIN_AFTER).await;
                    continue;
                }
            }
            heard = Instant::now();
            if told.elapsed() >= REPORT_EVERY {
                told = Instant::now();
                self.report(journal, RebuildStage::Copying { done: at, of: None }).await;
            }
        }
    }

    async fn ask(
        &self,
        journal: &Journal,
        line: &mut Option<Line>,
        request: &BackupRequest,
    ) -> Result<BackupAnswer, String> {
        let open = if let Some(open) = line {
            open
        } else {
            let setup = self.setup();
            let address =
                *setup.peers.get(&journal.from).ok_or("this host's configuration does not have it")?;
            let opening = async {
                let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
                open_session(&setup, &journal.from, address, stream, CONNECT_LIMIT).await
            };
            line.insert(timeout(CONNECT_LIMIT, opening).await.map_err(|_| "it can't be connected to")??)
        };
        let exchange = async {
            open.writer.send(request).await.map_err(|error| error.to_string())?;
            let answer = open.reader.next::<BackupAnswer>().await.map_err(|error| error.to_string())?;
            answer.ok_or_else(|| "it closed the connection".to_owned())
        };
        timeout(PART_LIMIT, exchange).await.map_err(|_| "its answer did not come in time".to_owned())?
    }

    async fn make_usable(&self, journal: &Journal, folders: &Folders, tool: &Path) -> Result<(), Trouble> {
        let text = format!(
            "{} copied; what was written meanwhile is applied to the copy",
            in_megabytes(journal.bytes)
        );
        self.report(journal, RebuildStage::Working(text)).await;
        let mut command = Command::new(tool);
        command.arg("--prepare").arg(format!("--target-dir={}", folders.new.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(Trouble::vain)?;
        let output = timeout(PREPARE_LIMIT, child.wait_with_output()).await;
        let output = output.map_err(|_| Trouble::Vain("mariadb-backup --prepare does not end".to_owned()))?;
        succeeded("mariadb-backup --prepare", &output.map_err(Trouble::vain)?)?;
        let (new, data) = (folders.new.clone(), folders.data.clone());
        let given = spawn_blocking(move || give_to_owner_of(&data, &new)).await.map_err(Trouble::vain)?;
        given.map_err(|error| Trouble::Vain(format!("the copy can't be given to the server's user: {error}")))
    }

    /// The server ends, and the copy takes the place of its data. Each step may have been taken before.
    pub(super) async fn exchange(&self, journal: &mut Journal) -> Result<(), Trouble> {
        let Some(data) = journal.data.clone() else {
            return Err(Trouble::Broken("it is not known where the data are".to_owned()));
        };
        let folders = Folders::new(&data);
        if !folders.is_exchanged() {
            self.report(
                journal,
                RebuildStage::Working("the copy is ready; the server is stopped for it".to_owned()),
            )
            .await;
            if let Ok(mut own) = self.session().await {
                close(&mut own).await?;
                if own.channel(QUICK).await.map_err(Trouble::broken)?.is_some() {
                    own.stop_replication(STOP_LIMIT).await.map_err(Trouble::broken)?;
                }
            }
            let setup = self.setup();
            let pid_files =
                || journal.pid_file.as_deref().into_iter().chain([setup.server_pid_file.as_path()]);
            while let Some(process) = find_server(pid_files()) {
                tracing::warn!(
                    "Stopping the server: the data of '{}' take the place of its own",
                    journal.from
                );
                end(&process).await?;
            }
            let exchanged = folders.exchange().await;
            exchanged
                .map_err(|error| Trouble::Broken(format!("the copy could not be put in place: {error}")))?;
        }
        self.enter(journal, Phase::Start)
    }

    pub(super) async fn attach_backup(&self, journal: &mut Journal, mut own: Session) -> Result<(), Trouble> {
        let donor = self.donor(journal)?;
        let gtid = journal.gtid.clone().unwrap_or_default();
        let channel = own.channel(QUICK).await.map_err(Trouble::broken)?;
        if channel.is_some() {
            own.stop_replication(STOP_LIMIT).await.map_err(Trouble::broken)?;
        } else {
            own.set_gtid_history(&gtid, &journal.log_state, QUICK).await.map_err(Trouble::broken)?;
        }
        let to = Repoint {
            host: donor.server.ip.to_string(),
            port: donor.server.port,
            account: donor.replication.clone(),
            at: match journal.place.as_ref().filter(|_| journal.copied_from.as_ref() == Some(&journal.from)) {
                Some((file, pos)) => StartAt::Log(Coordinates { file: file.clone(), pos: *pos }),
                None => StartAt::Gtid(GtidUse::SlavePos),
            },
        };
        // From its place everything would be applied once more.
        let is_there = channel.is_some_and(|channel| leads_to(&channel, &donor));
        if matches!(to.at, StartAt::Gtid(_)) || !is_there {
            own.repoint(&to, QUICK).await.map_err(Trouble::broken)?;
        }
        own.set_channel_retry(journal.tls, journal.retry, QUICK).await.map_err(Trouble::broken)?;
        self.lead_the_writer_back(&donor, &mut own).await?;
        own.start_replication(QUICK).await.map_err(Trouble::broken)?;
        own.close().await;
        if let Some(data) = &journal.data
            && let Err(error) = Folders::new(data).forget_old().await
        {
            tracing::error!("The data that this host had before can't be removed: {error}");
        }
        Ok(())
    }
}

/// Nothing was changed when the disk, or the program, takes nothing more.
async fn unpack(into: &mut ChildStdin, bytes: &[u8]) -> Result<(), Trouble> {
    match timeout(PATIENCE, into.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Trouble::Vain(format!("unpacking failed: {error}"))),
        Err(_) => Err(Trouble::Vain(format!(
            "mbstream has taken nothing for {} s: does the disk of the data take writes?",
            PATIENCE.as_secs()
        ))),
    }
}

/// In order as long as that goes, otherwise by force: what only its data had was saved before.
async fn end(process: &ProcessHandle) -> Result<(), Trouble> {
    process.terminate().map_err(Trouble::broken)?;
    if timeout(END_LIMIT, process.exited()).await.is_ok() {
        return Ok(());
    }
    tracing::error!(
        "The server (process {}) has not ended within {} s and is killed: its data are not needed any more",
        process.pid(),
        END_LIMIT.as_secs()
    );
    process.kill().map_err(Trouble::broken)?;
    timeout(KILL_LIMIT, process.exited()).await.map_err(|_| {
        Trouble::Broken(format!(
            "the server (process {}) does not end though it was killed: look at its disk, or boot this host anew",
            process.pid()
        ))
    })
}

fn succeeded(what: &str, output: &Output) -> Result<(), Trouble> {
    if output.status.success() {
        return Ok(());
    }
    Err(Trouble::Vain(format!("{what} failed ({}): {}", output.status, last_of(&output.stderr))))
}

/// What a backup says of where it was made: its GTID, and the place in the log.
async fn position(copy: &Path) -> Result<(String, (String, u64)), Trouble> {
    for name in ["mariadb_backup_binlog_info", "xtrabackup_binlog_info"] {
        if let Ok(text) = fs::read_to_string(copy.join(name)).await {
            let words: Vec<&str> = text.split_whitespace().collect();
            let told = match words[..] {
                [file, pos, gtid] => pos.parse().ok().map(|pos| (gtid.to_owned(), (file.to_owned(), pos))),
                _ => None,
            };
            return told.ok_or_else(|| {
                Trouble::Vain(format!("the backup does not say its place and GTID: '{}'", text.trim()))
            });
        }
    }
    Err(Trouble::Vain(
        "the backup does not say where it was made: does the writer keep a binary log?".to_owned(),
    ))
}

/// The last that a server wrote in each domain: the past of its own log. The other master goes on behind exactly that, and finds it
/// only where nothing follows it.
fn written_by(own: u64, words: &[&str]) -> String {
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for gtid in words.iter().flat_map(|word| word.split(',')) {
        let numbers: Vec<u64> = gtid.trim().split('-').filter_map(|number| number.parse().ok()).collect();
        let [domain, server, number] = numbers[..] else { continue };
        if server == own {
            let before = last.entry(domain).or_default();
            *before = number.max(*before);
        }
    }
    let all: Vec<String> = last.iter().map(|(domain, number)| format!("{domain}-{own}-{number}")).collect();
    all.join(",")
}

pub(super) fn is_mariadb(session: &Session) -> bool {
    session.identity().flavour == Flavour::MariaDb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_of_a_log_is_what_its_own_server_wrote() {
        assert_eq!(written_by(12, &["0-12-40,0-13-50", "0-12-41", "5-12-3"]), "0-12-41,5-12-3");
        assert_eq!(written_by(12, &["0-13-60", ""]), "");
    }

    #[tokio::test]
    async fn the_place_of_a_backup_is_read_by_either_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(position(folder.path()).await.is_err());
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("xtrabackup_binlog_info", "mysql-bin.000001\t4711\t0-13-60\n");
        let told = ("0-13-60".to_owned(), ("mysql-bin.000001".to_owned(), 4711));
        assert_eq!(position(folder.path()).await.ok().unwrap(), told);
        write("mariadb_backup_binlog_info", "mysql-bin.000001\t4711\n");
        assert!(position(folder.path()).await.is_err());
    }
}
