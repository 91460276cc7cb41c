//! Transactions that wait for a block, and who waits for them. Bounded in count and bytes. Never
//! knows what a transaction does; validity beyond its signature is decided by the block.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::{BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, SignedTransaction, TransactionOutcome};
use tokio::sync::{Notify, oneshot};

use crate::error::{Closed, SubmitError};
use crate::handle::Finality;

/// Transactions that may wait: several full blocks, which is seconds of work.
pub const POOL_TRANSACTIONS_MAX: usize = 4096;
/// Bytes that may wait: bounds memory whatever the mix of sizes.
pub const POOL_BYTES_MAX: usize = 16 << 20;
/// Callers that may wait for one and the same transaction.
pub const POOL_WAITERS_MAX: usize = 16;

type Waiter = oneshot::Sender<Result<Finality, SubmitError>>;

/// The pool that submitters, the proposer and finality share.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    work: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// By order of arrival: transactions of one signer stay in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    order_of: HashMap<types::Digest, u64>,
    arrivals: u64,
    bytes: usize,
    closed: Option<Closed>,
}

#[derive(Debug)]
struct Waiting {
    transaction: SignedTransaction,
    waiters: Vec<Waiter>,
}

/// How full the pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolDepth {
    /// Transactions waiting.
    pub transactions: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Pool {
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
        let bytes = depth.bytes.saturating_add(transaction.bytes().len());
        if depth.transactions >= POOL_TRANSACTIONS_MAX || bytes > POOL_BYTES_MAX {
            return Err(full);
        }
        inner.bytes = bytes;
        inner.arrivals += 1;
        let order = inner.arrivals;
        inner.order_of.insert(transaction.id(), order);
        inner.waiting.insert(
            order,
            Waiting {
                transaction,
                waiters: vec![waiter],
            },
        );
        drop(inner);
        self.work.notify_waiters();
        Ok(told)
    }

    /// The next block's transactions: the oldest that fit and are not in `taken`.
    pub(crate) fn pick(&self, taken: &HashSet<types::Digest>) -> Vec<SignedTransaction> {
        let inner = self.lock();
        let mut bytes = 0;
        inner
            .waiting
            .values()
            .map(|waiting| &waiting.transaction)
            .filter(|transaction| !taken.contains(&transaction.id()))
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

    /// Removes what a final block executed, and what no later block may carry, and tells the
    /// waiters.
    pub(crate) fn settle(&self, height: u64, outcomes: &[(types::Digest, TransactionOutcome)]) {
        let mut inner = self.lock();
        for (id, outcome) in outcomes {
            let Some(order) = inner.order_of.remove(id) else {
                continue;
            };
            let Some(waiting) = inner.waiting.remove(&order) else {
                continue;
            };
            inner.bytes -= waiting.transaction.bytes().len();
            for waiter in waiting.waiters {
                // A caller that went away does not mind.
                let _ = waiter.send(Ok(Finality {
                    height,
                    outcome: outcome.clone(),
                }));
            }
        }
        let late = |waiting: &Waiting| waiting.transaction.transaction().expires_at <= height;
        let expired: Vec<u64> = inner
            .waiting
            .iter()
            .filter(|(_, w)| late(w))
            .map(|(order, _)| *order)
            .collect();
        for order in expired {
            let Some(waiting) = inner.waiting.remove(&order) else {
                continue;
            };
            inner.order_of.remove(&waiting.transaction.id());
            inner.bytes -= waiting.transaction.bytes().len();
            let expires_at = waiting.transaction.transaction().expires_at;
            for waiter in waiting.waiters {
                let _ = waiter.send(Err(SubmitError::Expired { expires_at, height }));
            }
        }
    }

    /// Refuses everything from now on and tells every waiter why. What was in a block may still
    /// be final; the caller learns it from the ledger after the next start.
    pub(crate) fn close(&self, reason: &Closed) {
        let mut inner = self.lock();
        inner.closed.get_or_insert_with(|| reason.clone());
        inner.order_of.clear();
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
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use ledger::{Operation, Transaction};
    use types::{Digest, Name, PublicKey, Signature};

    use super::*;

    fn signed(nonce: u64, expires_at: u64) -> SignedTransaction {
        let key = SigningKey::from_bytes(&[1; 32]);
        let fabric = Digest::of(b"fabric");
        let principal = PublicKey::from_bytes(key.verifying_key().to_bytes());
        let operation = Operation::Stop {
            workload: Name::new("shop").unwrap(),
        };
        let transaction = Transaction {
            fabric,
            principal,
            nonce,
            expires_at,
            operation,
        };
        let signature = key.sign(&transaction.signing_bytes()).to_bytes();
        let bytes = transaction.encode_signed(&Signature::from_bytes(signature));
        SignedTransaction::decode(&fabric, &bytes).unwrap()
    }

    fn none() -> HashSet<Digest> {
        HashSet::new()
    }

    #[test]
    fn what_does_not_fit_is_refused_and_room_comes_back() {
        let pool = Pool::default();
        let count = u64::try_from(POOL_TRANSACTIONS_MAX).unwrap();
        let waiting: Vec<_> = (0..count)
            .map(|nonce| pool.insert(signed(nonce, 9)).unwrap())
            .collect();
        let full = pool.insert(signed(count, 9));
        assert!(matches!(
            full,
            Err(SubmitError::Full {
                transactions: POOL_TRANSACTIONS_MAX,
                ..
            })
        ));
        let first = pool.pick(&none());
        assert_eq!(first.len(), BLOCK_TRANSACTIONS_MAX);
        let outcomes: Vec<_> = first
            .iter()
            .map(|tx| (tx.id(), TransactionOutcome::Applied))
            .collect();
        pool.settle(1, &outcomes);
        assert!(pool.insert(signed(count, 9)).is_ok());
        assert_eq!(waiting.len(), POOL_TRANSACTIONS_MAX);
    }

    #[test]
    fn transactions_keep_their_order_and_are_not_picked_twice() {
        let pool = Pool::default();
        let transactions: Vec<_> = (0..5).map(|nonce| signed(nonce, 9)).collect();
        for transaction in &transactions {
            drop(pool.insert(transaction.clone()).unwrap());
        }
        assert_eq!(pool.pick(&none()), transactions);
        let taken = transactions
            .iter()
            .take(3)
            .map(SignedTransaction::id)
            .collect();
        assert_eq!(pool.pick(&taken), transactions[3..]);
    }

    #[test]
    fn too_many_waiters_for_one_transaction_are_refused() {
        let pool = Pool::default();
        let waiters: Vec<_> = (0..POOL_WAITERS_MAX)
            .map(|_| pool.insert(signed(0, 9)).unwrap())
            .collect();
        assert!(matches!(
            pool.insert(signed(0, 9)),
            Err(SubmitError::Full { .. })
        ));
        drop(waiters);
        assert!(pool.insert(signed(0, 9)).is_ok());
        assert_eq!(pool.depth().transactions, 1);
    }

    #[test]
    fn what_no_later_block_may_carry_expires() {
        let pool = Pool::default();
        let mut late = pool.insert(signed(0, 3)).unwrap();
        let mut alive = pool.insert(signed(1, 4)).unwrap();
        pool.settle(3, &[]);
        let expired = SubmitError::Expired {
            expires_at: 3,
            height: 3,
        };
        assert_eq!(late.try_recv().unwrap(), Err(expired));
        assert!(alive.try_recv().is_err());
        assert_eq!(pool.pick(&none()), [signed(1, 4)]);
    }

    #[test]
    fn a_closed_pool_tells_everyone_why() {
        let pool = Pool::default();
        let mut waiting = pool.insert(signed(0, 9)).unwrap();
        let reason = Closed::Failed {
            reason: "the disk is full".into(),
        };
        pool.close(&reason);
        let stopped = SubmitError::Stopped { reason };
        assert_eq!(waiting.try_recv().unwrap(), Err(stopped.clone()));
        assert_eq!(pool.insert(signed(1, 9)).err(), Some(stopped));
        assert_eq!(
            pool.depth(),
            PoolDepth {
                transactions: 0,
                bytes: 0
            }
        );
    }
}
