//! Builds and checks blocks: executes them on the authenticated state and compares every
//! commitment. Validity depends on the block's bytes and its parent's state, on nothing else.

use std::sync::Arc;

use commonware_consensus::Heightable as _;
use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_cryptography::{Digestible as _, ed25519};
use commonware_glue::stateful::db::{DatabaseSet, Merkleized as _, Reader, Unmerkleized as _};
use commonware_glue::stateful::{Application, Finality, Input, Proposed};
use commonware_runtime::Spawner;
use commonware_storage::qmdb::sync::Target;
use commonware_utils::non_empty_range;
use futures::StreamExt as _;
use ledger::{BlockContext, CommitteeRecord, Genesis, SignedTransaction, StateKey};

use crate::block::{Block, Context, Digest};
use crate::config::engine_key;
use crate::execution::{ExecuteError, Executed, Executions, ReadState, run};
use crate::feed::Feed;
use crate::handle::FinalizedBlock;
use crate::pacing::{Unsettled, now_ms};
use crate::state::{Databases, Db, DbError, Family, Head};

type Batch<E> = <Databases<E> as DatabaseSet<E>>::Unmerkleized;
type Sealed<E> = <Databases<E> as DatabaseSet<E>>::Merkleized;
type Readers<E> = <Databases<E> as DatabaseSet<E>>::Readers;

/// The ledger as the engine's application.
#[derive(Clone)]
pub(crate) struct LedgerApplication {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) genesis_block: Arc<Block>,
    pub(crate) executions: Executions,
    pub(crate) unsettled: Unsettled,
    pub(crate) feed: Feed,
}

/// Bounds that every runtime of the engine meets.
pub(crate) trait Runtime: Spawner + commonware_storage::Context {}
impl<E: Spawner + commonware_storage::Context> Runtime for E {}

impl<E: Runtime> Application<E> for LedgerApplication {
    type SigningScheme = Scheme;
    type Context = Context;
    type Block = Block;
    type Databases = Databases<E>;
    type Captured = Arc<Executed>;
    type Provider = ();
    type Input = ();

    fn sync_targets(block: &Block) -> Target<Family, Digest> {
        Target::new(block.sync_root, block.sync_range.clone())
    }

    async fn genesis(&mut self) -> Block {
        self.genesis_block.as_ref().clone()
    }

    async fn propose(
        &mut self,
        (clock, context): (E, Context),
        mut ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        _: Input<(), ()>,
    ) -> Option<Proposed<Self, E>> {
        let taken = self.unsettled.transactions(ancestry.clone()).await;
        let parent = ancestry.next().await?;
        let height = parent.height().next();
        let ends_epoch = self.genesis.ends_epoch(height.get());
        let transactions = if ends_epoch {
            Vec::new()
        } else {
            self.unsettled.shared.pool.pick(&taken)
        };
        let committee = self.next_committee(ends_epoch, &batch).await;
        let head = Head {
            height: height.get(),
            time_ms: parent.inner().child_time_ms(now_ms(&clock)),
        };
        let known = head.after(parent.digest());
        let (executed, sealed) = self.execute(&known, &transactions, batch).await;
        let block = Block {
            fabric: self.genesis_block.fabric,
            context,
            parent: parent.digest(),
            height,
            time_ms: head.time_ms,
            state_root: sealed.root(),
            sync_root: sealed.ops_root(),
            sync_range: non_empty_range!(sealed.sync_boundary(), sealed.bounds().tip.size),
            committee,
            transactions: transactions
                .iter()
                .map(|tx| tx.bytes().to_vec().into())
                .collect(),
        };
        self.executions
            .remember(head.height, block.digest(), Arc::new(executed));
        Some(Proposed {
            block,
            merkleized: sealed,
        })
    }

    async fn process(
        &mut self,
        _: (E, Context),
        mut ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        _: Finality,
    ) -> Option<Sealed<E>> {
        let block = ancestry.next().await?;
        let parent = ancestry.next().await?;
        let (digest, block) = (block.digest(), block.inner());
        if block.fabric != self.genesis_block.fabric || !block.time_follows(parent.inner()) {
            tracing::warn!(
                height = block.height.get(),
                "refused a block of a wrong fabric or time"
            );
            return None;
        }
        let transactions = self.decode(block)?;
        let head = Head {
            height: block.height.get(),
            time_ms: block.time_ms,
        };
        let ends_epoch = self.genesis.ends_epoch(head.height);
        if block.committee != self.next_committee(ends_epoch, &batch).await
            || ends_epoch && !transactions.is_empty()
        {
            tracing::warn!(
                height = head.height,
                "refused a block that hands over wrongly"
            );
            return None;
        }
        let known = head.after(block.parent);
        let (executed, sealed) = self.execute(&known, &transactions, batch).await;
        if sealed.root() != block.state_root {
            tracing::warn!(
                height = head.height,
                "refused a block with another state root"
            );
            return None;
        }
        self.executions
            .remember(head.height, digest, Arc::new(executed));
        Some(sealed)
    }

