//! A token bucket: so many bytes a second, no more. Knows no clock: the time comes in.

use std::time::{Duration, Instant};

/// Least that may go at once: one datagram of the largest kind, or nothing would ever go at a low rate.
const BURST_BYTES_MIN: u64 = 64 << 10;
/// Of a second: what may go at once after a pause.
const BURST_PARTS: u64 = 10;
const NS_PER_S: u128 = 1_000_000_000;

/// Bytes that may go, earned at a rate and kept up to a burst.
#[derive(Debug)]
pub struct TokenBucket {
    bytes_per_s: u64,
    /// In billionths of a byte, so that no time is too short to count.
    earned: u128,
    at: Instant,
}

/// Bytes that may not go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// Not yet.
    #[error("the rate is used up for {wait:?}")]
    Wait {
        /// How long until as many are earned, if nobody takes any before.
        wait: Duration,
    },
    /// Never at once.
    #[error("{bytes} bytes at once are more than a burst of {burst_bytes}: send them in parts")]
    BeyondBurst {
        /// What was asked for.
        bytes: u64,
        /// What may go at once.
        burst_bytes: u64,
    },
}

impl TokenBucket {
    /// A full bucket at `now` that earns `bytes_per_s`, at least one.
    #[must_use]
    pub fn new(bytes_per_s: u64, now: Instant) -> Self {
        let mut bucket = Self {
            bytes_per_s: bytes_per_s.max(1),
            earned: 0,
            at: now,
        };
        bucket.earned = u128::from(bucket.burst_bytes()) * NS_PER_S;
        bucket
    }

    /// What may go at once: a tenth of a second's worth, at least 64 KiB.
    #[must_use]
    pub fn burst_bytes(&self) -> u64 {
        (self.bytes_per_s / BURST_PARTS).max(BURST_BYTES_MIN)
    }

    /// Lets `bytes` go at `now`, all or none of them. A time before the last one earns nothing.
    ///
    /// # Errors
    /// [`TakeError`] if they are not earned yet or never will be at once.
    pub fn take(&mut self, bytes: u64, now: Instant) -> Result<(), TakeError> {
        let burst_bytes = self.burst_bytes();
        if bytes > burst_bytes {
            return Err(TakeError::BeyondBurst { bytes, burst_bytes });
        }
        let elapsed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        let rate = u128::from(self.bytes_per_s);
        let more = elapsed.as_nanos().saturating_mul(rate);
        let full = u128::from(burst_bytes) * NS_PER_S;
        self.earned = self.earned.saturating_add(more).min(full);
        let price = u128::from(bytes) * NS_PER_S;
        match self.earned.checked_sub(price) {
            Some(rest) => {
                self.earned = rest;
                Ok(())
            }
            None => {
                let wait_ns = (price - self.earned).div_ceil(rate);
                let wait = Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(u64::MAX));
                Err(TakeError::Wait { wait })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_told_to_wait_goes_after_that_time_and_not_before() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(1_000_000, start);
        let burst = bucket.burst_bytes();
        assert_eq!(burst, 100_000);
        assert_eq!(bucket.take(burst, start), Ok(()));
        let wait = Duration::from_millis(50);
        assert_eq!(bucket.take(50_000, start), Err(TakeError::Wait { wait }));
        let early = start + wait - Duration::from_nanos(1);
        assert!(bucket.take(50_000, early).is_err());
        assert_eq!(bucket.take(50_000, start + wait), Ok(()));
        let refused = TakeError::BeyondBurst {
            bytes: burst + 1,
            burst_bytes: burst,
        };
        assert_eq!(bucket.take(burst + 1, start), Err(refused));
    }

    proptest! {
        #[test]
        fn no_more_goes_than_was_earned(
            rate in 0..u64::MAX,
            takes in proptest::collection::vec((0..300_000_u64, 0..2_000_000_000_u64, any::<bool>()), 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = TokenBucket::new(rate, start);
            let (mut now, mut latest, mut gone) = (start, start, 0_u128);
            for (bytes, ns, backwards) in takes {
                let step = Duration::from_nanos(ns);
                now = if backwards { now.checked_sub(step).unwrap_or(now) } else { now + step };
                latest = latest.max(now);
                if bucket.take(bytes, now).is_ok() {
                    gone += u128::from(bytes);
                }
                let elapsed_ns = (latest - start).as_nanos();
                let earned = elapsed_ns.saturating_mul(u128::from(rate.max(1))) / NS_PER_S;
                prop_assert!(gone <= earned.saturating_add(u128::from(bucket.burst_bytes())));
            }
        }
    }
}
