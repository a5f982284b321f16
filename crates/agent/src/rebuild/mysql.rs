//! With the clone plugin of `MySQL`: the server itself copies the other one, throws its own data away for it, and ends. A server of
//! `MariaDB` has none: `mariadb` has its part of each phase.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use mmm_core::HostName;
use mmm_core::rebuild::RebuildStage;
use mmm_mysql::{
    Channel, Flavour, GtidUse, ReadOnlyOutcome, Repoint, ServerError, Session, StartAt, Version,
};
use tokio::fs;
use tokio::time::{Instant, sleep, timeout};

use super::journal::{Journal, Phase};
use super::mariadb::is_mariadb;
use super::{Trouble, Work};
use crate::setup::Donor;

const QUICK: Duration = Duration::from_secs(5);
/// Stopping replication waits for what is being applied.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// A copy of many terabytes; whether it goes on is shown all the time.
const COPY_LIMIT: Duration = Duration::from_hours(24 * 14);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// `KILL` of a copy whose connection ends at that moment can hang `MySQL` 9.7 for good: it waits, with a lock, for a thread that waits for
/// that lock, and lets nobody in any more. By then the copy has let go of that connection.
const LETS_GO: Duration = Duration::from_secs(2);
/// Where a server keeps its UUID, in its data.
const UUID_FILE: &str = "auto.cnf";
const UUID_ASIDE: &str = "auto.cnf.mmm-old";
const FIRST_VERSION: Version = Version { major: 8, minor: 0, patch: 17 };

impl Work {
    pub(super) fn donor(&self, journal: &Journal) -> Result<Donor, Trouble> {
        let from = &journal.from;
        let text = || format!("this host's configuration has no agent_user and replication_user of '{from}'");
        self.setup().donors.get(from).cloned().ok_or_else(|| Trouble::Vain(text()))
    }

    /// Everything that can be found out before anything is thrown away.
    pub(super) async fn prepare(&self, journal: &mut Journal) -> Result<(), Trouble> {
        self.report(journal, RebuildStage::Preparing).await;
        let donor = self.donor(journal)?;
        let mut own = self.session().await.map_err(Trouble::vain)?;
        let mut other = Session::connect(&donor.server, &donor.account, QUICK).await.map_err(|error| {
            Trouble::Vain(format!("the writer's server does not let this host's agent in with the account of its own agent: {error}"))
        })?;
        check_versions(&own, &other)?;
        if other.read_only(QUICK).await.map_err(Trouble::vain)? {
            return Err(Trouble::Vain(format!(
                "the server of '{}' takes no writes: it is not the writer",
                journal.from
            )));
        }
        if self.process_of(&own).is_none() {
            let pid_file =
                own.identity().pid_file.clone().unwrap_or_else(|| self.setup().server_pid_file.clone());
            return Err(Trouble::Vain(format!(
                "the server's process can't be found by its pid file {}",
                pid_file.display()
            )));
        }
        if is_mariadb(&own) {
            return self.prepare_backup(journal, own, other).await;
        }
        if !own.has_performance_schema(QUICK).await.map_err(Trouble::vain)? {
            return Err(Trouble::Vain(
                "performance_schema is off here, and without it nobody can be told whether a copy is whole: start the server with performance_schema=ON".to_owned(),
            ));
        }
        provide_plugin(&mut other, false).await?;
        provide_plugin(&mut own, true).await?;
        let before = own.clone_status(QUICK).await.map_err(|error| needs_select(&error))?;
        if let Some(channel) = own.channel(QUICK).await.map_err(Trouble::vain)? {
            (journal.tls, journal.asks_for_key) = (channel.tls, channel.asks_for_key());
        } else {
            journal.asks_for_key = true;
        }
        journal.pid_file.clone_from(&own.identity().pid_file);
        journal.copy_before = before.map(|status| status.begun);
        own.close().await;
        other.close().await;
        self.enter(journal, Phase::Copy)
    }

