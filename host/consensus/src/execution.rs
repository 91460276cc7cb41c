//! Runs the ledger's pure rules over state that has to be fetched. Never decides what a
//! transaction does, nor whether a block is valid.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use ledger::{
    BlockContext, Genesis, KnownRules, NotLoaded, SignedTransaction, StateKey, StateView,
};
use ledger::{TransactionOutcome, UnknownRules, execute};

use crate::block::Digest;
use crate::state::DbError;

/// Entries that one block may read. The rules bound what a transaction reads; this only ends a
/// loop that could not end by itself.
const BLOCK_READS_MAX: usize = 1 << 20;

/// What a block did.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    pub(crate) changes: BTreeMap<StateKey, Option<Vec<u8>>>,
    pub(crate) outcomes: Vec<(types::Digest, TransactionOutcome)>,
}

/// Where state comes from: a batch over the parent, or the store itself.
pub(crate) trait ReadState: Sync {
    /// The value at `key`, or `None` when there is none.
    fn read(&self, key: &StateKey)
    -> impl Future<Output = Result<Option<Vec<u8>>, DbError>> + Send;
}

/// Why a block could not be executed; never a verdict about the block.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error("the state cannot be read: {0}")]
    Storage(#[from] DbError),
    #[error(transparent)]
    Rules(#[from] UnknownRules),
    #[error("the block reads more than {BLOCK_READS_MAX} entries")]
    Reads,
}

/// Executes `transactions` on the state behind `state`, fetching each entry that the rules ask
/// for and starting again, so that the rules stay synchronous and see exactly one state.
pub(crate) async fn run(
    genesis: &Genesis,
    known: KnownRules,
    block: &BlockContext,
    transactions: &[SignedTransaction],
    state: &impl ReadState,
) -> Result<Executed, ExecuteError> {
    let mut loaded = Loaded::default();
    if transactions.len() > 1 {
        prefetch(genesis, known, block, transactions, state, &mut loaded).await?;
    }
    let execution = loop {
        match execute(genesis, known, &loaded, block, transactions) {
            Ok(execution) => break execution,
            Err(error) => loaded.fetch(missing(error)?, state).await?,
        }
    };
    let ids = transactions.iter().map(SignedTransaction::id);
    Ok(Executed {
        changes: execution.changes,
        outcomes: ids.zip(execution.outcomes).collect(),
    })
}

/// Fetches what the transactions will ask for by executing them one by one, each on the changes
/// of those before. The results are only hints and are thrown away, but without them a full block
/// would start again once for every entry that it reads.
async fn prefetch(
    genesis: &Genesis,
    known: KnownRules,
    block: &BlockContext,
    transactions: &[SignedTransaction],
    state: &impl ReadState,
    loaded: &mut Loaded,
) -> Result<(), ExecuteError> {
    let mut written = BTreeMap::new();
    for transaction in transactions {
        let execution = loop {
            let view = Overlay {
                written: &written,
                loaded,
            };
            match execute(
                genesis,
                known,
                &view,
                block,
                std::slice::from_ref(transaction),
            ) {
                Ok(execution) => break execution,
                Err(error) => loaded.fetch(missing(error)?, state).await?,
            }
        };
        written.extend(execution.changes);
    }
    Ok(())
}

/// The entries to load, if they are all that an execution lacks.
fn missing(error: ledger::ExecuteError) -> Result<Vec<StateKey>, UnknownRules> {
    match error {
        ledger::ExecuteError::NotLoaded(NotLoaded { keys }) => Ok(keys),
        ledger::ExecuteError::UnknownRules(unknown) => Err(unknown),
    }
}

/// The entries fetched so far; an absent one is remembered as absent.
#[derive(Default)]
struct Loaded(BTreeMap<StateKey, Option<Vec<u8>>>);

impl Loaded {
    async fn fetch(
        &mut self,
        keys: Vec<StateKey>,
        state: &impl ReadState,
    ) -> Result<(), ExecuteError> {
        for key in keys {
            if self.0.len() >= BLOCK_READS_MAX {
                return Err(ExecuteError::Reads);
            }
            let value = state.read(&key).await?;
            self.0.insert(key, value);
        }
        Ok(())
    }
}

impl StateView for Loaded {
    fn read(&self, key: &StateKey) -> Result<Option<&[u8]>, NotLoaded> {
        match self.0.get(key) {
            Some(value) => Ok(value.as_deref()),
            None => Err(NotLoaded {
                keys: vec![key.clone()],
            }),
        }
    }
}

/// Fetched entries under the changes of the transactions before.
struct Overlay<'a> {
    written: &'a BTreeMap<StateKey, Option<Vec<u8>>>,
    loaded: &'a Loaded,
}

impl StateView for Overlay<'_> {
    fn read(&self, key: &StateKey) -> Result<Option<&[u8]>, NotLoaded> {
        match self.written.get(key) {
            Some(value) => Ok(value.as_deref()),
            None => self.loaded.read(key),
        }
    }
}

/// Executions of blocks that are not final yet, so that a block is executed once: when it is
/// built or checked. Losing one costs a second execution and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Executions(Arc<Mutex<ByBlock>>);

/// By height first, so that what is final goes first.
type ByBlock = BTreeMap<(u64, Digest), Arc<Executed>>;

impl Executions {
    /// Blocks remembered; consensus works on a few heights at a time.
    const BLOCKS_MAX: usize = 32;

    pub(crate) fn remember(&self, height: u64, block: Digest, executed: Arc<Executed>) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.insert((height, block), executed);
        if blocks.len() > Self::BLOCKS_MAX {
            blocks.pop_first();
        }
    }

    pub(crate) fn recall(&self, height: u64, block: Digest) -> Option<Arc<Executed>> {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.get(&(height, block)).cloned()
    }

    /// What the block did, and its height, where only its digest is known.
    pub(crate) fn find(&self, block: Digest) -> Option<(u64, Arc<Executed>)> {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = blocks.iter().rev();
        let ((height, _), executed) = blocks.find(|((_, digest), _)| *digest == block)?;
        Some((*height, executed.clone()))
    }

    /// Drops what lies at or below a final height.
    pub(crate) fn forget_through(&self, height: u64) {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.retain(|(at, _), _| *at > height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: u8) -> Digest {
        commonware_cryptography::blake3::Digest([byte; 32])
    }

    fn nothing() -> Arc<Executed> {
        Arc::new(Executed {
            changes: BTreeMap::new(),
            outcomes: Vec::new(),
        })
    }

    #[test]
    fn executions_are_bounded_and_go_when_final() {
        let executions = Executions::default();
        for height in 0..100 {
            executions.remember(height, digest(1), nothing());
        }
        assert!(executions.recall(99 - 32, digest(1)).is_none());
        assert!(executions.recall(99 - 31, digest(1)).is_some());
        assert!(executions.recall(99, digest(2)).is_none());
        executions.forget_through(98);
        assert!(executions.recall(98, digest(1)).is_none());
        assert!(executions.recall(99, digest(1)).is_some());
    }
}
