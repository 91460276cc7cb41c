//! Pauses before restarts: doubled each time, capped, forgotten after a good while.

/// The pauses of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// First pause.
    pub const FIRST_MS: u64 = 1_000;
    /// Longest pause.
    pub const LONGEST_MS: u64 = 60_000;
    /// A replica that ran this long before it failed starts over with the first pause.
    pub const FORGET_AFTER_MS: u64 = 60_000;

    /// The pause after a failure of something that ran for `ran_ms`.
    pub fn next_pause_ms(&mut self, ran_ms: u64) -> u64 {
        if ran_ms >= Self::FORGET_AFTER_MS {
            self.failures = 0;
        }
        let pause = Self::FIRST_MS << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        pause.min(Self::LONGEST_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_are_forgotten() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next_pause_ms(0)).collect();
        assert_eq!(
            pauses,
            [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
        );
        assert_eq!(backoff.next_pause_ms(Backoff::FORGET_AFTER_MS), 1_000);
        let mut worn = Backoff { failures: u32::MAX };
        assert_eq!(worn.next_pause_ms(0), 60_000);
    }
}
