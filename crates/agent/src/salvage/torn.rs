//! The side of the source whose log has a torn end: looks at the file that another server's receiver stopped in. Unlike the end of a dead
//! server's log this may be asked while the server runs, since it writes to another file.

use std::time::SystemTime;

use mmm_core::following::{TearAnswer, TearRequest, TornEnd, TornPlace};
use mmm_mysql::binlog::{log_files, torn_end};
use tokio::task::spawn_blocking;

use super::log_keeper::KeptLog;
use super::serve::TailDesk;

impl TailDesk {
    pub(crate) async fn torn_end(&self, request: TearRequest) -> TearAnswer {
        let TearRequest::Torn(place) = request;
        let Some(kept) = self.log() else {
            return TearAnswer::Not("the binary log is not known there yet".to_owned());
        };
        if kept.server_id != place.source_id {
            let text = format!("the server there has server_id {}, not {}", kept.server_id, place.source_id);
            return TearAnswer::Not(text);
        }
        match spawn_blocking(move || find(&kept, &place)).await {
            Ok(Ok(end)) => TearAnswer::Torn(end),
            Ok(Err(why)) => TearAnswer::Not(why),
            Err(error) => TearAnswer::Not(error.to_string()),
        }
    }
}

fn find(kept: &KeptLog, place: &TornPlace) -> Result<TornEnd, String> {
    let home = kept.home.as_ref().ok_or("it keeps no binary log")?;
    let files =
        log_files(&home.index, &home.data).map_err(|error| format!("{}: {error}", home.index.display()))?;
    let torn = torn_end(&files, &place.file, place.applied).map_err(|error| error.to_string())?;
    // What the kernel had of it outlives a server, and not the host.
    let up = mmm_net::uptime().map_err(|error| error.to_string())?;
    let outlived = SystemTime::now().checked_sub(up).is_some_and(|boot| torn.written > boot);
    Ok(TornEnd {
        whole: torn.whole,
        torn: torn.torn,
        next: torn.next,
        after_start: torn.after_start,
        lasting: torn.lasting,
        unsynced: !outlived && !home.synced,
    })
}
