//! How many transactions of one signer count within a while of ledger time. Transactions cost
//! nothing, so this is what one signer alone can make all nodes execute and keep for good. Never
//! knows what a transaction does.
//!
//! What spends a nonce is counted, whether or not its operation succeeds. What spends none changes
//! nothing and takes room in blocks only, as what a stranger signs does: the pools of the nodes
//! bound that, for each peer and for each signer.

use serde::{Deserialize, Serialize};

/// Most transactions of one principal in a window: two full blocks, or 200 a second for as long as
/// it likes, which no person and no node needs.
pub const TRANSACTIONS_PER_WINDOW_MAX: u32 = 2_048;
/// Length of a window. It is one of ledger time, since heights stand still in an idle fabric: a
/// window of blocks might never end there.
pub const RATE_WINDOW_MS: u64 = 10_000;

/// What a principal has spent of the window in which it was last heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentRate {
    /// Which window: ledger time by [`RATE_WINDOW_MS`].
    pub window: u64,
    /// Transactions in it; at most [`TRANSACTIONS_PER_WINDOW_MAX`].
    pub transactions: u32,
}

/// Nothing is left of the window.
pub(crate) struct RateExceeded {
    /// Ledger time at which the next one begins.
    pub(crate) until_ms: u64,
}

impl SpentRate {
    /// One transaction, in a block of this time.
    pub(crate) const fn first(time_ms: u64) -> Self {
        Self {
            window: time_ms / RATE_WINDOW_MS,
            transactions: 1,
        }
    }

    /// With one transaction more, in a block of this time.
    pub(crate) const fn with_one_more(self, time_ms: u64) -> Result<Self, RateExceeded> {
        let first = Self::first(time_ms);
        if self.window != first.window {
            return Ok(first);
        }
        if self.transactions >= TRANSACTIONS_PER_WINDOW_MAX {
            let until_ms = (self.window + 1).saturating_mul(RATE_WINDOW_MS);
            return Err(RateExceeded { until_ms });
        }
        Ok(Self {
            transactions: self.transactions + 1,
            ..self
        })
    }
}
