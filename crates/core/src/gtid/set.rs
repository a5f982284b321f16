//! Sets of transactions by their GTIDs, of both families in one algebra.
//!
//! `MySQL` tells sets as such. `MariaDB` tells the last sequence number of each domain and server; here that stands for
//! all of this server's transactions up to it, since one server's numbers in a domain only grow.

use std::collections::BTreeMap;
use std::fmt;

/// Whose numbers they are: each has a sequence of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// `MariaDB`.
    Server { domain: u64, server: u64 },
    /// `MySQL`; the tag is empty where there is none.
    Uuid { uuid: String, tag: String },
}

impl Origin {
    /// Whether these transactions were first committed by the server with this id or UUID.
    pub fn is_of(&self, server_id: u64, server_uuid: Option<&str>) -> bool {
        match self {
            Self::Server { server, .. } => *server == server_id,
            Self::Uuid { uuid, .. } => server_uuid.is_some_and(|own| own.eq_ignore_ascii_case(uuid)),
        }
    }
}

/// Both ends included, sorted, and not touching each other.
type Intervals = Vec<(u64, u64)>;

/// Transactions by origin and number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GtidSet(BTreeMap<Origin, Intervals>);

impl GtidSet {
    /// Reads what a server says of itself: `@@gtid_executed`, `@@gtid_binlog_state`, `@@gtid_slave_pos` and their like, also several
    /// of them joined by commas. `None` for anything else, and where both families are mixed.
    pub fn parse(text: &str) -> Option<Self> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let mut set = Self::default();
        let (mut positions, mut sets) = (false, false);
        for part in compact.split(',').filter(|part| !part.is_empty()) {
            if part.contains(':') {
                sets = true;
                set.take_in_mysql(part)?;
            } else {
                positions = true;
                let (origin, last) = parse_position(part)?;
                if last > 0 {
                    set.0.entry(origin).or_default().push((1, last));
                }
            }
        }
        set.0.values_mut().for_each(merge);
        (!(positions && sets)).then_some(set)
    }

    /// Reads what [`fmt::Display`] wrote: there `0-12-41` is one transaction, and not all up to it.
    pub fn parse_shown(text: &str) -> Option<Self> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts.map(parse_range).try_fold(Self::default(), |set, range| Some(set.union(&range?)))
    }

    fn take_in_mysql(&mut self, part: &str) -> Option<()> {
        let mut words = part.split(':');
        let uuid = words.next().filter(|word| is_uuid(word))?.to_ascii_lowercase();
        let mut tag = String::new();
        let mut any = false;
        for word in words {
            if let Some(interval) = parse_interval(word) {
                let origin = Origin::Uuid { uuid: uuid.clone(), tag: tag.clone() };
                self.0.entry(origin).or_default().push(interval);
                any = true;
            } else if is_tag(word) {
                tag = word.to_ascii_lowercase();
                any = false;
            } else {
                return None;
            }
        }
        any.then_some(())
    }

    /// One transaction.
    pub fn of(origin: Origin, number: u64) -> Self {
        Self(BTreeMap::from([(origin, vec![(number, number)])]))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many transactions these are.
    pub fn count(&self) -> u64 {
        let sizes = self.0.values().flatten().map(|(from, to)| (to - from).saturating_add(1));
        sizes.fold(0, u64::saturating_add)
    }

    pub fn contains(&self, origin: &Origin, number: u64) -> bool {
        let intervals = self.0.get(origin);
        intervals.is_some_and(|intervals| intervals.iter().any(|(from, to)| (*from..=*to).contains(&number)))
    }

    /// Whether everything in the other one is in this one too.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.minus(self).is_empty()
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.0.clone();
        for (origin, intervals) in &other.0 {
            let own = all.entry(origin.clone()).or_default();
            own.extend(intervals);
            merge(own);
        }
        Self(all)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let none = Intervals::new();
        let rest = self.0.iter().filter_map(|(origin, intervals)| {
            let there = other.0.get(origin).unwrap_or(&none);
            let rest: Intervals = intervals.iter().flat_map(|interval| uncovered(*interval, there)).collect();
            (!rest.is_empty()).then(|| (origin.clone(), rest))
        });
        Self(rest.collect())
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }

    /// The transactions whose origin is as wanted.
    #[must_use]
    pub fn filter(&self, wanted: impl Fn(&Origin) -> bool) -> Self {
        let kept = self.0.iter().filter(|(origin, _)| wanted(origin));
        Self(kept.map(|(origin, intervals)| (origin.clone(), intervals.clone())).collect())
    }

    /// The origins, and the ranges of each in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = (&Origin, u64, u64)> {
        self.0.iter().flat_map(|(origin, intervals)| intervals.iter().map(move |(a, b)| (origin, *a, *b)))
    }

    /// Whether the two can't be compared since servers of different families said them; an empty set is of both.
    pub fn is_of_other_family_than(&self, other: &Self) -> bool {
        let family = |set: &Self| set.0.keys().next().map(|origin| matches!(origin, Origin::Uuid { .. }));
        matches!((family(self), family(other)), (Some(a), Some(b)) if a != b)
    }

    /// The greatest number of this origin.
    pub fn last(&self, origin: &Origin) -> Option<u64> {
        self.0.get(origin)?.last().map(|(_, last)| *last)
    }
}

