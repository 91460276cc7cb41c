//! The ledger as the rest of the node sees it: submit, look, stop. Lives on ordinary tokio and
//! talks to the engine's thread over channels only.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ledger::{CommitteeRecord, Evidence, SignedTransaction, StateKey, TransactionOutcome};
use tokio::sync::{mpsc, oneshot, watch};
use types::{FabricId, NodeId};

use crate::ballots::Ahead;
use crate::config::Retention;
use crate::depth::PoolDepth;
use crate::error::{Closed, QueryError, ShutdownError, SubmitError};
use crate::evidence::Vigilance;
use crate::handovers::Handover;
use crate::links::Wires;
use crate::pool::Pool;
use crate::proof::{FinalizedProof, StateProof};
use crate::query::Query;
use crate::quorum::Quorum;
use crate::state::Snapshot;
use crate::tips::Heard;
use crate::upgrade::Rules;

/// A running ledger. Clones share it; when the last one is dropped it stops by itself.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queries: mpsc::Sender<Query>,
    /// Dropping this stops the engine.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the engine's thread and the handles have in common.
pub(crate) struct Shared {
    pub(crate) fabric: FabricId,
    pub(crate) me: NodeId,
    pub(crate) office: watch::Sender<Office>,
    pub(crate) ahead: Arc<Ahead>,
    pub(crate) vigilance: Arc<Vigilance>,
    /// The ends of epochs in which validators changed, oldest first.
    pub(crate) handovers: watch::Sender<Vec<Handover>>,
    pub(crate) wires: Arc<Wires>,
    pub(crate) heard: watch::Sender<Heard>,
    /// Whether what was missed is executed, however much it is: no peer proves a state to take over.
    pub(crate) executes: watch::Sender<bool>,
    /// How far above this node peers may be before their state is taken over.
    pub(crate) beyond_blocks: u64,
    pub(crate) retention: Retention,
    pub(crate) pool: Pool,
    pub(crate) tip: watch::Sender<Tip>,
    pub(crate) rounds: watch::Sender<Rounds>,
    pub(crate) rules: Rules,
    pub(crate) closed: watch::Sender<Option<Closed>>,
}

impl Shared {
    /// Whether this node is the only validator of its fabric.
    pub(crate) fn votes_alone(&self) -> bool {
        let office = self.office.borrow();
        office.votes && office.validators.len() == 1
    }

    /// Whether the block at `height` cannot be reached by executing what lies between: because
    /// there is too much of it, or because nobody has it any more.
    pub(crate) fn is_too_far(&self, height: u64) -> bool {
        let own = self.tip.borrow().height;
        let gone = self.heard.borrow().kept_from();
        let gone = gone.is_some_and(|kept_from| kept_from > own + 1);
        height > own.saturating_add(self.beyond_blocks) || gone && height > own
    }

    /// What this node does in the epoch under way.
    pub(crate) fn role(&self) -> Role {
        if self.office.borrow().votes {
            Role::Validator
        } else {
            Role::Follower
        }
    }

    /// Takes who is in office, and lets those vote with this node who do or will.
    pub(crate) fn install(&self, office: Office) {
        let mut voters = BTreeSet::new();
        if office.votes {
            voters.extend(&office.validators);
        }
        if let Some(next) = &office.next
            && (office.votes || next.contains(&self.me))
        {
            voters.extend(next);
        }
        self.wires.let_vote(voters);
        self.office.send_replace(office);
    }

    /// Takes what the state says of the next epoch: its entry about the committee.
    pub(crate) fn learn_next(&self, entry: Option<&[u8]>, height: u64) {
        // A newer release wrote what this one cannot read: it will name the validators itself.
        let record = entry.and_then(|bytes| CommitteeRecord::decode(bytes).ok());
        let next: Option<BTreeSet<_>> = record
            .and_then(|record| record.next)
            .map(|next| next.into_iter().collect());
        let mut office = self.office.borrow().clone();
        office.next = next.filter(|next| *next != office.validators);
        office.opens_above = office.opens_above.filter(|base| height <= *base);
        self.install(office);
    }
}

/// Who votes in the epoch under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Office {
    pub(crate) epoch: u64,
    pub(crate) validators: BTreeSet<NodeId>,
    /// Whether this node is one of them.
    pub(crate) votes: bool,
    /// Who votes in the next epoch, if they are others: until it begins, blocks are made at once.
    pub(crate) next: Option<BTreeSet<NodeId>>,
    /// The block that the epoch builds on, as long as it is the last one and other validators took
    /// over with it: the next block puts them in office for the ledger, too.
    pub(crate) opens_above: Option<u64>,
}

impl Office {
    /// Whether blocks are made without waiting for transactions.
    pub(crate) const fn hurries(&self) -> bool {
        self.next.is_some() || self.opens_above.is_some()
    }
}

