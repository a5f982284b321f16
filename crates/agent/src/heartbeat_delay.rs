//! How far the data on this host is behind the writer's, by the rows that the writer's agent renews each second: from when a row was
//! written until it is seen here. Both times are of the servers' clocks; what lies between these is measured now and then.

use std::time::Duration;

use mmm_core::{Delay, Moment};
use mmm_mysql::Session;
use tokio::time::sleep;

use crate::clock;
use crate::setup::Setup;

/// A row is seen at most so long after it arrived.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks of a turn: a row comes once a second.
const LOOKS: u32 = 12;
const LIMIT: Duration = Duration::from_secs(1);
/// Clocks drift slowly, and are seldom set.
const COMPARE_EVERY: Duration = Duration::from_secs(30);
/// A row that is older than this should have been followed by another.
const PERIOD_US: i128 = 1_000_000;

#[derive(Default)]
pub(crate) struct HeartbeatDelay {
    /// By how much the clock of this server, of whoever wrote the row, is ahead of ours; and when that was measured.
    ahead: Option<(u64, i128, Moment)>,
}

impl HeartbeatDelay {
    /// Looks for as long as a row may take to come. None where there is none.
    pub(crate) async fn measure(
        &mut self,
        session: &mut Session,
        setup: &Setup,
        schema: &str,
    ) -> Option<Delay> {
        // Nobody knows how long the row of the first look has been there: only one that comes while this looks tells its delay.
        let mut beat = session.read_heartbeat(schema, LIMIT).await.ok()??;
        let first = beat.written_us;
        for _ in 1..LOOKS {
            sleep(LOOK_EVERY).await;
            beat = session.read_heartbeat(schema, LIMIT).await.ok()??;
            if beat.written_us != first {
                break;
            }
        }
        let is_new = beat.written_us != first;
        let ahead = self.compared(session, setup, beat.server_id).await;
        let passed = i128::from(beat.now_us) - i128::from(beat.written_us) + ahead.unwrap_or_default();
        // The next row would have been written a second after the last one, and is not here.
        let behind = if is_new { passed } else { passed - PERIOD_US };
        let ms = u64::try_from(behind.max(0) / 1000).unwrap_or(u64::MAX);
        Some(Delay::new(ms, ahead.is_some()))
    }

    /// By how many microseconds the clock of the server that wrote the row is ahead of this one's.
    async fn compared(&mut self, session: &mut Session, setup: &Setup, server_id: u64) -> Option<i128> {
        let now = clock::now();
        if let Some((id, ahead, at)) = self.ahead
            && id == server_id
            && now.since(at) < COMPARE_EVERY
        {
            return Some(ahead);
        }
        self.ahead = None;
        for source in &setup.doctor.sources {
            let Ok(mut other) = Session::connect(&source.server, &source.account, LIMIT).await else {
                continue;
            };
            if other.identity().server_id != server_id {
                other.close().await;
                continue;
            }
            let before = session.wall_clock_us(LIMIT).await.ok()?;
            let there = other.wall_clock_us(LIMIT).await.ok();
            let after = session.wall_clock_us(LIMIT).await.ok()?;
            other.close().await;
            let here = i128::midpoint(before.into(), after.into());
            let ahead = i128::from(there?) - here;
            self.ahead = Some((server_id, ahead, now));
            return Some(ahead);
        }
        None
    }
}
