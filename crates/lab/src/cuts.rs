//! Hosts that no longer hear each other: pairs, one way or both, and whole partitions.

use crate::error::Result;
use crate::lab::Lab;
use crate::moment::Moment;
use crate::network::{self, Cut, Manner};

impl Lab {
    pub(crate) fn change_cuts(&self, change: impl FnOnce(&mut Vec<Cut>)) -> Result<Moment> {
        let at = Moment::now();
        self.store.update(|state| {
            change(&mut state.cuts);
            network::apply_cuts(&self.name, &self.hosts, &state.cuts)
        })?;
        Ok(at)
    }

    fn one_way(&self, from: &str, to: &str, manner: Manner) -> Result<Cut> {
        Ok(Cut { from: self.host(from)?.name.clone(), to: self.host(to)?.name.clone(), manner })
    }

    /// All of these at once, each in place of an earlier one between the same two.
    fn add_cuts(&self, added: &[Cut]) -> Result<Moment> {
        self.change_cuts(|cuts| {
            for cut in added {
                cuts.retain(|old| {
                    (&old.from, &old.to) != (&cut.from, &cut.to) || old.manner == Manner::Power
                });
                cuts.push(cut.clone());
            }
        })
    }

    /// Packets from `from` to `to` no longer arrive; those the other way do.
    pub fn cut_one_way(&self, from: &str, to: &str, manner: Manner) -> Result<Moment> {
        self.add_cuts(&[self.one_way(from, to, manner)?])
    }

    /// Packets between the two hosts no longer arrive, either way.
    pub fn cut(&self, one: &str, other: &str, manner: Manner) -> Result<Moment> {
        self.add_cuts(&[self.one_way(one, other, manner)?, self.one_way(other, one, manner)?])
    }

    /// Splits the network: hosts of different groups no longer hear each other, those of one group do. A host that is in no
    /// group goes on hearing everybody. All cuts take effect at the same time, as when a switch dies.
    pub fn partition(&self, groups: &[&[&str]]) -> Result<Moment> {
        let mut cuts = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            for (_, other) in groups.iter().enumerate().filter(|(other, _)| *other != index) {
                for from in *group {
                    for to in *other {
                        cuts.push(self.one_way(from, to, Manner::Drop)?);
                    }
                }
            }
        }
        self.add_cuts(&cuts)
    }

    /// Ends the cuts between two hosts, both ways.
    pub fn heal(&self, one: &str, other: &str) -> Result<Moment> {
        self.host(one)?;
        self.host(other)?;
        self.change_cuts(|cuts| {
            cuts.retain(|cut| {
                let pair = (cut.from.as_str(), cut.to.as_str());
                cut.manner == Manner::Power || (pair != (one, other) && pair != (other, one))
            });
        })
    }

    /// Ends all cuts; hosts without power stay cut.
    pub fn heal_all(&self) -> Result<Moment> {
        self.change_cuts(|cuts| cuts.retain(|cut| cut.manner == Manner::Power))
    }

    pub fn cuts(&self) -> Result<Vec<Cut>> {
        Ok(self.store.read()?.cuts)
    }
}
