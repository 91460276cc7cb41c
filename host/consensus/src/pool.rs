//! Transactions that wait for a block, and who waits for them. Bounded in count and bytes, for
//! all, for each peer and for each signer. Never knows what a transaction does; validity beyond its
//! signature is decided by the block.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ledger::{BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, SignedTransaction, TransactionOutcome};
use tokio::sync::{Notify, oneshot};
use types::{NodeId, Principal};

use crate::depth::PoolDepth;
use crate::error::{Closed, SubmitError};
use crate::handle::Finality;
use crate::settled::Settled;
use crate::time::Time;

/// Transactions that may wait: several full blocks, which is seconds of work.
pub const POOL_TRANSACTIONS_MAX: usize = 4096;
/// Bytes that may wait: bounds memory whatever the mix of sizes.
pub const POOL_BYTES_MAX: usize = 16 << 20;
/// Callers that may wait for one and the same transaction.
pub const POOL_WAITERS_MAX: usize = 16;

/// Transactions of one peer that may wait: a peer that floods leaves room for others.
pub const POOL_PEER_TRANSACTIONS_MAX: usize = 512;
/// Bytes of one peer that may wait.
pub const POOL_PEER_BYTES_MAX: usize = 2 << 20;
/// Transactions of all peers together that may wait: the rest is for this node's own callers.
const POOL_PEERS_TRANSACTIONS_MAX: usize = POOL_TRANSACTIONS_MAX / 4 * 3;
/// Bytes of all peers together that may wait.
const POOL_PEERS_BYTES_MAX: usize = POOL_BYTES_MAX / 4 * 3;

/// Transactions of one principal that may wait: one that signs faster than blocks are made leaves
/// room for others, wherever it hands them in.
pub const POOL_PRINCIPAL_TRANSACTIONS_MAX: usize = POOL_TRANSACTIONS_MAX / 4;
/// Bytes of one principal that may wait.
pub const POOL_PRINCIPAL_BYTES_MAX: usize = POOL_BYTES_MAX / 4;
/// Once one principal has so many transactions in a block, those of others come before more of it.
const BLOCK_PRINCIPAL_TRANSACTIONS_MAX: usize = BLOCK_TRANSACTIONS_MAX / 4;
/// Once they have so many bytes, too.
const BLOCK_PRINCIPAL_BYTES_MAX: usize = BLOCK_BYTES_MAX / 4;

/// First pause before a transaction is sent again; each later one is twice as long.
const RESEND_FIRST: Duration = Duration::from_millis(500);
/// Longest pause before a transaction is sent again.
const RESEND_LAST: Duration = Duration::from_secs(10);
/// Transactions that a follower has on the way at once, the oldest first. It is half of what the
/// receiver takes of one peer: one that was refused there would arrive after the next of its
/// signer, which would be refused by its nonce.
const ON_THE_WAY_TRANSACTIONS_MAX: usize = POOL_PEER_TRANSACTIONS_MAX / 2;
/// Their bytes.
const ON_THE_WAY_BYTES_MAX: usize = POOL_PEER_BYTES_MAX / 2;
/// How long a follower passes on a transaction of a peer: whoever wants it final sends it again.
const PASS_ON_FOR: Duration = Duration::from_secs(60);

type Waiter = oneshot::Sender<Result<Finality, SubmitError>>;

/// The pool that submitters, the proposer and finality share.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    time: Time,
    inner: Mutex<Inner>,
    work: Notify,
    arrival: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// By order of arrival: transactions of one signer stay in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    order_of: HashMap<types::Digest, u64>,
    arrivals: u64,
    bytes: usize,
    /// What each peer has waiting.
    shares: HashMap<NodeId, PoolDepth>,
    /// What each principal has waiting.
    signed: HashMap<Principal, PoolDepth>,
    settled: Settled,
    /// The last block whose transactions were told their end.
    told_through: u64,
    closed: Option<Closed>,
}

#[derive(Debug)]
struct Waiting {
    transaction: SignedTransaction,
    waiters: Vec<Waiter>,
    /// The peer that passed it on; none for a caller of this node.
    origin: Option<NodeId>,
    arrived: Instant,
    sends: u32,
    /// When it is to be sent next, where it is sent at all.
    due: Instant,
}

impl Pool {
    /// An empty pool of a node with this time.
    pub(crate) fn new(time: Time) -> Self {
        Self {
            time,
            ..Self::default()
        }
    }

