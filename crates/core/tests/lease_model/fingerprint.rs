//! When two states of the model are the same.
//!
//! Time never stops, so the states are finite only when moments are seen from now. The lease types keep absolute
//! moments and hide them; but they hash them, and each clock of the model begins at a zero of its own far above any
//! other number. So a moment is recognised among the hashed numbers, told which clock it belongs to, and replaced by its
//! distance from now. Readings older than any lease can matter only by their order: they are replaced by their rank.

use std::hash::{Hash, Hasher};

use mmm_core::Moment;

/// Seconds between the zeros of two clocks.
const CLOCKS_APART: u64 = 1_000_000_000;
const MARK: u64 = 1 << 40;

/// Where the clock with this index begins.
pub(super) const fn zero_of_clock(index: u64) -> Moment {
    Moment::from_secs((index + 1) * CLOCKS_APART)
}

/// Collects what is hashed, with moments as distances from now.
pub(super) struct Relative {
    now_ms: [u64; 3],
    /// Distances above this one have only their order left.
    window_ms: u64,
    /// Clocks of which only ends are hashed at the moment: one that has passed has passed.
    ends_only: [bool; 3],
    words: Vec<u64>,
    old: Vec<Old>,
    seconds: Option<u64>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Old {
    clock: usize,
    age_ms: u64,
    place: usize,
}

impl Relative {
    pub(super) fn new(clocks: [Moment; 3], window_ms: u64) -> Self {
        let now_ms = clocks.map(|clock| {
            u64::try_from(clock.since_zero().as_millis()).expect("a model runs for less than an age")
        });
        let (words, old) = (Vec::with_capacity(128), Vec::new());
        Self { now_ms, window_ms, ends_only: [false; 3], words, old, seconds: None }
    }

    /// Hashes something whose moments of these clocks are ends of waits and nothing else.
    pub(super) fn ends_of(&mut self, clocks: [bool; 3], value: &impl Hash) {
        self.ends_only = clocks;
        value.hash(self);
        self.ends_only = [false; 3];
    }

    pub(super) fn into_words(mut self) -> Vec<u64> {
        self.old.sort_unstable();
        let mut rank = 0;
        for pair in 0..self.old.len() {
            let old = &self.old[pair];
            let before = pair.checked_sub(1).map(|before| &self.old[before]);
            if before.is_none_or(|before| (before.clock, before.age_ms) != (old.clock, old.age_ms)) {
                rank += 1;
            }
            self.words[old.place] = (3 * MARK) | rank;
        }
        self.words
    }

    fn moment(&mut self, seconds: u64, nanos: u32) {
        let clock = usize::try_from(seconds / CLOCKS_APART - 1).expect("there are three clocks");
        let ms = seconds * 1000 + u64::from(nanos / 1_000_000);
        let word = match self.now_ms[clock].checked_sub(ms) {
            None => MARK | (ms - self.now_ms[clock]),
            Some(_) if self.ends_only[clock] => MARK,
            Some(age_ms) if age_ms <= self.window_ms => (2 * MARK) | age_ms,
            Some(age_ms) => {
                self.old.push(Old { clock, age_ms, place: self.words.len() });
                0
            }
        };
        self.words.push(word);
    }
}

impl Hasher for Relative {
    fn finish(&self) -> u64 {
        unreachable!("the words are hashed by another hasher")
    }

    fn write(&mut self, bytes: &[u8]) {
        let word = bytes.iter().fold(0_u64, |word, byte| word.rotate_left(8) ^ u64::from(*byte));
        self.words.push(word);
    }

    fn write_u8(&mut self, number: u8) {
        self.words.push(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        match self.seconds.take() {
            Some(seconds) => self.moment(seconds, number),
            None => self.words.push(u64::from(number)),
        }
    }

    fn write_u64(&mut self, number: u64) {
        if number >= CLOCKS_APART {
            self.seconds = Some(number);
        } else {
            self.words.push(number);
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.words.push(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.words.push(number.unsigned_abs() as u64);
    }
}
