//! Numbers that follow from a seed. Never asks the system for entropy.

/// A small source of numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number, below `end`; 0 if there is none.
    pub const fn below(&mut self, end: u64) -> u64 {
        match self.roll().checked_rem(end) {
            Some(number) => number,
            None => 0,
        }
    }

    /// The same for counts and places.
    pub fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }

    /// Whether it comes true so many times in a thousand.
    pub const fn comes_true(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}