    pub(super) async fn copy(&self, journal: &mut Journal) -> Result<(), Trouble> {
        if journal.gtid.is_some() {
            return self.exchange(journal).await;
        }
        let donor = self.donor(journal)?;
        // Without an answer the server may have ended with a whole copy: that is told when it is back.
        let Ok(mut own) = self.session().await else { return self.enter(journal, Phase::Start) };
        let process = self.process_of(&own).map(|process| (process.pid(), process.start_time()));
        let status = own.clone_status(QUICK).await.map_err(Trouble::broken)?;
        // A server that was killed in the middle of a copy calls that under way for ever.
        let is_another = matches!((&process, &journal.server), (Some(now), Some(then)) if now != then);
        if !is_another && status.as_ref().is_some_and(mmm_mysql::CloneStatus::is_under_way) {
            // Begun by an agent before this one: it goes on without anybody who waits for it.
            journal.server = process;
            return self.wait_for_copy(journal, own).await;
        }
        if status.is_some_and(|status| {
            status.is_completed() && Some(&status.begun) != journal.copy_before.as_ref()
        }) {
            return self.enter(journal, Phase::Start);
        }
        if own.channel(QUICK).await.map_err(Trouble::broken)?.is_some() {
            own.stop_replication(STOP_LIMIT).await.map_err(Trouble::broken)?;
        }
        (journal.server, journal.broken_off) = (process, false);
        journal.copied_from = Some(journal.from.clone());
        journal.data.clone_from(&own.identity().datadir);
        journal.write(&self.path).map_err(Trouble::Broken)?;
        if let Some(data) = &journal.data {
            put_uuid_aside(data).await;
        }
        // Refused otherwise; ordinary clients are kept out by read_only all the same.
        own.lift_super_read_only(QUICK).await.map_err(Trouble::broken)?;
        tracing::warn!(
            "Throwing the data of this host's server away and copying those of '{}'",
            journal.from
        );
        let thread = own.connection_id();
        let copying = own.clone_from(&donor.server, &donor.account, COPY_LIMIT);
        tokio::pin!(copying);
        let copied = tokio::select! {
            copied = &mut copying => Some(copied),
            never = self.watch_copy(journal) => match never {},
            () = self.another_writer(journal) => {
                tracing::warn!("'{}' is not the writer any more: its copy is broken off", journal.from);
                timeout(LETS_GO, &mut copying).await.ok()
            }
        };
        let copied = if let Some(copied) = copied {
            copied
        } else {
            journal.broken_off = true;
            journal.write(&self.path).map_err(Trouble::Broken)?;
            self.break_off(thread).await?;
            let text = "the copy of a writer that was lost does not end";
            timeout(STOP_LIMIT, copying).await.map_err(|_| Trouble::broken(text))?
        };
        journal.broken_off = false;
        match copied {
            Ok(()) => self.enter(journal, Phase::Start),
            Err(error) => self.after_failure(journal, error).await,
        }
    }

    /// Returns when the copy is to be that of another writer.
    async fn another_writer(&self, journal: &Journal) {
        let mut asked = self.asked.clone();
        loop {
            if asked.changed().await.is_err() {
                // The worker is ending.
                std::future::pending::<()>().await;
            }
            let elsewhere = asked
                .borrow_and_update()
                .as_ref()
                .is_some_and(|(order, _)| order.id == journal.id && order.from != journal.from);
            if elsewhere {
                return;
            }
        }
    }

    /// A server goes on trying to reach the one that it copies for minutes, also when that will never be the writer again.
    async fn break_off(&self, thread: u64) -> Result<(), Trouble> {
        let mut other = self.session().await.map_err(Trouble::broken)?;
        other.kill(thread, QUICK).await.map_err(Trouble::broken)?;
        other.close().await;
        Ok(())
    }

    /// The server runs on, with its own data or with nothing.
    async fn after_failure(&self, journal: &mut Journal, error: ServerError) -> Result<(), Trouble> {
        let mut own = self.session().await.map_err(Trouble::broken)?;
        close(&mut own).await?;
        let status = own.clone_status(QUICK).await.map_err(Trouble::broken)?.unwrap_or_default();
        let is_older = status.begun.is_empty() || Some(&status.begun) == journal.copy_before.as_ref();
        if !is_older && own.clone_has_dropped(QUICK).await.map_err(Trouble::broken)? {
            return Err(Trouble::broken(error));
        }
        if let Some(data) = &journal.data {
            put_uuid_back(data).await;
        }
        if own.channel(QUICK).await.map_err(Trouble::broken)?.is_some() {
            own.start_replication(QUICK).await.map_err(Trouble::broken)?;
        }
        self.enter(journal, Phase::Prepare)?;
        Err(Trouble::Vain(format!(
            "{error}. The agent's account needs CLONE_ADMIN here and BACKUP_ADMIN on the writer"
        )))
    }