    /// Takes a transaction and returns where its end will be told. One that already waits is
    /// joined: it will be executed once.
    pub(crate) fn insert(
        &self,
        transaction: SignedTransaction,
    ) -> Result<oneshot::Receiver<Result<Finality, SubmitError>>, SubmitError> {
        let (waiter, told) = oneshot::channel();
        let mut inner = self.lock();
        if let Some(reason) = &inner.closed {
            return Err(SubmitError::Stopped {
                reason: reason.clone(),
            });
        }
        let depth = inner.depth();
        let full = SubmitError::Full {
            transactions: depth.transactions,
            bytes: depth.bytes,
        };
        if let Some(order) = inner.order_of.get(&transaction.id()).copied() {
            let Some(waiting) = inner.waiting.get_mut(&order) else {
                return Err(full);
            };
            waiting.waiters.retain(|waiter| !waiter.is_closed());
            if waiting.waiters.len() >= POOL_WAITERS_MAX {
                return Err(full);
            }
            waiting.waiters.push(waiter);
            return Ok(told);
        }
        if let Some(finality) = inner.settled.recall(&transaction.id(), self.time.now()) {
            // The receiver is held here, so the channel is open.
            let _ = waiter.send(Ok(finality));
            return Ok(told);
        }
        if !inner.has_room(transaction.bytes().len()) {
            return Err(full);
        }
        let principal = transaction.transaction().principal;
        if !inner.has_room_of(&principal, transaction.bytes().len()) {
            return Err(SubmitError::PrincipalFull { principal });
        }
        inner.add(transaction, None, vec![waiter], self.time.now());
        drop(inner);
        self.tell_of_arrival();
        Ok(told)
    }

    /// Takes a transaction that `peer` passed on, if this peer, all peers and its signer have room
    /// left, and says whether it did. One that waits or was final a moment ago is not taken again.
    pub(crate) fn offer(&self, transaction: SignedTransaction, peer: NodeId, now: Instant) -> bool {
        let mut inner = self.lock();
        let id = transaction.id();
        let known = inner.order_of.contains_key(&id) || inner.settled.recall(&id, now).is_some();
        let bytes = transaction.bytes().len();
        if inner.closed.is_some()
            || known
            || !inner.has_room(bytes)
            || !inner.has_room_for(&peer, bytes)
            || !inner.has_room_of(&transaction.transaction().principal, bytes)
        {
            return false;
        }
        inner.add(transaction, Some(peer), Vec::new(), now);
        drop(inner);
        self.tell_of_arrival();
        true
    }

    /// What is to be sent at `now`, the oldest first, each with the peer that it came from; and
    /// when more will be. What a peer passed on and nobody here waits for is let go after a while.
    pub(crate) fn take_due(
        &self,
        now: Instant,
    ) -> (Vec<(SignedTransaction, Option<NodeId>)>, Option<Instant>) {
        let mut inner = self.lock();
        let old = |w: &Waiting| {
            w.origin.is_some()
                && w.waiters.iter().all(Waiter::is_closed)
                && now.duration_since(w.arrived) >= PASS_ON_FOR
        };
        let old = inner.waiting.iter().filter(|(_, waiting)| old(waiting));
        for order in old.map(|(order, _)| *order).collect::<Vec<_>>() {
            inner.remove(order);
        }
        let (mut due, mut next, mut bytes) = (Vec::new(), None, 0);
        let oldest = inner.waiting.values_mut().take(ON_THE_WAY_TRANSACTIONS_MAX);
        for waiting in oldest {
            bytes += waiting.transaction.bytes().len();
            if bytes > ON_THE_WAY_BYTES_MAX {
                break;
            }
            if waiting.due <= now {
                let pause = RESEND_FIRST.saturating_mul(1 << waiting.sends.min(16));
                waiting.due = now + pause.min(RESEND_LAST);
                waiting.sends = waiting.sends.saturating_add(1);
                due.push((waiting.transaction.clone(), waiting.origin));
            }
            next = Some(next.map_or(waiting.due, |next: Instant| next.min(waiting.due)));
        }
        (due, next)
    }

    /// Makes everything due at `now`.
    pub(crate) fn hurry(&self, now: Instant) {
        for waiting in self.lock().waiting.values_mut() {
            waiting.due = now;
            waiting.sends = 0;
        }
    }

    /// Returns when a transaction arrived, or made room by its end, since the last call did.
    pub(crate) async fn wait_for_arrival(&self) {
        self.arrival.notified().await;
    }

