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

fn peer(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

fn nonces(transactions: impl IntoIterator<Item = SignedTransaction>) -> Vec<u64> {
    let transactions = transactions.into_iter();
    transactions.map(|tx| tx.transaction().nonce).collect()
}

#[test]
fn a_peer_that_floods_leaves_room_for_others_and_for_this_nodes_callers() {
    let (pool, now) = (Pool::default(), Instant::now());
    let most = u64::try_from(POOL_PEER_TRANSACTIONS_MAX).unwrap();
    let taken = (0..most + 9).filter(|nonce| pool.offer(signed(*nonce, 9), peer(1), now));
    assert_eq!(taken.count(), POOL_PEER_TRANSACTIONS_MAX);
    // Many peers together do not take all of it either.
    let mut nonce = 10_000;
    for byte in 2..=20 {
        for _ in 0..most {
            nonce += 1;
            pool.offer(signed(nonce, 9), peer(byte), now);
        }
    }
    assert_eq!(pool.depth().transactions, POOL_PEERS_TRANSACTIONS_MAX);
    assert!(pool.insert(signed(1, 9)).is_ok(), "it is joined");
    assert!(pool.insert(signed(9_999, 9)).is_ok());
    // What became final makes room for its peer again.
    let first = signed(0, 9).id();
    pool.settle(1, &[(first, TransactionOutcome::Applied)]);
    assert!(
        !pool.offer(signed(0, 9), peer(1), now),
        "it is final already"
    );
    assert!(pool.offer(signed(most, 9), peer(1), now));
}

#[test]
fn a_transaction_is_sent_in_order_and_again_with_growing_pauses() {
    let (pool, start) = (Pool::default(), Instant::now());
    let count = u64::try_from(ON_THE_WAY_TRANSACTIONS_MAX).unwrap() + 5;
    let waiting: Vec<_> = (0..count)
        .map(|nonce| pool.insert(signed(nonce, 9)).unwrap())
        .collect();
    let sent = |now| nonces(pool.take_due(now).0.into_iter().map(|(tx, _)| tx));
    let mut now = start + Duration::from_secs(1);
    assert_eq!(sent(now), (0..count - 5).collect::<Vec<_>>());
    assert!(sent(now).is_empty());
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let next = pool.take_due(now).1.unwrap();
        pauses.push((next - now).as_millis());
        now = next;
        assert!(!sent(now).is_empty());
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    let first = signed(0, 9).id();
    pool.settle(1, &[(first, TransactionOutcome::Applied)]);
    assert_eq!(sent(now), [count - 5], "room for one more");
    pool.hurry(now);
    assert_eq!(sent(now).len(), ON_THE_WAY_TRANSACTIONS_MAX);
    drop(waiting);
}

#[test]
fn what_a_peer_passed_on_is_let_go_unless_somebody_waits() {
    let (pool, now) = (Pool::default(), Instant::now());
    assert!(pool.offer(signed(0, 9), peer(1), now));
    assert!(pool.offer(signed(1, 9), peer(1), now));
    let joined = pool.insert(signed(1, 9)).unwrap();
    let mine = pool.insert(signed(2, 9)).unwrap();
    drop(mine);
    let (due, _) = pool.take_due(now + PASS_ON_FOR + Duration::from_secs(1));
    let origins: Vec<_> = due.iter().map(|(_, origin)| *origin).collect();
    assert_eq!(origins, [Some(peer(1)), None]);
    assert_eq!(nonces(due.into_iter().map(|(tx, _)| tx)), [1, 2]);
    drop(joined);
}

#[test]
fn one_that_was_final_a_moment_ago_is_told_so_again() {
    let pool = Pool::default();
    pool.settle(7, &[(signed(0, 9).id(), TransactionOutcome::Applied)]);
    let mut told = pool.insert(signed(0, 9)).unwrap();
    let finality = Finality {
        height: 7,
        outcome: TransactionOutcome::Applied,
    };
    assert_eq!(told.try_recv().unwrap(), Ok(finality));
    assert_eq!(pool.depth().transactions, 0);
}