    /// Tells how much is copied, for ever.
    async fn watch_copy(&self, journal: &Journal) -> std::convert::Infallible {
        let mut session = None;
        let mut told = Instant::now();
        loop {
            sleep(LOOK_EVERY).await;
            if session.as_ref().is_none_or(|session: &Session| !session.is_usable()) {
                session = self.session().await.ok();
            }
            let Some(session) = &mut session else { continue };
            let Ok((done, of)) = session.clone_progress(QUICK).await else { continue };
            let stage = RebuildStage::Copying { done, of: (of > 0).then_some(of) };
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                tracing::info!("The rebuild of this host from '{}': {stage}", journal.from);
            }
            self.report(journal, stage).await;
        }
    }

    async fn wait_for_copy(&self, journal: &mut Journal, mut own: Session) -> Result<(), Trouble> {
        let watching = self.watch_copy(journal);
        let ending = async {
            loop {
                sleep(LOOK_EVERY).await;
                match own.clone_status(QUICK).await {
                    Ok(Some(status)) if status.is_under_way() => {}
                    // Its end is the server's end, or an error that the next turn tells.
                    Ok(_) | Err(_) => return,
                }
            }
        };
        tokio::select! {
            () = ending => {}
            never = watching => match never {},
        }
        Ok(())
    }

    /// The server runs on the copy: nobody but this turns it to the writer.
    pub(super) async fn attach(&self, journal: &mut Journal) -> Result<(), Trouble> {
        self.report(journal, RebuildStage::Attaching).await;
        let donor = self.donor(journal)?;
        let mut own = self.session().await.map_err(Trouble::broken)?;
        close(&mut own).await?;
        if journal.gtid.is_some() {
            return self.attach_backup(journal, own).await;
        }
        let status = own.clone_status(QUICK).await.map_err(Trouble::broken)?.unwrap_or_default();
        if !status.is_completed() || Some(&status.begun) == journal.copy_before.as_ref() {
            self.enter(journal, Phase::Copy)?;
            return Err(Trouble::Broken(format!(
                "the server was started without a whole copy ({})",
                status.error
            )));
        }
        let (done, _) = own.clone_progress(QUICK).await.map_err(Trouble::broken)?;
        journal.bytes = done;
        // What was copied with the rest leads where the writer gets its transactions from: to this very host, mostly.
        let channel = own.channel(QUICK).await.map_err(Trouble::broken)?;
        if channel.is_some() {
            own.stop_replication(STOP_LIMIT).await.map_err(Trouble::broken)?;
        }
        if !own.identity().gtid && journal.copied_from.as_ref() != Some(&journal.from) {
            let of = journal.copied_from.as_ref().map_or("another host", HostName::as_str).to_owned();
            journal.copy_before = Some(status.begun);
            self.enter(journal, Phase::Copy)?;
            return Err(Trouble::Broken(format!(
                "where the copy of '{of}' ends is known in its log only, and '{}' is the writer now: copying that",
                journal.from
            )));
        }
        let at = if own.identity().gtid {
            StartAt::Gtid(GtidUse::SlavePos)
        } else {
            let place = status
                .place
                .ok_or_else(|| Trouble::broken("the copy does not say where the writer's log stood"))?;
            StartAt::Log(place)
        };
        let to = Repoint {
            host: donor.server.ip.to_string(),
            port: donor.server.port,
            account: donor.replication.clone(),
            at,
        };
        // From its place everything would be applied once more.
        let is_there = channel.is_some_and(|channel| leads_to(&channel, &donor));
        if own.identity().gtid || !is_there {
            own.repoint(&to, QUICK).await.map_err(Trouble::broken)?;
        }
        own.set_channel_login(journal.tls, journal.asks_for_key, QUICK).await.map_err(Trouble::broken)?;
        // A writer that is lost by now has nothing to go on with; without GTIDs there would be no way on from the copy either.
        if let Err(trouble) = self.lead_the_writer_back(&donor, &mut own).await {
            let (Trouble::Vain(error) | Trouble::Broken(error)) = trouble;
            if !own.identity().gtid {
                return Err(Trouble::Broken(error));
            }
            tracing::warn!(
                "Can't look whether the writer goes by places in the log that this host had: {error}"
            );
        }
        own.start_replication(QUICK).await.map_err(Trouble::broken)?;
        own.close().await;
        if let Some(data) = &journal.data {
            let _ = fs::remove_file(data.join(UUID_ASIDE)).await;
        }
        Ok(())
    }
}