    fn tell_of_arrival(&self) {
        self.work.notify_waiters();
        self.arrival.notify_one();
    }

    /// The next block's transactions: the oldest that fit and are not in `taken`. What one
    /// principal has beyond its share comes after those of all others. The order of each stays.
    pub(crate) fn pick(&self, taken: &HashSet<types::Digest>) -> Vec<SignedTransaction> {
        let inner = self.lock();
        let (mut first, mut later) = (Vec::new(), Vec::new());
        let mut shares: HashMap<Principal, PoolDepth> = HashMap::new();
        let waiting = inner.waiting.values().map(|waiting| &waiting.transaction);
        for transaction in waiting.filter(|transaction| !taken.contains(&transaction.id())) {
            let principal = transaction.transaction().principal;
            let share = shares.entry(principal).or_default();
            // One that had its share keeps having it, so that none of its own is overtaken.
            if share.transactions >= BLOCK_PRINCIPAL_TRANSACTIONS_MAX
                || share.bytes >= BLOCK_PRINCIPAL_BYTES_MAX
            {
                later.push(transaction);
                continue;
            }
            share.add(transaction.bytes().len());
            first.push(transaction);
            if first.len() == BLOCK_TRANSACTIONS_MAX {
                break;
            }
        }
        let mut bytes = 0;
        first
            .into_iter()
            .chain(later)
            .take_while(|transaction| {
                bytes += transaction.bytes().len();
                bytes <= BLOCK_BYTES_MAX
            })
            .take(BLOCK_TRANSACTIONS_MAX)
            .cloned()
            .collect()
    }

    /// Returns once something waits that is not in `taken`.
    pub(crate) async fn wait_for_work(&self, taken: &HashSet<types::Digest>) {
        loop {
            let mut woken = std::pin::pin!(self.work.notified());
            // Registered before looking, so that an arrival in between is not missed.
            woken.as_mut().enable();
            if self.lock().order_of.keys().any(|id| !taken.contains(id)) {
                return;
            }
            woken.await;
        }
    }

    /// The waiting transaction with this id: its form and signature were checked.
    pub(crate) fn find(&self, id: &types::Digest) -> Option<SignedTransaction> {
        let inner = self.lock();
        let order = inner.order_of.get(id)?;
        let waiting = inner.waiting.get(order)?;
        Some(waiting.transaction.clone())
    }

    /// Tells those who wait what a block did that is final and not yet stored here, if all below it
    /// were told: of two blocks that carry one transaction, the lower one decides.
    pub(crate) fn tell(&self, height: u64, outcomes: &[(types::Digest, TransactionOutcome)]) {
        let mut inner = self.lock();
        if inner.told_through.checked_add(1) == Some(height) {
            inner.tell(height, outcomes, self.time.now());
        }
    }

    /// Removes what a final block executed, and what no later block may carry, and tells the
    /// waiters.
    pub(crate) fn settle(&self, height: u64, outcomes: &[(types::Digest, TransactionOutcome)]) {
        let mut inner = self.lock();
        if inner.told_through < height {
            inner.tell(height, outcomes, self.time.now());
        }
        let late = |waiting: &Waiting| waiting.transaction.transaction().expires_at <= height;
        let expired: Vec<(u64, u64)> = inner
            .waiting
            .iter()
            .filter(|(_, waiting)| late(waiting))
            .map(|(order, waiting)| (*order, waiting.transaction.transaction().expires_at))
            .collect();
        for (order, expires_at) in expired {
            for waiter in inner.remove(order) {
                let _ = waiter.send(Err(SubmitError::Expired { expires_at, height }));
            }
        }
        drop(inner);
        self.arrival.notify_one();
    }

    /// Lets go of everything because blocks up to `height` were not executed here: whether one of
    /// them carried it is not known.
    pub(crate) fn skip(&self, height: u64) {
        let mut inner = self.lock();
        inner.told_through = inner.told_through.max(height);
        let all: Vec<u64> = inner.waiting.keys().copied().collect();
        for order in all {
            for waiter in inner.remove(order) {
                let _ = waiter.send(Err(SubmitError::Skipped { height }));
            }
        }
        drop(inner);
        self.arrival.notify_one();
    }

