//! One reader who follows final blocks: which comes next, and what of it is shown. A reader never
//! holds the ledger up: it hears of what it was too slow for.

use std::sync::Arc;

use admin::{EntryChange, WatchedBlock};
use consensus::FinalizedBlock;
use data_encoding::HEXLOWER;
use ledger::StateKey;
use tokio::sync::watch;
use types::Digest;

use crate::api::blocks::{stored, summary};
use crate::api::ledger::record;
use crate::shared::Shared;

/// A reader's place.
pub(super) struct Watching {
    shared: Arc<Shared>,
    /// Grows with every block.
    revision: watch::Receiver<u64>,
    next: u64,
    missed: u64,
    /// Only these changes; without it, blocks and no changes.
    prefix: Option<Vec<u8>>,
}

impl Watching {
    pub(super) fn new(shared: Arc<Shared>, from: u64, prefix: Option<Vec<u8>>) -> Self {
        let revision = shared.revision.subscribe();
        Self {
            shared,
            revision,
            next: from,
            missed: 0,
            prefix,
        }
    }

    /// The next block that is to be shown; none when the node ends.
    pub(super) async fn next(&mut self) -> Option<WatchedBlock> {
        loop {
            let (shared, next) = (&self.shared, self.next);
            let arrived = |_: &u64| shared.state().view.height() >= next;
            self.revision.wait_for(arrived).await.ok()?;
            if let Some(block) = self.look().await {
                return Some(block);
            }
        }
    }

    /// Goes one block on.
    async fn look(&mut self) -> Option<WatchedBlock> {
        let skipped = (self.shared.history.skipped_to() + 1).saturating_sub(self.next);
        if skipped > 0 {
            (self.next, self.missed) = (self.next + skipped, self.missed + skipped);
            return None;
        }
        let height = self.next;
        self.next += 1;
        let block = match (self.shared.history.at(height), &self.prefix) {
            (Some(block), Some(prefix)) => {
                let changes = changes(&block, prefix);
                (!changes.is_empty()).then(|| watched(&block, changes))
            }
            (Some(block), None) => Some(watched(&block, Vec::new())),
            // What it changed is forgotten; that it came is not.
            (None, None) => self.kept(height).await,
            (None, Some(_)) => None,
        };
        if block.is_none() && self.shared.history.at(height).is_none() {
            self.missed += 1;
        }
        block.map(|block| WatchedBlock {
            missed: std::mem::take(&mut self.missed),
            ..block
        })
    }

    async fn kept(&self, height: u64) -> Option<WatchedBlock> {
        let proof = stored(&self.shared, height).await.ok()??;
        let block = summary(&self.shared, &proof).ok()?;
        Some(WatchedBlock {
            height,
            time_ms: block.time_ms,
            digest: block.digest,
            transactions: block.transactions,
            missed: 0,
            changes: Vec::new(),
        })
    }
}

fn watched(block: &FinalizedBlock, changes: Vec<EntryChange>) -> WatchedBlock {
    WatchedBlock {
        height: block.height,
        time_ms: block.time_ms,
        digest: Digest::from_bytes(block.block_digest),
        transactions: block.transactions.len() as u64,
        missed: 0,
        changes,
    }
}

fn changes(block: &FinalizedBlock, prefix: &[u8]) -> Vec<EntryChange> {
    let matching = |(key, _): &&(StateKey, _)| key.as_bytes().starts_with(prefix);
    let changes = block.changes.iter().filter(matching);
    let change = |(key, value): &(StateKey, Option<Vec<u8>>)| EntryChange {
        key: key.to_string(),
        value: value.as_deref().map(|value| HEXLOWER.encode(value)),
        // A value that a newer release wrote is shown raw.
        record: value
            .as_deref()
            .and_then(|value| record(key, value).ok().flatten()),
    };
    changes.map(change).collect()
}