/// What a node does in its fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It votes.
    Validator,
    /// It takes final blocks from its peers, checks and executes them, and serves them on.
    Follower,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validator => "validator",
            Self::Follower => "follower",
        })
    }
}

/// The last final block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) height: u64,
    pub(crate) time_ms: u64,
    pub(crate) state_root: [u8; 32],
}

/// How agreement goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rounds {
    /// The vote journal is open and a round is under way.
    pub(crate) voting: bool,
    /// The epoch that the rounds below are of.
    pub(crate) epoch: u64,
    /// Latest round that ended.
    pub(crate) view: u64,
    /// Latest round that ended with a final block.
    pub(crate) final_view: u64,
    pub(crate) nullified: u64,
}

impl Rounds {
    /// Notes that a round ended with a final block.
    pub(crate) fn finalized(&mut self, epoch: u64, view: u64) {
        self.ended(epoch, view);
        if epoch == self.epoch {
            self.final_view = self.final_view.max(view);
        }
    }

    /// Notes that a round ended.
    pub(crate) fn ended(&mut self, epoch: u64, view: u64) {
        if epoch > self.epoch {
            (self.epoch, self.view, self.final_view) = (epoch, 0, 0);
        }
        if epoch == self.epoch {
            self.view = self.view.max(view);
        }
    }

    /// The latest round that ended with a final block: its epoch and view.
    pub(crate) const fn final_round(&self) -> (u64, u64) {
        (self.epoch, self.final_view)
    }
}

/// A transaction's end: in a final block, durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finality {
    /// Height of the block.
    pub height: u64,
    /// What the transaction did there.
    pub outcome: TransactionOutcome,
}

/// One final block, with everything that it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalizedBlock {
    /// Its height: one more than that of the block before.
    pub height: u64,
    /// Ledger time, Unix milliseconds: greater than that of the block before.
    pub time_ms: u64,
    /// BLAKE3 of the block's canonical bytes.
    pub block_digest: [u8; 32],
    /// Canonical root of the state after it.
    pub state_root: [u8; 32],
    /// Entries written, and removed (`None`), in key order.
    pub changes: Vec<(StateKey, Option<Vec<u8>>)>,
    /// Its transactions in order, each with what it did.
    pub transactions: Vec<(types::Digest, TransactionOutcome)>,
}

/// What the stream carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finalized {
    /// The next block.
    Block(FinalizedBlock),
    /// A state at or above the last height, in place of the one before: this node was too far
    /// behind and took it over from its peers, proven. The blocks up to it were not executed here.
    State(Snapshot),
}

/// The highest final block that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardTip {
    /// Its height, as the peers say until the block is here: at most the round in which it became
    /// final.
    pub height: u64,
    /// Connected peers whose last announcement it is.
    pub peers: usize,
}

/// The ledger at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Height of the last final block.
    pub height: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// Canonical root of the state after it.
    pub state_root: [u8; 32],
    /// What waits for a block.
    pub pool: PoolDepth,
    /// What this node does in its fabric.
    pub role: Role,
    /// The epoch under way here.
    pub epoch: u64,
    /// Nodes with a vote in it.
    pub validators: usize,
    /// Nodes with a vote in the next one, if they are others.
    pub next_validators: Option<usize>,
    /// Connected members that are not blocked.
    pub peers: usize,
    /// Whether this validator reaches enough others; `None` for a node without a vote.
    pub quorum: Option<Quorum>,
    /// The highest final block that a connected peer announced and proved; `None` while none did.
    pub heard: Option<HeardTip>,
    /// A peer has a final block that this node has not executed yet.
    pub catching_up: bool,
    /// Every peer that announced a block keeps blocks from this height on only, and this node
    /// still needs lower ones: it has to take over their state.
    pub lagging: Option<u64>,
    /// Latest round of voting that this node saw end.
    pub view: u64,
    /// Rounds since the start that ended without a block.
    pub nullified: u64,
    /// Why the ledger is closed; `None` while it runs.
    pub closed: Option<Closed>,
}

