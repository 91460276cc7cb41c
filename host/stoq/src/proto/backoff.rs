//! Pauses between attempts to reach a peer: doubling, capped, spread by chance that comes in as a
//! number.

use std::time::Duration;

use crate::bounds::{BACKOFF_FIRST, BACKOFF_LAST};

/// How often an attempt has failed since the last success.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure: between half of the full pause and all of it, as
    /// `jitter` is between 0 and its largest value.
    #[must_use]
    pub fn failed(&mut self, jitter: u16) -> Duration {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let full = BACKOFF_FIRST
            .saturating_mul(1 << doublings)
            .min(BACKOFF_LAST);
        let half = full / 2;
        half + half.mul_f64(f64::from(jitter) / f64::from(u16::MAX))
    }

    /// An attempt succeeded: the next failure begins anew.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..9)
            .map(|_| backoff.failed(u16::MAX).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        );
        for _ in 0..100_000 {
            assert!(backoff.failed(u16::MAX) <= BACKOFF_LAST);
        }
        backoff.succeeded();
        assert_eq!(backoff.failed(0), BACKOFF_FIRST / 2);
    }
}
