//! Output of guests on its way to the observer, at most so many bytes per second. Stores nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use types::ByteSize;

use crate::errors::Breach;
use crate::observer::{LogStream, Observer};

/// One replica's output: all its instances share the rate, or a fresh instance per request would
/// bring a fresh burst with it.
pub(crate) struct Log {
    observer: Arc<dyn Observer>,
    rate: ByteSize,
    bucket: Mutex<Bucket>,
    dropped_bytes: AtomicU64,
}

/// A token bucket that holds one second's worth.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    tokens: u64,
    filled_at: Instant,
    /// Since the last byte that passed: the marker for this flood is out.
    flooded: bool,
}

/// What may pass of one write.
#[derive(Debug, PartialEq, Eq)]
struct Passed {
    bytes: usize,
    flood_begins: bool,
}

impl Bucket {
    fn take(&mut self, now: Instant, wanted: usize) -> Passed {
        let elapsed = now.saturating_duration_since(self.filled_at);
        let earned = u128::from(self.rate) * elapsed.as_micros() / 1_000_000;
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(self.rate);
            self.filled_at = now;
        }
        // A flood is over when half the bucket is free again: until then single bytes that fit
        // would each bring a marker of their own.
        if self.flooded && self.tokens < self.rate / 2 {
            return Passed {
                bytes: 0,
                flood_begins: false,
            };
        }
        let bytes = usize::try_from(self.tokens)
            .unwrap_or(usize::MAX)
            .min(wanted);
        self.tokens -= bytes as u64;
        self.flooded = bytes < wanted;
        Passed {
            bytes,
            flood_begins: self.flooded,
        }
    }
}

impl Log {
    pub(crate) fn new(observer: Arc<dyn Observer>, rate: ByteSize) -> Self {
        let bucket = Bucket {
            rate: rate.as_u64(),
            tokens: rate.as_u64(),
            filled_at: Instant::now(),
            flooded: false,
        };
        Self {
            observer,
            rate,
            bucket: Mutex::new(bucket),
            dropped_bytes: AtomicU64::new(0),
        }
    }

    /// Passes on what fits; the rest is dropped and counted.
    pub(crate) fn write(&self, stream: LogStream, bytes: &[u8]) {
        let passed = {
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(Instant::now(), bytes.len())
        };
        let (kept, dropped) = bytes.split_at(passed.bytes.min(bytes.len()));
        if !kept.is_empty() {
            self.observer.log(stream, kept);
        }
        if dropped.is_empty() {
            return;
        }
        self.dropped_bytes
            .fetch_add(dropped.len() as u64, Ordering::Relaxed);
        if passed.flood_begins {
            let breach = Breach::LogRate { limit: self.rate };
            self.observer
                .log(stream, format!("\n[{breach}]\n").as_bytes());
            self.observer.breach(breach);
        }
    }

    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_with_one_marker_per_flood() {
        let start = Instant::now();
        let mut bucket = Bucket {
            rate: 1_000,
            tokens: 1_000,
            filled_at: start,
            flooded: false,
        };
        assert_eq!(
            bucket.take(start, 600),
            Passed {
                bytes: 600,
                flood_begins: false
            }
        );
        assert_eq!(
            bucket.take(start, 600),
            Passed {
                bytes: 400,
                flood_begins: true
            }
        );
        let soon = start + Duration::from_millis(100);
        assert_eq!(
            bucket.take(soon, 10),
            Passed {
                bytes: 0,
                flood_begins: false
            }
        );
        let later = start + Duration::from_millis(900);
        assert_eq!(
            bucket.take(later, 10),
            Passed {
                bytes: 10,
                flood_begins: false
            }
        );
        let much_later = start + Duration::from_secs(60);
        assert_eq!(
            bucket.take(much_later, 5_000),
            Passed {
                bytes: 1_000,
                flood_begins: true
            }
        );
    }
}