impl Ledger {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queries: mpsc::Sender<Query>,
        stop: oneshot::Sender<()>,
    ) -> Self {
        let (stop, thread) = (Mutex::new(Some(stop)), Mutex::new(None));
        Self {
            inner: Arc::new(Inner {
                shared,
                queries,
                stop,
                thread,
            }),
        }
    }

    /// Remembers the engine's thread, which [`Ledger::shutdown`] waits for.
    pub(crate) fn runs_on(&self, thread: JoinHandle<()>) {
        let mut place = self
            .inner
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *place = Some(thread);
    }

    /// Hands in a transaction and waits until it is in a final block: `kill -9` of every node right
    /// after the return loses nothing. The stream may show the block a moment later, when it and its
    /// state are stored here. Dropping the future does not take the transaction back.
    ///
    /// A follower sends it to the validators until it is final here or expired.
    ///
    /// Handing in one that waits already joins it. One that became final a moment ago is told its
    /// finality once more; one that was final before that is executed again and refused by its
    /// nonce.
    ///
    /// Do not call this from the task that reads the block stream: a stream nobody reads holds
    /// finality up.
    ///
    /// # Errors
    /// [`SubmitError`]; only after [`SubmitError::Stopped`] is the transaction's fate open.
    pub async fn submit(&self, transaction: Vec<u8>) -> Result<Finality, SubmitError> {
        let shared = &self.inner.shared;
        let transaction = SignedTransaction::decode(&shared.fabric, &transaction)?;
        let height = shared.tip.borrow().height;
        let expires_at = transaction.transaction().expires_at;
        if expires_at <= height {
            return Err(SubmitError::Expired { expires_at, height });
        }
        let told = shared.pool.insert(transaction)?;
        match told.await {
            Ok(end) => end,
            // The pool tells every waiter before it lets go of one.
            Err(_) => Err(SubmitError::Stopped {
                reason: self.closed().await,
            }),
        }
    }

    /// The final block at `height` as it is stored, with its certificate; `None` where this node
    /// has none, or has pruned it. [`crate::verify_finalized`] checks it.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn finalized(&self, height: u64) -> Result<Option<FinalizedProof>, QueryError> {
        let (told, answer) = oneshot::channel();
        self.ask(Query::Finalized(height, told), answer).await
    }

    /// The height of the final block with this digest; `None` where this node has none, or has
    /// pruned it.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn height_of(&self, digest: [u8; 32]) -> Result<Option<u64>, QueryError> {
        let (told, answer) = oneshot::channel();
        self.ask(Query::Height(digest, told), answer).await
    }

    /// Proof of what `key` holds, or that it holds nothing, in the state of a recent final block;
    /// `None` before the first one. [`crate::verify_proof`] checks it.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn prove(&self, key: StateKey) -> Result<Option<StateProof>, QueryError> {
        let (told, answer) = oneshot::channel();
        self.ask(Query::Prove(key, told), answer).await
    }

    async fn ask<T>(
        &self,
        query: Query,
        answer: oneshot::Receiver<Result<T, QueryError>>,
    ) -> Result<T, QueryError> {
        if self.inner.queries.send(query).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        Err(QueryError::Stopped {
            reason: self.closed().await,
        })
    }

    /// Waits until this node has seen a validator contradict itself, and gives the proof, for
    /// somebody to hand in as a transaction. One who goes on is proven again.
    pub async fn evidence(&self) -> Evidence {
        self.inner.shared.vigilance.next().await
    }

    /// The ends of epochs in which validators changed, oldest first: with them whoever knows the
    /// genesis can check what later validators signed.
    #[must_use]
    pub fn handovers(&self) -> Vec<Handover> {
        self.inner.shared.handovers.borrow().clone()
    }

    /// The ledger at a glance.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.inner.shared;
        let (tip, rounds) = (*shared.tip.borrow(), *shared.rounds.borrow());
        let (highest, kept_from) = {
            let heard = shared.heard.borrow();
            (heard.highest(), heard.kept_from())
        };
        let office = shared.office.borrow().clone();
        let catching_up = highest.is_some_and(|(height, _)| height > tip.height);
        Status {
            height: tip.height,
            time_ms: tip.time_ms,
            state_root: tip.state_root,
            pool: shared.pool.depth(),
            role: shared.role(),
            epoch: office.epoch,
            validators: office.validators.len(),
            next_validators: office.next.as_ref().map(BTreeSet::len),
            peers: shared.wires.peers().len(),
            quorum: Quorum::seen_by(shared),
            heard: highest.map(|(height, peers)| HeardTip { height, peers }),
            catching_up,
            lagging: kept_from.filter(|from| catching_up && *from > tip.height + 1),
            view: rounds.view,
            nullified: rounds.nullified,
            closed: shared.closed.borrow().clone(),
        }
    }

    /// Waits until the ledger is closed and says why.
    pub async fn closed(&self) -> Closed {
        let mut closed = self.inner.shared.closed.subscribe();
        match closed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(Closed::Stopped),
            // The sender lives in `shared`, which `self` holds.
            Err(_) => Closed::Stopped,
        }
    }

    /// Stops the engine and waits until its thread has ended and its files are released. What
    /// still waits in the pool is told that the ledger stopped.
    ///
    /// # Errors
    /// [`ShutdownError::Failed`] if the ledger had failed before it was asked to stop.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        drop(
            self.inner
                .stop
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let reason = self.closed().await;
        let thread = self
            .inner
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // The thread caught its own panic and is past its last step.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        match reason {
            Closed::Stopped => Ok(()),
            Closed::Outdated(unknown) => Err(ShutdownError::Failed {
                reason: unknown.to_string(),
            }),
            Closed::Failed { reason } => Err(ShutdownError::Failed { reason }),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ledger").field(&self.status()).finish()
    }
}
