//! When a certificate is ordered: two thirds into the life of the one before, with growing pauses after
//! failures. Pure: time and chance come in as numbers.

use crate::acme::keep::Attempts;

/// First pause after a failure. With the factor below, five attempts are made within a quarter of an
/// hour and the sixth an hour after the first: public authorities allow five failures an hour.
const PAUSE_FIRST_MS: u64 = 10_000;
/// How much longer each further pause is.
const PAUSE_FACTOR: u64 = 4;
/// Longest pause: a certificate of 90 days is tried sixty times before it expires.
pub(super) const PAUSE_LAST_MS: u64 = 12 * 3_600_000;

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    /// Unix milliseconds.
    pub(super) from_ms: u64,
    /// Unix milliseconds.
    pub(super) to_ms: u64,
}

impl Validity {
    /// When to order its successor, Unix milliseconds.
    pub(super) fn renew_ms(self) -> u64 {
        let life_ms = self.to_ms.saturating_sub(self.from_ms);
        self.from_ms.saturating_add(life_ms / 3 * 2)
    }
}

/// What is held, as far as it decides when to order.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    held: Option<Validity>,
}

impl Schedule {
    /// A certificate for what is wanted is held from now on.
    pub(super) fn held(&mut self, validity: Validity) {
        self.held = Some(validity);
    }

    /// Milliseconds from `now_ms` to the next order; 0 if it is due.
    pub(super) fn wait_ms(&self, now_ms: u64, attempts: &Attempts) -> u64 {
        let due_ms = self.held.map_or(0, Validity::renew_ms);
        let due_in_ms = due_ms.saturating_sub(now_ms);
        // A pause that is longer than any was written under another clock.
        let paused_ms = attempts.retry_ms.saturating_sub(now_ms);
        due_in_ms.max(paused_ms.min(2 * PAUSE_LAST_MS))
    }
}

/// The pause after a failure that `failures` others came before: up to half longer by `chance`, and as
/// long as the authority told, within the longest pause.
pub(super) fn pause_ms(failures: u32, chance: u16, told_ms: u64) -> u64 {
    let full = PAUSE_FACTOR
        .saturating_pow(failures)
        .saturating_mul(PAUSE_FIRST_MS);
    let pause = full.max(told_ms).min(PAUSE_LAST_MS);
    pause + pause / 2 * u64::from(chance) / u64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn orders_are_due_after_two_thirds_of_a_life_and_after_the_pause() {
        let mut schedule = Schedule::default();
        let mut attempts = Attempts::default();
        assert_eq!(schedule.wait_ms(HOUR_MS, &attempts), 0, "nothing is held");
        schedule.held(Validity {
            from_ms: HOUR_MS,
            to_ms: 4 * HOUR_MS,
        });
        assert_eq!(schedule.wait_ms(HOUR_MS, &attempts), 2 * HOUR_MS);
        assert_eq!(schedule.wait_ms(9 * HOUR_MS, &attempts), 0);
        attempts.retry_ms = 10 * HOUR_MS;
        assert_eq!(schedule.wait_ms(9 * HOUR_MS, &attempts), HOUR_MS);
        attempts.retry_ms = u64::MAX;
        assert_eq!(schedule.wait_ms(9 * HOUR_MS, &attempts), 24 * HOUR_MS);
    }

    #[test]
    fn six_attempts_take_about_an_hour_and_no_pause_is_longer_than_the_longest() {
        let five: u64 = (0..5).map(|failures| pause_ms(failures, 0, 0)).sum();
        assert_eq!(five, 3_410_000);
        assert_eq!(pause_ms(0, u16::MAX, 0), 15_000);
        assert_eq!(pause_ms(u32::MAX, 0, 0), PAUSE_LAST_MS);
        assert_eq!(pause_ms(0, 0, HOUR_MS), HOUR_MS, "as the authority says");
        assert_eq!(pause_ms(0, 0, u64::MAX), PAUSE_LAST_MS);
    }
}
