//! The wall clock, as far as people and certificates need it. Never decides what is valid on the
//! ledger.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time is read; tests bring their own.
pub(crate) type Clock = std::sync::Arc<dyn Fn() -> u64 + Send + Sync>;

/// Now, Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
