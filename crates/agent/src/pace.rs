//! How long applying what was received will take, by how fast it has gone so far.

use std::time::Duration;

use mmm_mysql::Coordinates;
use tokio::time::Instant;

/// Less than this says nothing of the pace.
const LEAST: Duration = Duration::from_millis(400);

#[derive(Debug, Default)]
pub(crate) struct Pace {
    first: Option<(Instant, Coordinates)>,
}

impl Pace {
    /// Forgets what was seen of an earlier catch-up.
    pub(crate) fn begin(&mut self) {
        self.first = None;
    }

    /// What is left at the pace since the first call; `None` where it can't be said, as across files of the log, whose lengths are
    /// not known here.
    pub(crate) fn left(
        &mut self,
        now: Instant,
        applied: &Coordinates,
        received: &Coordinates,
    ) -> Option<Duration> {
        let (since, from) = self.first.get_or_insert_with(|| (now, applied.clone()));
        if from.file != applied.file || applied.pos < from.pos {
            (*since, *from) = (now, applied.clone());
        }
        let (took, done) = (now.duration_since(*since), applied.pos - from.pos);
        if applied.file != received.file || took < LEAST || done == 0 {
            return None;
        }
        let left = received.pos.saturating_sub(applied.pos);
        // Bytes of a log file: far below what a float can't tell apart.
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = took.as_secs_f64() * left as f64 / done as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, pos: u64) -> Coordinates {
        Coordinates { file: file.to_owned(), pos }
    }

    #[test]
    fn what_is_left_is_told_by_the_pace_so_far() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let received = at("bin.000002", 9_000);
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.left(start, &at("bin.000002", 1_000), &received), None, "nothing is known yet");
        assert_eq!(pace.left(after(100), &at("bin.000002", 1_500), &received), None, "too soon");
        let left = pace.left(after(1_000), &at("bin.000002", 3_000), &received);
        assert_eq!(left, Some(Duration::from_secs(3)), "2000 bytes a second, 6000 left");
        assert_eq!(
            pace.left(after(2_000), &at("bin.000002", 3_000), &received),
            Some(Duration::from_secs(6))
        );
    }

    #[test]
    fn another_file_begins_anew() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.left(start, &at("bin.000001", 1_000), &at("bin.000002", 800)), None);
        assert_eq!(pace.left(after(1_000), &at("bin.000002", 100), &at("bin.000002", 800)), None);
        let left = pace.left(after(2_000), &at("bin.000002", 450), &at("bin.000002", 800));
        assert_eq!(left, Some(Duration::from_secs(1)));
    }
}