/// The copy's own channel never does: an attempt before this one has pointed it there.
pub(super) fn leads_to(channel: &Channel, donor: &Donor) -> bool {
    let status = &channel.status;
    status.source_host == donor.server.ip.to_string() && status.source_port == donor.server.port
}

/// A server keeps its own UUID when it copies another one, and would count on in its transactions where the copy has them end: by
/// names that what is thrown away had before. Without this file it makes itself a new one when it is started, whoever starts it.
async fn put_uuid_aside(data: &Path) {
    let moved = fs::rename(data.join(UUID_FILE), data.join(UUID_ASIDE)).await;
    match moved {
        // By an agent before this one.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::error!(
            "{} can't be put aside, so this server may use GTIDs anew that are saved: {error}. Apply what is saved by its SQL",
            data.join(UUID_FILE).display()
        ),
        Ok(()) => {}
    }
}

/// For a server that goes on with its own data.
async fn put_uuid_back(data: &Path) {
    let moved = fs::rename(data.join(UUID_ASIDE), data.join(UUID_FILE)).await;
    if let Err(error) = moved
        && error.kind() != ErrorKind::NotFound
    {
        tracing::error!("{} can't be put back: {error}", data.join(UUID_FILE).display());
    }
}

/// Whatever its own configuration says.
pub(super) async fn close(own: &mut Session) -> Result<(), Trouble> {
    match own.set_read_only(true, Duration::from_secs(1), QUICK).await.map_err(Trouble::broken)? {
        ReadOnlyOutcome::Done => Ok(()),
        ReadOnlyOutcome::LockHeld => Err(Trouble::Broken(
            "somebody holds a lock that keeps the server from becoming read-only".to_owned(),
        )),
    }
}

fn check_versions(own: &Session, other: &Session) -> Result<(), Trouble> {
    let (here, there) = (own.identity(), other.identity());
    let series = |version: Version| (version.major, version.minor);
    if here.flavour != there.flavour || series(here.version) != series(there.version) {
        return Err(Trouble::Vain(format!(
            "only a server of the same version can be copied: here is {}, the writer is {}",
            here.version_text, there.version_text
        )));
    }
    if here.flavour == Flavour::MariaDb {
        return Ok(());
    }
    if here.version < FIRST_VERSION {
        return Err(Trouble::Vain(format!(
            "MySQL has the clone plugin since 8.0.17, and this server is {}",
            here.version_text
        )));
    }
    if here.gtid != there.gtid {
        return Err(Trouble::Vain("gtid_mode is ON on one of the servers only".to_owned()));
    }
    Ok(())
}

/// A server that is closed to everybody lets nobody install anything; clients stay out by `read_only`.
async fn provide_plugin(session: &mut Session, is_closed: bool) -> Result<(), Trouble> {
    if session.has_clone_plugin(QUICK).await.map_err(Trouble::vain)? {
        return Ok(());
    }
    if is_closed {
        session.lift_super_read_only(QUICK).await.map_err(Trouble::vain)?;
    }
    let installed = session.install_clone_plugin(QUICK).await;
    if is_closed && let Err(Trouble::Broken(why)) = close(session).await {
        return Err(Trouble::Vain(why));
    }
    let server = session.endpoint();
    installed.map_err(|error: ServerError| {
        Trouble::Vain(format!(
            "the clone plugin is not there on {server}, and can't be installed: {error}. Put `plugin-load-add = mysql_clone.so` into its my.cnf, or grant the agent's account INSERT ON mysql.plugin"
        ))
    })
}

fn needs_select(error: &ServerError) -> Trouble {
    Trouble::Vain(format!(
        "{error}. The agent's account needs SELECT ON performance_schema.* (and CLONE_ADMIN; BACKUP_ADMIN on the writer)"
    ))
}
