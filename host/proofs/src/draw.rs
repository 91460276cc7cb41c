//! Numbers that everybody draws alike from a beacon and nobody knows before it. Knows not what for.

use std::collections::BTreeSet;

use blake3::{Hasher, OutputReader};

/// An endless sequence of numbers: BLAKE3's extended output over a domain tag and `parts`.
pub(crate) struct Draw(OutputReader);

impl Draw {
    /// `parts` have fixed lengths, so that their concatenation has one reading.
    pub(crate) fn new(domain: &[u8], parts: &[&[u8]]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(domain);
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize_xof())
    }

    /// A number below `end`; 0 if `end` is 0. Of 128 bits, so its bias is below 2^-64.
    fn below(&mut self, end: u64) -> u64 {
        let mut wide = [0; 16];
        self.0.fill(&mut wide);
        let wide = u128::from_le_bytes(wide) % u128::from(end.max(1));
        u64::try_from(wide).unwrap_or_default()
    }

    /// `count` different numbers below `end`, all of them if there are no more, each set as likely
    /// as any other (Floyd's sampling: one draw for each).
    pub(crate) fn distinct(&mut self, count: u64, end: u64) -> BTreeSet<u64> {
        let mut drawn = BTreeSet::new();
        for last in end.saturating_sub(count)..end {
            let number = self.below(last + 1);
            if !drawn.insert(number) {
                drawn.insert(last);
            }
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_different_numbers_as_asked_for_and_never_more_than_there_are() {
        for (count, end) in [(0, 9), (1, 1), (5, 9), (9, 9), (32, 9), (32, u64::MAX)] {
            let drawn = Draw::new(b"test", &[]).distinct(count, end);
            assert_eq!(drawn.len() as u64, count.min(end), "{count} of {end}");
            assert!(drawn.iter().all(|number| *number < end));
        }
    }

    #[test]
    fn every_number_is_drawn_about_as_often_as_any_other() {
        let mut times = [0_u32; 10];
        for round in 0..2_000_u32 {
            for number in Draw::new(b"test", &[&round.to_le_bytes()]).distinct(3, 10) {
                times[usize::try_from(number).unwrap()] += 1;
            }
        }
        // 600 each on average, with a deviation of about 20.
        assert!(times.iter().all(|n| (500..700).contains(n)), "{times:?}");
    }
}
