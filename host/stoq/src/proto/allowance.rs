//! Allowances: how often something may happen, with a burst. Knows neither clocks nor what happens.

use std::time::Duration;

/// How often, and how much of it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, at least one.
    pub per_second: u32,
    /// At once, after a quiet time.
    pub burst: u32,
}

impl Rate {
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// What is left of a rate: 16 bytes, so that thousands can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// When all that was taken is earned again.
    earned_at: Duration,
}

impl Allowance {
    /// Takes `count` at `now`, which is since any beginning, if `rate` has so many left; nothing
    /// is taken otherwise.
    #[must_use]
    pub fn take(&mut self, count: u32, rate: Rate, now: Duration) -> bool {
        let owed = self.earned_at.saturating_sub(now) + rate.interval() * count;
        if owed > rate.interval() * rate.burst {
            return false;
        }
        self.earned_at = now + owed;
        true
    }

    /// Takes one at `now`, and says how long it must wait for its turn.
    #[must_use]
    pub fn queue(&mut self, rate: Rate, now: Duration) -> Duration {
        let owed = self.earned_at.saturating_sub(now) + rate.interval();
        self.earned_at = now + owed;
        owed.saturating_sub(rate.interval() * rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 100,
        burst: 7,
    };

    #[test]
    fn a_burst_and_then_the_rate_and_no_more() {
        let mut allowance = Allowance::default();
        let begun = Duration::from_secs(3);
        let taken = (0..10_000_u32).filter(|turn| {
            let now = begun + Duration::from_micros(100) * *turn;
            allowance.take(1, RATE, now)
        });
        // The first second's, and the burst.
        assert_eq!(taken.count(), 100 + 7 - 1);
    }

    #[test]
    fn what_is_too_much_at_once_takes_nothing() {
        let mut allowance = Allowance::default();
        assert!(!allowance.take(8, RATE, Duration::ZERO));
        assert!(allowance.take(7, RATE, Duration::ZERO));
        assert!(!allowance.take(1, RATE, Duration::from_millis(9)));
        assert!(allowance.take(1, RATE, Duration::from_millis(10)));
    }

    #[test]
    fn a_queue_moves_at_the_rate() {
        let mut allowance = Allowance::default();
        let waits: Vec<u128> = (0..10)
            .map(|_| allowance.queue(RATE, Duration::ZERO).as_millis())
            .collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 10, 20, 30]);
    }
}
