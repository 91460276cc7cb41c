//! Which units of a store are free. Knows nothing of what is in the others.

use std::collections::{BTreeMap, BTreeSet};

/// Units that lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) at: u32,
    pub(super) units: u32,
}

/// The free units, as long runs.
#[derive(Debug, Default)]
pub(super) struct Room {
    by_place: BTreeMap<u32, u32>,
    by_units: BTreeSet<(u32, u32)>,
    free: u32,
}

impl Room {
    /// So many units, all free.
    pub(super) fn new(units: u32) -> Self {
        let mut room = Self::default();
        room.give(Extent { at: 0, units });
        room
    }

    pub(super) const fn free_units(&self) -> u32 {
        self.free
    }

    /// The most units side by side.
    pub(super) fn longest(&self) -> u32 {
        self.by_units.last().map_or(0, |(units, _)| *units)
    }

    /// Takes so many units side by side, where they fit best.
    pub(super) fn take(&mut self, units: u32) -> Option<Extent> {
        let (found, at) = *self.by_units.range((units, 0)..).next()?;
        self.forget(at, found);
        self.insert(at.saturating_add(units), found.saturating_sub(units));
        Some(Extent { at, units })
    }

    /// Takes these units; whether they were free.
    pub(super) fn claim(&mut self, extent: Extent) -> bool {
        let Extent { at, units } = extent;
        let before = self.by_place.range(..=at).next_back();
        let Some((begin, found)) = before.map(|(begin, found)| (*begin, *found)) else {
            return false;
        };
        let end = u64::from(begin) + u64::from(found);
        if u64::from(at) + u64::from(units) > end {
            return false;
        }
        self.forget(begin, found);
        let ahead = at - begin;
        self.insert(begin, ahead);
        self.insert(at + units, found - ahead - units);
        true
    }

    /// Gives units back.
    pub(super) fn give(&mut self, extent: Extent) {
        let Extent { mut at, mut units } = extent;
        let before = self.by_place.range(..at).next_back();
        let before = before.map(|(begin, found)| (*begin, *found));
        if let Some((begin, found)) = before.filter(|(begin, found)| begin + found == at) {
            self.forget(begin, found);
            (at, units) = (begin, units + found);
        }
        let after = at.saturating_add(units);
        if let Some(found) = self.by_place.get(&after).copied() {
            self.forget(after, found);
            units += found;
        }
        self.insert(at, units);
    }

    fn insert(&mut self, at: u32, units: u32) {
        if units > 0 {
            self.by_place.insert(at, units);
            self.by_units.insert((units, at));
            self.free += units;
        }
    }

    fn forget(&mut self, at: u32, units: u32) {
        self.by_place.remove(&at);
        self.by_units.remove(&(units, at));
        self.free -= units;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_unit_is_given_twice_and_all_come_back(
            wishes in proptest::collection::vec((1_u32..20, any::<bool>()), 1..200),
        ) {
            let mut room = Room::new(200);
            let mut held: Vec<Extent> = Vec::new();
            for (units, gives) in wishes {
                if gives && !held.is_empty() {
                    room.give(held.swap_remove(units as usize % held.len()));
                } else if let Some(extent) = room.take(units) {
                    prop_assert!(extent.units == units && extent.at + units <= 200);
                    let apart = |other: &Extent| {
                        other.at + other.units <= extent.at || extent.at + units <= other.at
                    };
                    prop_assert!(held.iter().all(apart));
                    held.push(extent);
                }
                let taken: u32 = held.iter().map(|extent| extent.units).sum();
                prop_assert_eq!(room.free_units(), 200 - taken);
            }
            let mut again = Room::new(200);
            for extent in held.drain(..) {
                prop_assert!(again.claim(extent), "they are apart");
                prop_assert!(!again.claim(extent), "twice");
                room.give(extent);
            }
            prop_assert_eq!(room.take(200), Some(Extent { at: 0, units: 200 }));
        }
    }
}
