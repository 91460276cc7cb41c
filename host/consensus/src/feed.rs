//! The stream of final blocks: where it begins, and that it has no gap and no repeat. Never
//! knows how blocks become final.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use crate::handle::{Finalized, FinalizedBlock, Shared, Tip};
use crate::state::Snapshot;

/// Final blocks that may wait for the reader. When they do, finality waits too: a validator that
/// cannot keep up with its own ledger must not run ahead of it.
pub const FINALIZED_BLOCKS_QUEUE_MAX: usize = 64;

/// Where final blocks go.
#[derive(Clone)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    blocks: mpsc::Sender<Finalized>,
    /// First height of the stream; none before the snapshot is taken. Held while a block is
    /// handed over, so that a snapshot falls between two blocks.
    first: Arc<Mutex<Option<u64>>>,
}

impl Feed {
    pub(crate) fn new(shared: Arc<Shared>) -> (Self, mpsc::Receiver<Finalized>) {
        let (blocks, stream) = mpsc::channel(FINALIZED_BLOCKS_QUEUE_MAX);
        (
            Self {
                shared,
                blocks,
                first: Arc::default(),
            },
            stream,
        )
    }

    /// Hands a final block to the reader, then tells those who submitted its transactions. A
    /// block that the snapshot contains is not handed over.
    pub(crate) async fn publish(&self, block: FinalizedBlock) {
        let tip = Tip {
            height: block.height,
            time_ms: block.time_ms,
            state_root: block.state_root,
        };
        let outcomes = block.transactions.clone();
        let first = self.first.lock().await;
        if first.is_some_and(|first| block.height >= first)
            && self.blocks.send(Finalized::Block(block)).await.is_err()
        {
            tracing::debug!(height = tip.height, "nobody reads final blocks any more");
        }
        drop(first);
        self.shared.tip.send_replace(tip);
        self.shared.pool.settle(tip.height, &outcomes);
    }

    /// Runs `snapshot`, which says at what height it was taken, and begins the stream above it. If
    /// another state was `shown` before, the reader gets this one first.
    pub(crate) async fn begin<X>(
        &self,
        snapshot: impl Future<Output = Result<(Snapshot, Tip), X>>,
        shown: bool,
    ) -> Result<Snapshot, X> {
        let mut first = self.first.lock().await;
        let (taken, tip) = snapshot.await?;
        *first = Some(tip.height + 1);
        if shown {
            let item = Finalized::State(taken.clone());
            if self.blocks.send(item).await.is_err() {
                tracing::debug!(height = tip.height, "nobody reads final blocks any more");
            }
            self.shared.pool.skip(tip.height);
        }
        self.shared.tip.send_replace(tip);
        Ok(taken)
    }

    /// Ends the stream until it begins again.
    pub(crate) async fn interrupt(&self) {
        *self.first.lock().await = None;
    }
}