/// For people: `UUID:1-5:9` as `MySQL` writes it; `0-12-7` and `0-12-41..43` for `MariaDB`, which has no word for a range.
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (origin, intervals) in &self.0 {
            match origin {
                Origin::Server { domain, server } => {
                    for (from, to) in intervals {
                        write!(f, "{between}{domain}-{server}-{from}")?;
                        if from != to {
                            write!(f, "..{to}")?;
                        }
                        between = ",";
                    }
                }
                Origin::Uuid { uuid, tag } => {
                    write!(f, "{between}{uuid}")?;
                    if !tag.is_empty() {
                        write!(f, ":{tag}")?;
                    }
                    for (from, to) in intervals {
                        write!(f, ":{from}")?;
                        if from != to {
                            write!(f, "-{to}")?;
                        }
                    }
                    between = ",";
                }
            }
        }
        Ok(())
    }
}

/// `0-12-40`.
pub(super) fn parse_position(text: &str) -> Option<(Origin, u64)> {
    let mut parts = text.split('-').map(|part| part.parse::<u64>().ok());
    let (domain, server, sequence) = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some((Origin::Server { domain, server }, sequence))
}

/// `0-12-41..43` or `0-12-41`, or what `MySQL` writes.
fn parse_range(text: &str) -> Option<GtidSet> {
    if text.contains(':') {
        return GtidSet::parse(text);
    }
    let (first, to) = text.split_once("..").map_or((text, None), |(first, to)| (first, Some(to)));
    let (origin, from) = parse_position(first)?;
    let to = to.map_or(Some(from), |to| to.parse().ok())?;
    (from > 0 && from <= to).then(|| GtidSet(BTreeMap::from([(origin, vec![(from, to)])])))
}

