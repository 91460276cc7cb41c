//! When a node renews its certificate. Pure; never knows how one is logged.

/// First pause after a renewal that failed.
const RETRY_MS_MIN: u64 = 1_000;
/// Longest pause between attempts: many fit into what is left of the certificate.
const RETRY_MS_MAX: u64 = 5 * 60 * 1000;

/// The renewal of one certificate after another: each at two thirds of its life, which leaves eight
/// hours of a day for a ledger or a peer that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    due_at_ms: u64,
    failures: u32,
}

impl Rotation {
    /// The renewal of a certificate with this life, Unix milliseconds.
    #[must_use]
    pub const fn of(not_before_ms: u64, not_after_ms: u64) -> Self {
        let life_ms = not_after_ms.saturating_sub(not_before_ms);
        Self {
            due_at_ms: not_before_ms.saturating_add(life_ms / 3 * 2),
            failures: 0,
        }
    }

    /// How long to wait at `now_ms` before the next attempt; 0 if it is due.
    #[must_use]
    pub const fn wait_ms(&self, now_ms: u64) -> u64 {
        self.due_at_ms.saturating_sub(now_ms)
    }

    /// Renew now, whatever the time.
    pub const fn hurry(&mut self, now_ms: u64) {
        self.due_at_ms = now_ms;
    }

    /// An attempt at `now_ms` failed: the next one comes after a pause that doubles.
    pub fn failed(&mut self, now_ms: u64) {
        let pause_ms = RETRY_MS_MIN
            .saturating_mul(1 << self.failures.min(20))
            .min(RETRY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.due_at_ms = now_ms.saturating_add(pause_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CERTIFICATE_LIFE_MS;

    #[test]
    fn seventy_two_hours_are_covered_without_a_gap() {
        let hour_ms = 60 * 60 * 1000;
        let mut now_ms = 1_000_000;
        let mut certificates = vec![(now_ms, now_ms + CERTIFICATE_LIFE_MS)];
        let end_ms = now_ms + 72 * hour_ms;
        while now_ms < end_ms {
            let (from, to) = *certificates.last().unwrap();
            let rotation = Rotation::of(from, to);
            now_ms += rotation.wait_ms(now_ms).max(1);
            assert!(now_ms < to, "renewed before it ends");
            certificates.push((now_ms, now_ms + CERTIFICATE_LIFE_MS));
        }
        assert_eq!(certificates.len(), 6, "every sixteen hours");
    }

    #[test]
    fn failures_back_off_and_still_fit_into_the_rest_of_the_life() {
        let mut rotation = Rotation::of(0, CERTIFICATE_LIFE_MS);
        let mut now_ms = rotation.wait_ms(0);
        let mut attempts = 0;
        while now_ms < CERTIFICATE_LIFE_MS {
            rotation.failed(now_ms);
            now_ms += rotation.wait_ms(now_ms);
            attempts += 1;
        }
        assert!((90..=120).contains(&attempts), "{attempts}");
        rotation.hurry(5);
        assert_eq!(rotation.wait_ms(5), 0);
    }
}