    /// Refuses everything from now on and tells every waiter why. What was in a block may still
    /// be final; the caller learns it from the ledger after the next start.
    pub(crate) fn close(&self, reason: &Closed) {
        let mut inner = self.lock();
        inner.closed.get_or_insert_with(|| reason.clone());
        inner.order_of.clear();
        inner.shares.clear();
        inner.signed.clear();
        inner.bytes = 0;
        for waiter in std::mem::take(&mut inner.waiting)
            .into_values()
            .flat_map(|w| w.waiters)
        {
            let _ = waiter.send(Err(SubmitError::Stopped {
                reason: reason.clone(),
            }));
        }
    }

    pub(crate) fn depth(&self) -> PoolDepth {
        self.lock().depth()
    }

    /// How long the oldest transaction has been waiting.
    pub(crate) fn waiting_for(&self) -> Option<Duration> {
        let inner = self.lock();
        let oldest = inner.waiting.values().next()?;
        let now = self.time.now();
        Some(now.saturating_duration_since(oldest.arrived))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn depth(&self) -> PoolDepth {
        PoolDepth {
            transactions: self.waiting.len(),
            bytes: self.bytes,
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let all = self.depth();
        all.fits(bytes, POOL_TRANSACTIONS_MAX, POOL_BYTES_MAX)
    }

    fn has_room_for(&self, peer: &NodeId, bytes: usize) -> bool {
        let share = self.shares.get(peer).copied().unwrap_or_default();
        let all = self
            .shares
            .values()
            .fold(PoolDepth::default(), |sum, share| PoolDepth {
                transactions: sum.transactions + share.transactions,
                bytes: sum.bytes + share.bytes,
            });
        share.fits(bytes, POOL_PEER_TRANSACTIONS_MAX, POOL_PEER_BYTES_MAX)
            && all.fits(bytes, POOL_PEERS_TRANSACTIONS_MAX, POOL_PEERS_BYTES_MAX)
    }

    fn has_room_of(&self, principal: &Principal, bytes: usize) -> bool {
        let share = self.signed.get(principal).copied().unwrap_or_default();
        share.fits(
            bytes,
            POOL_PRINCIPAL_TRANSACTIONS_MAX,
            POOL_PRINCIPAL_BYTES_MAX,
        )
    }

    fn add(
        &mut self,
        transaction: SignedTransaction,
        origin: Option<NodeId>,
        waiters: Vec<Waiter>,
        now: Instant,
    ) {
        let bytes = transaction.bytes().len();
        self.bytes += bytes;
        if let Some(peer) = origin {
            self.shares.entry(peer).or_default().add(bytes);
        }
        let principal = transaction.transaction().principal;
        self.signed.entry(principal).or_default().add(bytes);
        self.arrivals += 1;
        let order = self.arrivals;
        self.order_of.insert(transaction.id(), order);
        let waiting = Waiting {
            transaction,
            waiters,
            origin,
            arrived: now,
            sends: 0,
            due: now,
        };
        self.waiting.insert(order, waiting);
    }

    /// Ends what the block at `height` executed.
    fn tell(
        &mut self,
        height: u64,
        outcomes: &[(types::Digest, TransactionOutcome)],
        now: Instant,
    ) {
        self.told_through = height;
        for (id, outcome) in outcomes {
            let finality = Finality {
                height,
                outcome: outcome.clone(),
            };
            self.settled.remember(*id, finality.clone(), now);
            let Some(order) = self.order_of.get(id).copied() else {
                continue;
            };
            for waiter in self.remove(order) {
                // A caller that went away does not mind.
                let _ = waiter.send(Ok(finality.clone()));
            }
        }
    }

    /// Takes one out and returns who waits for it.
    fn remove(&mut self, order: u64) -> Vec<Waiter> {
        let Some(waiting) = self.waiting.remove(&order) else {
            return Vec::new();
        };
        let bytes = waiting.transaction.bytes().len();
        self.order_of.remove(&waiting.transaction.id());
        self.bytes -= bytes;
        if let Some(peer) = waiting.origin {
            release(&mut self.shares, peer, bytes);
        }
        let principal = waiting.transaction.transaction().principal;
        release(&mut self.signed, principal, bytes);
        waiting.waiters
    }
}

/// Gives back the room of one transaction.
fn release<K: Eq + std::hash::Hash>(shares: &mut HashMap<K, PoolDepth>, of: K, bytes: usize) {
    if let Entry::Occupied(mut share) = shares.entry(of) {
        share.get_mut().remove(bytes);
        if share.get().transactions == 0 {
            share.remove();
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
