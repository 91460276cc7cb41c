//! Counts of waiting transactions and their bytes. Never knows whose they are.

/// How full the pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolDepth {
    /// Transactions waiting.
    pub transactions: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl PoolDepth {
    pub(crate) const fn add(&mut self, bytes: usize) {
        self.transactions += 1;
        self.bytes += bytes;
    }

    pub(crate) const fn remove(&mut self, bytes: usize) {
        self.transactions -= 1;
        self.bytes -= bytes;
    }

    /// Whether one more fits below these bounds.
    pub(crate) const fn fits(
        self,
        bytes: usize,
        transactions_max: usize,
        bytes_max: usize,
    ) -> bool {
        self.transactions < transactions_max && self.bytes.saturating_add(bytes) <= bytes_max
    }
}
