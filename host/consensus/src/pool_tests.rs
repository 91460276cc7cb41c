//! The pool: its bounds, its order, and what it tells those who wait.

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
