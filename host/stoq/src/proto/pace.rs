//! An operator's cap on what is sent to a peer: bytes per second, with a short burst. What is urgent
//! goes at once, and the rest waits the longer for it.

use std::time::Duration;

/// Bytes that may be sent now, filled up with time.
#[derive(Debug)]
pub struct Bucket {
    bytes_per_second: u64,
    level_bytes: u64,
    /// What urgent streams sent beyond the level: nothing else goes before it is earned.
    owed_bytes: u64,
    filled_at: Duration,
}

/// The answer to a wish to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// So many bytes may go, at least one.
    Bytes(usize),
    /// None before this time has passed.
    After(Duration),
}

impl Bucket {
    /// A cap, `now` since any beginning. At least one byte per second.
    #[must_use]
    pub fn new(bytes_per_second: u64, now: Duration) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        Self {
            bytes_per_second,
            level_bytes: Self::burst_bytes(bytes_per_second),
            owed_bytes: 0,
            filled_at: now,
        }
    }

    /// The cap.
    #[must_use]
    pub const fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// A twentieth of a second's worth, but a packet at least.
    fn burst_bytes(bytes_per_second: u64) -> u64 {
        (bytes_per_second / 20).max(1_500)
    }

    /// How much of `wanted` bytes may go `now`: all, or a millisecond's worth at least. A stream that
    /// was given what the last microsecond earned would ask again at once, for ever, and keep its
    /// thread from everything else.
    #[must_use]
    pub fn take(&mut self, wanted: usize, now: Duration) -> Grant {
        self.fill(now);
        let of = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let level = of(self.level_bytes);
        if level < wanted.min(of(self.worth_bytes())) {
            return self.pause();
        }
        let granted = wanted.min(level);
        self.level_bytes -= u64::try_from(granted)
            .unwrap_or(u64::MAX)
            .min(self.level_bytes);
        Grant::Bytes(granted)
    }

    /// The same for what must not wait for bulk: all of it at once, until a second's worth is owed.
    #[must_use]
    pub fn take_urgent(&mut self, wanted: usize, now: Duration) -> Grant {
        self.fill(now);
        if self.owed_bytes >= self.bytes_per_second {
            return self.pause();
        }
        let bytes = u64::try_from(wanted).unwrap_or(u64::MAX);
        let held = bytes.min(self.level_bytes);
        self.level_bytes -= held;
        self.owed_bytes = self.owed_bytes.saturating_add(bytes - held);
        Grant::Bytes(wanted)
    }

    /// Earns what time brought, and pays with it what is owed.
    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at);
        let earned = u128::from(self.bytes_per_second) * passed.as_nanos() / 1_000_000_000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        if earned > 0 {
            self.put(earned);
            self.filled_at = now;
        }
    }

    fn put(&mut self, bytes: u64) {
        let paid = bytes.min(self.owed_bytes);
        self.owed_bytes -= paid;
        let burst = Self::burst_bytes(self.bytes_per_second);
        self.level_bytes = self.level_bytes.saturating_add(bytes - paid).min(burst);
    }

    /// What a millisecond earns, a byte at least.
    fn worth_bytes(&self) -> u64 {
        (self.bytes_per_second / 1_000).max(1)
    }

    /// Until that is earned.
    fn pause(&self) -> Grant {
        let nanos =
            u128::from(self.worth_bytes()) * 1_000_000_000 / u128::from(self.bytes_per_second);
        Grant::After(Duration::from_nanos(
            u64::try_from(nanos).unwrap_or(u64::MAX),
        ))
    }

    /// Takes back what was granted and not sent.
    pub fn give_back(&mut self, bytes: usize) {
        self.put(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_cap_goes_in_any_second() {
        for rate in [1_u64, 1_000, 1_000_000, 500_000_000] {
            let mut bucket = Bucket::new(rate, Duration::ZERO);
            let (mut now, mut sent) = (Duration::ZERO, 0_u64);
            while now < Duration::from_secs(1) {
                match bucket.take(100_000, now) {
                    Grant::Bytes(bytes) => sent += bytes as u64,
                    Grant::After(pause) => now += pause,
                }
            }
            let most = rate + Bucket::burst_bytes(rate) + 1_500;
            assert!((rate..=most).contains(&sent), "{rate}: {sent}");
        }
    }
    #[test]
    fn a_stream_that_asks_all_the_time_is_given_a_few_large_parts() {
        const RATE: u64 = 12_500_000;
        let mut bucket = Bucket::new(RATE, Duration::ZERO);
        let asked = (0..1_000_000).map(Duration::from_micros);
        let granted = asked.filter(|now| matches!(bucket.take(1 << 20, *now), Grant::Bytes(_)));
        let granted = granted.count();
        assert!((500..=1_001).contains(&granted), "{granted}");
    }

    #[test]
    fn what_is_urgent_never_waits_for_bulk_and_counts() {
        const RATE: u64 = 1_000_000;
        let mut bucket = Bucket::new(RATE, Duration::ZERO);
        let mut sent = 0_u64;
        for now in (0..10_000).map(Duration::from_millis) {
            if let Grant::Bytes(bytes) = bucket.take(1 << 20, now) {
                sent += bytes as u64;
            }
            // Bulk has just taken all that there was.
            assert_eq!(bucket.take_urgent(200, now), Grant::Bytes(200));
            sent += 200;
        }
        let most = RATE * 10 + Bucket::burst_bytes(RATE) + 1_500;
        assert!((RATE * 9..=most).contains(&sent), "{sent}");
        // By itself it keeps to the cap as well, after a second's worth.
        let (mut now, mut alone) = (Duration::from_secs(10), 0);
        while now < Duration::from_secs(20) {
            match bucket.take_urgent(10_000, now) {
                Grant::Bytes(bytes) => alone += bytes as u64,
                Grant::After(pause) => now += pause,
            }
        }
        assert!((RATE * 10..=RATE * 11 + 60_000).contains(&alone), "{alone}");
    }
}