    async fn capture(
        &mut self,
        _: (E, Context),
        block: &Block,
        _: &Sealed<E>,
        readers: Readers<E>,
    ) -> Arc<Executed> {
        let height = block.height.get();
        let known = self.executions.recall(height, block.digest());
        self.executions.forget_through(height);
        if let Some(executed) = known {
            return executed;
        }
        // The block was executed before a restart: its parent's state still stands here.
        let Some(transactions) = self.decode(block) else {
            panic!("the final block at height {height} carries a transaction that is not valid");
        };
        let time_ms = block.time_ms;
        let context = Head { height, time_ms }.after(block.parent);
        let rules = &self.unsettled.shared.rules;
        let (genesis, known) = (&self.genesis, rules.known);
        match run(genesis, known, &context, &transactions, &Applied(readers)).await {
            Ok(executed) => Arc::new(executed),
            Err(ExecuteError::Rules(unknown)) => rules.stop(unknown).await,
            Err(error) => panic!("the final block at height {height} cannot be executed: {error}"),
        }
    }

    async fn finalized(
        &mut self,
        _: (E, Context),
        block: &Block,
        executed: Arc<Executed>,
        _: Readers<E>,
    ) {
        let Executed { changes, outcomes } = Arc::unwrap_or_clone(executed);
        if let Some(entry) = changes.get(&StateKey::committee()) {
            let height = block.height.get();
            self.unsettled.shared.learn_next(entry.as_deref(), height);
        }
        let height = block.height.get();
        let shared = self.unsettled.shared.clone();
        if let Some(entry) = changes.get(&StateKey::rules()) {
            shared.rules.learn(entry.as_deref());
        }
        self.feed
            .publish(FinalizedBlock {
                height: block.height.get(),
                time_ms: block.time_ms,
                block_digest: block.digest().0,
                state_root: block.state_root.0,
                changes: changes.into_iter().collect(),
                transactions: outcomes,
            })
            .await;
        // An error is told to whoever waits for this node to be too old.
        let _ = shared.rules.after(height);
    }
}

impl LedgerApplication {
    /// The block's transactions, unless one is not valid in any block.
    fn decode(&self, block: &Block) -> Option<Vec<SignedTransaction>> {
        let shared = &self.unsettled.shared;
        // What waits here was checked when it came.
        let decode = |bytes: &[u8]| match shared.pool.find(&types::Digest::of(bytes)) {
            Some(transaction) => Ok(transaction),
            None => SignedTransaction::decode(&shared.fabric, bytes),
        };
        match block
            .transactions
            .iter()
            .map(|bytes| decode(bytes))
            .collect()
        {
            Ok(transactions) => Some(transactions),
            Err(error) => {
                tracing::warn!(height = block.height.get(), %error, "refused a block");
                None
            }
        }
    }

    /// Whom a block on the state of `batch` must name as the validators of the next epoch: those who
    /// were decided on, in the last block of an epoch.
    async fn next_committee<E: Runtime>(
        &self,
        ends_epoch: bool,
        batch: &Batch<E>,
    ) -> Vec<ed25519::PublicKey> {
        if !ends_epoch {
            return Vec::new();
        }
        let entry = Pending(batch).read(&StateKey::committee()).await;
        let entry = entry.unwrap_or_else(|error| panic!("the state cannot be read: {error}"));
        let record = entry.map(|entry| CommitteeRecord::decode(&entry));
        let next = match record {
            Some(Ok(record)) => record.next.unwrap_or_default(),
            Some(Err(error)) => panic!("{error}"),
            None => Vec::new(),
        };
        next.iter().filter_map(engine_key).collect()
    }

    /// Executes on `batch` and seals it with the head that it leads to.
    ///
    /// A state that cannot be read or sealed says nothing about the block, so it must not become
    /// a vote: the engine stops instead. So it does if this program is too old for the block.
    async fn execute<E: Runtime>(
        &self,
        context: &BlockContext,
        transactions: &[SignedTransaction],
        batch: Batch<E>,
    ) -> (Executed, Sealed<E>) {
        let rules = &self.unsettled.shared.rules;
        let (genesis, known) = (&self.genesis, rules.known);
        let executed = match run(genesis, known, context, transactions, &Pending(&batch)).await {
            Ok(executed) => executed,
            Err(ExecuteError::Rules(unknown)) => return rules.stop(unknown).await,
            Err(error) => panic!(
                "the block at height {} cannot be executed: {error}",
                context.height
            ),
        };
        let mut batch = batch.with_metadata(Head::of(context).to_bytes());
        for (key, value) in &executed.changes {
            batch = batch.write(key.as_bytes().to_vec(), value.clone());
        }
        match batch.merkleize().await {
            Ok(sealed) => (executed, sealed),
            Err(error) => panic!(
                "the state at height {} cannot be sealed: {error}",
                context.height
            ),
        }
    }
}

/// State of a parent that is not final.
struct Pending<'a, E: Runtime>(&'a Batch<E>);

impl<E: Runtime> ReadState for Pending<'_, E> {
    async fn read(&self, key: &StateKey) -> Result<Option<Vec<u8>>, DbError> {
        self.0.get(&key.as_bytes().to_vec()).await
    }
}

/// Final state.
struct Applied<E: Runtime>(Reader<Db<E>>);

impl<E: Runtime> ReadState for Applied<E> {
    async fn read(&self, key: &StateKey) -> Result<Option<Vec<u8>>, DbError> {
        self.0.read().await.get(&key.as_bytes().to_vec()).await
    }
}
