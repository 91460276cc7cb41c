//! Lets old final blocks go by their height, so that a node that is started often keeps no more than
//! others. Never touches the state.

use std::future::pending;
use std::sync::Arc;

use commonware_consensus::types::Height;

use crate::engine::{EngineRuntime, Foundation};
use crate::epochs::Epochs;
use crate::handle::Shared;

/// What is old, for one run of the engine.
pub(crate) struct Old {
    pub(crate) shared: Arc<Shared>,
    pub(crate) epochs: Epochs,
}

impl Old {
    /// Asks the engine to let blocks go whenever a whole file of them is old, beginning with what
    /// the runs before left, for ever.
    pub(crate) async fn forget<E: EngineRuntime>(&self, base: &Foundation<E>) {
        let mut tip = self.shared.tip.subscribe();
        let file_blocks = self.shared.retention.file_blocks;
        let mut files_gone = 0;
        loop {
            let kept_from = self.kept_from(tip.borrow_and_update().height);
            let files = kept_from / file_blocks;
            if files > files_gone {
                base.marshal.prune(Height::new(kept_from));
                files_gone = files;
            }
            if tip.changed().await.is_err() {
                return pending().await;
            }
        }
    }

    /// The lowest block that is needed once the one at `height` is final. The one that an epoch
    /// builds on stays: its engine asks for it at every start, and peers prove a state from it.
    fn kept_from(&self, height: u64) -> u64 {
        let epoch = self.epochs.latest().min(self.epochs.containing(height));
        let base = self.epochs.base(epoch);
        self.shared.retention.kept_from(height).min(base)
    }
}
