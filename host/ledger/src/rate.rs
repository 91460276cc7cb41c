//! How many transactions of one signer count within a while of ledger time. Transactions cost
//! nothing, so this is what one signer alone can make all nodes execute and keep for good. Never
//! knows what a transaction does.
//!
//! What spends a nonce is counted, whether or not its operation succeeds. What spends none changes
//! nothing and takes room in blocks only, as what a stranger signs does: the pools of the nodes
//! bound that, for each peer and for each signer.

use proofs::WorkEvidence;
use serde::{Deserialize, Serialize};

use crate::transaction::Operation;

/// Most transactions of one principal in a window: two full blocks, or 200 a second for as long as
/// it likes, which no person and no node needs.
pub const TRANSACTIONS_PER_WINDOW_MAX: u32 = 2_048;
/// Length of a window. It is one of ledger time, since heights stand still in an idle fabric: a
/// window of blocks might never end there.
pub const RATE_WINDOW_MS: u64 = 10_000;

/// What a transaction with a calibration counts as: every validator computes a part of it again, which
/// takes as long as some hundred checks of signatures.
pub(crate) const CALIBRATION_COST: u32 = 64;

/// What a transaction counts as.
pub(crate) fn cost_of(operation: &Operation) -> u32 {
    let work = match operation {
        Operation::Asset(proven) => &proven.proofs.work,
        Operation::Lease(proven) => &proven.proofs.work,
        _ => return 1,
    };
    let evidence = work.as_ref().map(|work| &work.evidence);
    match evidence {
        Some(WorkEvidence::Calibration(_)) => CALIBRATION_COST,
        _ => 1,
    }
}

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

    /// With one transaction more that counts as `cost`, in a block of this time.
    pub(crate) const fn with_more(self, time_ms: u64, cost: u32) -> Result<Self, RateExceeded> {
        let window = time_ms / RATE_WINDOW_MS;
        let before = match self.window == window {
            true => self.transactions,
            false => 0,
        };
        let transactions = before.saturating_add(cost);
        if transactions > TRANSACTIONS_PER_WINDOW_MAX {
            let until_ms = (self.window + 1).saturating_mul(RATE_WINDOW_MS);
            return Err(RateExceeded { until_ms });
        }
        Ok(Self {
            window,
            transactions,
        })
    }
}
