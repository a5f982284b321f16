//! Whether a server has all that another one had.

use std::collections::BTreeMap;

use super::Reach;

type Places = BTreeMap<(u64, u64), u64>;

impl Reach {
    /// Whether these positions of `MariaDB` (`0-12-40,0-13-7`) together hold all of it; `None` where one can't be read. Each entry is
    /// the last transaction of one server in one domain, and whoever has that has all before it.
    pub fn is_within(&self, positions: &[&str]) -> Option<bool> {
        let mut here = Places::new();
        for position in positions {
            for (key, number) in places(position)? {
                let known = here.entry(key).or_default();
                *known = number.max(*known);
            }
        }
        let within = |((domain, server), number): (&(u64, u64), &u64)| {
            // The last transaction of a domain tells of all that came before it, whoever wrote them.
            here.get(&(*domain, *server)).is_some_and(|has| has >= number)
                || here.iter().any(|((other, _), has)| other == domain && has > number)
        };
        Some(places(&self.gtid)?.iter().all(within))
    }
}

fn places(text: &str) -> Option<Places> {
    let gtids = text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty());
    gtids
        .map(|gtid| {
            let mut parts = gtid.split('-').map(|part| part.parse::<u64>().ok());
            let place = ((parts.next()??, parts.next()??), parts.next()??);
            parts.next().is_none().then_some(place)
        })
        .collect()
}
