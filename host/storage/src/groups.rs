//! Chunk groups, the unit in which artifacts are verified, and sets of them. Knows no bytes.

use std::ops::Range;

/// Bytes of one chunk group. A smaller one costs more hashes on the disk and on the wire (here one
/// part in 256), a larger one more bytes that have to come before they can be checked.
pub const GROUP_BYTES: u64 = 16 << 10;

/// How many groups an artifact of `bytes` has. The empty artifact has one, which is empty.
#[must_use]
pub const fn group_count(bytes: u64) -> u64 {
    let count = bytes.div_ceil(GROUP_BYTES);
    if count == 0 { 1 } else { count }
}

/// The groups that hold the bytes of `wanted`, which may be empty.
#[must_use]
pub const fn groups_covering(wanted: &Range<u64>) -> Range<u64> {
    if wanted.start >= wanted.end {
        let at = wanted.start / GROUP_BYTES;
        return at..at;
    }
    wanted.start / GROUP_BYTES..wanted.end.div_ceil(GROUP_BYTES)
}

/// Groups of one artifact, as sorted ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupSet {
    ranges: Vec<Range<u64>>,
}

impl GroupSet {
    /// No group.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The ranges, ascending; none is empty, no two touch.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Whether there is no group.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many groups there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }

    /// Whether every group of `wanted` is there.
    #[must_use]
    pub fn contains(&self, wanted: &Range<u64>) -> bool {
        if wanted.start >= wanted.end {
            return true;
        }
        let after = self
            .ranges
            .partition_point(|range| range.start <= wanted.start);
        let before = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        before.is_some_and(|range| range.end >= wanted.end)
    }

    /// Adds `more`; groups that are there already stay.
    pub fn insert(&mut self, more: Range<u64>) {
        if more.start >= more.end {
            return;
        }
        let from = self.ranges.partition_point(|range| range.end < more.start);
        let to = self.ranges.partition_point(|range| range.start <= more.end);
        let mut joined = more;
        if let Some(touched) = self.ranges.get(from..to) {
            if let Some(first) = touched.first() {
                joined.start = joined.start.min(first.start);
            }
            if let Some(last) = touched.last() {
                joined.end = joined.end.max(last.end);
            }
        }
        self.ranges.splice(from..to, [joined]);
    }

    /// Takes `gone` away; groups that are not there stay absent.
    pub fn remove(&mut self, gone: &Range<u64>) {
        if gone.start >= gone.end {
            return;
        }
        let from = self.ranges.partition_point(|range| range.end <= gone.start);
        let to = self.ranges.partition_point(|range| range.start < gone.end);
        let Some(touched) = self.ranges.get(from..to) else {
            return;
        };
        let left = touched.first().map(|range| range.start..gone.start);
        let right = touched.last().map(|range| gone.end..range.end);
        let kept: Vec<_> = left
            .into_iter()
            .chain(right)
            .filter(|range| range.start < range.end)
            .collect();
        self.ranges.splice(from..to, kept);
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut mine, mut theirs) = (
            self.ranges.iter().peekable(),
            other.ranges.iter().peekable(),
        );
        let mut ranges = Vec::new();
        while let (Some(a), Some(b)) = (mine.peek(), theirs.peek()) {
            let both = a.start.max(b.start)..a.end.min(b.end);
            if both.start < both.end {
                ranges.push(both);
            }
            if a.end <= b.end {
                mine.next();
            } else {
                theirs.next();
            }
        }
        Self { ranges }
    }

    /// The first groups that are in both, in one range, at most `count_max` of them.
    #[must_use]
    pub fn first_common(&self, other: &Self, count_max: u64) -> Option<Range<u64>> {
        let (mut mine, mut theirs) = (
            self.ranges.iter().peekable(),
            other.ranges.iter().peekable(),
        );
        while let (Some(a), Some(b)) = (mine.peek(), theirs.peek()) {
            let both = a.start.max(b.start)..a.end.min(b.end);
            if both.start < both.end {
                let end = both.end.min(both.start.saturating_add(count_max));
                return (both.start < end).then_some(both.start..end);
            }
            if a.end <= b.end {
                mine.next();
            } else {
                theirs.next();
            }
        }
        None
    }
}

impl From<Range<u64>> for GroupSet {
    fn from(range: Range<u64>) -> Self {
        let mut set = Self::new();
        set.insert(range);
        set
    }
}

impl Extend<Range<u64>> for GroupSet {
    fn extend<I: IntoIterator<Item = Range<u64>>>(&mut self, ranges: I) {
        for range in ranges {
            self.insert(range);
        }
    }
}

impl FromIterator<Range<u64>> for GroupSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        set.extend(ranges);
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const GROUPS: u64 = 40;

    fn listed(set: &GroupSet) -> BTreeSet<u64> {
        let well_formed = set.ranges.iter().all(|range| range.start < range.end);
        let apart = set
            .ranges
            .windows(2)
            .all(|pair| pair[0].end < pair[1].start);
        assert!(well_formed && apart, "{set:?}");
        set.ranges.iter().cloned().flatten().collect()
    }

    fn range() -> impl Strategy<Value = Range<u64>> {
        (0..GROUPS, 0..GROUPS).prop_map(|(a, b)| a..b)
    }

    proptest! {
        #[test]
        fn sets_do_what_a_set_of_numbers_does(steps in vec((any::<bool>(), range()), 0..30), asked in range(), other in vec(range(), 0..6), few in 0..9_u64) {
            let (mut set, mut model) = (GroupSet::new(), BTreeSet::new());
            for (adds, range) in steps {
                if adds {
                    set.insert(range.clone());
                    model.extend(range);
                } else {
                    set.remove(&range);
                    model.retain(|group| !range.contains(group));
                }
                prop_assert_eq!(listed(&set), model.clone());
            }
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert_eq!(set.contains(&asked), asked.clone().all(|group| model.contains(&group)));
            let other: GroupSet = other.into_iter().collect();
            let common: BTreeSet<u64> = model.intersection(&listed(&other)).copied().collect();
            let both = set.intersection(&other);
            prop_assert_eq!(listed(&both), common);
            let first = both.ranges().first().cloned();
            let first = first.map(|range| range.start..range.end.min(range.start + few));
            prop_assert_eq!(set.first_common(&other, few), first.filter(|range| range.start < range.end));
        }
    }

    #[test]
    fn bytes_are_in_the_groups_that_cover_them() {
        assert_eq!(
            (
                group_count(0),
                group_count(1),
                group_count(16_384),
                group_count(16_385)
            ),
            (1, 1, 1, 2)
        );
        assert_eq!(groups_covering(&(0..1)), 0..1);
        assert_eq!(groups_covering(&(16_383..16_385)), 0..2);
        assert_eq!(groups_covering(&(16_384..32_768)), 1..2);
        assert!(groups_covering(&(5..5)).is_empty());
    }
}
