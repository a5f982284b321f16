//! The writer's own replication from the host that is rebuilt. By GTID it goes on by itself; a file and a position mean nothing in
//! the log that the new data begin with.

use std::time::Duration;

use mmm_mysql::{GtidUse, Session, ThreadState};

use super::{Trouble, Work};
use crate::setup::Donor;

const QUICK: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(30);

impl Work {
    /// Has to come before this server replicates: its log holds nothing of its own yet, so that its end is where the writer has to go
    /// on. What the writer had received and not applied is what was saved before the data were thrown away.
    pub(super) async fn lead_the_writer_back(&self, donor: &Donor, own: &mut Session) -> Result<(), Trouble> {
        let mut writer =
            Session::connect(&donor.server, &donor.account, QUICK).await.map_err(Trouble::broken)?;
        let channel = writer.channel(QUICK).await.map_err(Trouble::broken)?;
        let here = self.setup().server;
        let from_here = channel.filter(|channel| {
            let status = &channel.status;
            let is_here = (status.source_host == here.ip.to_string() && status.source_port == here.port)
                || status.source_server_id == own.identity().server_id;
            is_here && channel.gtid == GtidUse::No
        });
        let place = own.log_position(QUICK).await.map_err(Trouble::broken)?;
        if let (Some(channel), Some(place)) = (from_here, place) {
            let status = &channel.status;
            tracing::warn!(
                "The writer's replication from this host goes on at {} {}, where the log of its new data begins",
                place.file,
                place.pos
            );
            writer.stop_replication(STOP_LIMIT).await.map_err(Trouble::broken)?;
            writer.repoint_back(&channel, &place, QUICK).await.map_err(Trouble::broken)?;
            // Whether it receives is for the monitor to say, or was so before.
            let (receives, applies) = (status.io != ThreadState::No, status.sql != ThreadState::No);
            writer.start_threads(receives, applies, QUICK).await.map_err(Trouble::broken)?;
        }
        writer.close().await;
        Ok(())
    }
}