fn is_uuid(word: &str) -> bool {
    let lengths = word.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

fn is_tag(word: &str) -> bool {
    let begins_well = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins_well && word.len() <= 32 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `7` or `1-5`; the ends in order, and none of them 0.
fn parse_interval(word: &str) -> Option<(u64, u64)> {
    let (from, to) = word.split_once('-').unwrap_or((word, word));
    let (from, to) = (from.parse::<u64>().ok()?, to.parse::<u64>().ok()?);
    (from > 0 && from <= to).then_some((from, to))
}

fn merge(intervals: &mut Intervals) {
    intervals.sort_unstable();
    let mut merged = Intervals::new();
    for &(from, to) in intervals.iter() {
        match merged.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    *intervals = merged;
}

/// The parts of an interval that lie in none of these.
fn uncovered((from, to): (u64, u64), there: &Intervals) -> Intervals {
    let mut rest = Intervals::new();
    let mut next = from;
    for &(a, b) in there.iter().filter(|(a, b)| *a <= to && *b >= from) {
        if a > next {
            rest.push((next, a - 1));
        }
        let Some(after) = b.checked_add(1) else { return rest };
        next = next.max(after);
    }
    if next <= to {
        rest.push((next, to));
    }
    rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429563";

    fn set(text: &str) -> GtidSet {
        GtidSet::parse(text).unwrap_or_else(|| panic!("'{text}' is a set"))
    }

    #[test]
    fn sets_are_read_and_written_as_mysql_does() {
        let text = format!("{A}:1-5:9,\n{A}:blue:1-3, {}:7", B.to_uppercase());
        assert_eq!(set(&text).to_string(), format!("{A}:1-5:9,{A}:blue:1-3,{B}:7"));
        assert_eq!(set(&text).count(), 10);
        assert_eq!(set(&format!("{A}:1-2:3:4-6")).to_string(), format!("{A}:1-6"));
    }

    #[test]
    fn a_position_of_mariadb_stands_for_all_up_to_it() {
        let missing = set("0-12-43,0-13-44").minus(&set("0-12-40,0-13-44,0-13-41"));
        assert_eq!((missing.count(), missing.to_string()), (3, "0-12-41..43".to_owned()));
        assert_eq!(set("0-12-43").minus(&set("0-12-42")).to_string(), "0-12-43");
        assert!(set("").is_empty());
        assert!(set("0-12-0").is_empty());
        assert_eq!(set("0-12-4,1-12-9").minus(&set("0-12-9")).to_string(), "1-12-1..9", "domains are apart");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        let mixed = format!("{A}:1-5,0-12-4");
        let texts = ["0-12", "0-12-x", "0-12-3-4", "3e11fa47-71ca-11e1-9e33:1-5", "0-12-3:1", A, &mixed];
        for text in texts.into_iter().map(str::to_owned).chain([
            format!("{A}:0-3"),
            format!("{A}:5-3"),
            format!("{A}:blue"),
        ]) {
            assert_eq!(GtidSet::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn origins_know_their_server() {
        let all = set(&format!("{A}:1-5,{B}:tag:2"));
        assert_eq!(all.filter(|origin| origin.is_of(1, Some(B))).to_string(), format!("{B}:tag:2"));
        assert_eq!(set("0-1-5,1-1-2,0-2-9").filter(|origin| origin.is_of(1, None)).count(), 7);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let all = set(&format!("{A}:1-{max},{B}:1-{max}", max = u64::MAX));
        assert_eq!(all.count(), u64::MAX);
        assert_eq!(all.minus(&all), GtidSet::default());
        assert_eq!(all.union(&all), all);
        assert_eq!(
            all.minus(&set(&format!("{A}:1-{}", u64::MAX - 1))).filter(|o| o.is_of(0, Some(A))).count(),
            1
        );
    }

    fn build(members: &BTreeSet<(u8, u64)>, mysql: bool) -> GtidSet {
        members.iter().fold(GtidSet::default(), |set, (origin, number)| {
            let origin = if mysql {
                Origin::Uuid { uuid: format!("{origin:08x}{}", &A[8..]), tag: String::new() }
            } else {
                Origin::Server { domain: 0, server: u64::from(*origin) }
            };
            set.union(&GtidSet::of(origin, *number))
        })
    }

    proptest! {
        #[test]
        fn the_algebra_is_that_of_sets(
            left in prop::collection::btree_set((0_u8..3, 1_u64..20), 0..30),
            right in prop::collection::btree_set((0_u8..3, 1_u64..20), 0..30),
            mysql: bool,
        ) {
            let (a, b) = (build(&left, mysql), build(&right, mysql));
            prop_assert_eq!(a.count(), left.len() as u64);
            prop_assert_eq!(GtidSet::parse_shown(&a.to_string()), Some(a.clone()));
            prop_assert_eq!(a.union(&b), build(&left.union(&right).copied().collect(), mysql));
            prop_assert_eq!(a.minus(&b), build(&left.difference(&right).copied().collect(), mysql));
            prop_assert_eq!(a.intersection(&b), build(&left.intersection(&right).copied().collect(), mysql));
            prop_assert_eq!(a.contains_all(&b), right.is_subset(&left));
            if mysql {
                prop_assert_eq!(GtidSet::parse(&a.to_string()), Some(a));
            }
        }

        #[test]
        fn garbage_is_never_a_panic(text in "[0-9a-f:, -]{0,60}") {
            if let Some(set) = GtidSet::parse(&text) {
                prop_assert!(set.contains_all(&set));
            }
        }
    }
}
