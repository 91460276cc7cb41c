//! The pool: its bounds, its order, and what it tells those who wait.

use ed25519_dalek::{Signer as _, SigningKey};
use ledger::{MembershipOperation, Operation, Transaction};
use types::{Digest, Name, PublicKey, Signature};

use super::*;

/// Of another signer for every 512 nonces, so that none comes near its own bounds.
fn signed(nonce: u64, expires_at: u64) -> SignedTransaction {
    let signer = u8::try_from(nonce / 512).unwrap();
    signed_by(signer, nonce, expires_at)
}

fn signed_by(signer: u8, nonce: u64, expires_at: u64) -> SignedTransaction {
    let workload = Name::new("shop").unwrap();
    sign(signer, nonce, expires_at, Operation::Stop { workload })
}

/// With a text of so many bytes in it.
fn large_by(signer: u8, nonce: u64, bytes: usize) -> SignedTransaction {
    let node = peer(1);
    let reason = "x".repeat(bytes);
    let evict = MembershipOperation::Evict { node, reason };
    sign(signer, nonce, 9, Operation::Membership(evict))
}

fn sign(signer: u8, nonce: u64, expires_at: u64, operation: Operation) -> SignedTransaction {
    let key = SigningKey::from_bytes(&[signer; 32]);
    let fabric = Digest::of(b"fabric");
    let transaction = Transaction {
        fabric,
        principal: PublicKey::from_bytes(key.verifying_key().to_bytes()),
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

#[test]
fn a_principal_that_floods_leaves_room_for_others_wherever_it_hands_in() {
    let (pool, now) = (Pool::default(), Instant::now());
    let most = u64::try_from(POOL_PRINCIPAL_TRANSACTIONS_MAX).unwrap();
    let own = most / 2;
    for nonce in 0..own {
        drop(pool.insert(signed_by(1, nonce, 9)).unwrap());
    }
    for nonce in own..most {
        assert!(pool.offer(signed_by(1, nonce, 9), peer(1), now));
    }
    let next = signed_by(1, most, 9);
    let principal = next.transaction().principal;
    let full = SubmitError::PrincipalFull { principal };
    assert_eq!(pool.insert(next.clone()).err(), Some(full));
    assert!(!pool.offer(next.clone(), peer(2), now));
    assert!(pool.insert(signed_by(1, 0, 9)).is_ok(), "it is joined");
    assert!(pool.insert(signed_by(2, 0, 9)).is_ok());
    assert!(pool.offer(signed_by(3, 0, 9), peer(2), now));
    // What became final, and what expired, makes room for its signer again.
    let first = signed_by(1, 0, 9).id();
    pool.settle(1, &[(first, TransactionOutcome::Applied)]);
    assert!(pool.insert(next.clone()).is_ok());
    assert!(!pool.offer(signed_by(1, most + 1, 10), peer(2), now));
    pool.settle(9, &[]);
    assert_eq!(pool.depth().transactions, 0);
    for nonce in 0..most {
        assert!(pool.insert(signed_by(1, nonce, 99)).is_ok());
    }
}

#[test]
fn the_bytes_of_one_principal_leave_room_for_others() {
    let pool = Pool::default();
    let bytes = 120_000;
    let large = |signer, nonce| pool.insert(large_by(signer, nonce, bytes));
    let taken = (0..99).filter(|nonce| large(1, *nonce).is_ok()).count();
    let whole = large_by(1, 0, bytes).bytes().len();
    assert_eq!(taken, POOL_PRINCIPAL_BYTES_MAX / whole);
    assert!(matches!(
        large(1, 99),
        Err(SubmitError::PrincipalFull { .. })
    ));
    assert!(large(2, 0).is_ok());
}

/// Signer by signer: the nonces that a block would carry, in its order.
fn picked(pool: &Pool, signer: u8) -> Vec<u64> {
    let principal = signed_by(signer, 0, 9).transaction().principal;
    let all = pool.pick(&none()).into_iter();
    nonces(all.filter(|tx| tx.transaction().principal == principal))
}

#[test]
fn one_principal_has_a_quarter_of_a_block_while_those_of_others_wait() {
    let pool = Pool::default();
    let quarter = u64::try_from(BLOCK_PRINCIPAL_TRANSACTIONS_MAX).unwrap();
    for nonce in 0..3 * quarter {
        drop(pool.insert(signed_by(1, nonce, 9)).unwrap());
    }
    assert_eq!(picked(&pool, 1), (0..3 * quarter).collect::<Vec<_>>());
    for signer in 2..=4 {
        for nonce in 0..quarter {
            drop(pool.insert(signed_by(signer, nonce, 9)).unwrap());
        }
    }
    for signer in 1..=4 {
        assert_eq!(picked(&pool, signer), (0..quarter).collect::<Vec<_>>());
    }
    // Where those of others leave room, it goes on in its order.
    let of_fourth: Vec<_> = (0..quarter)
        .map(|nonce| (signed_by(4, nonce, 9).id(), TransactionOutcome::Applied))
        .collect();
    pool.settle(1, &of_fourth);
    assert_eq!(picked(&pool, 1), (0..2 * quarter).collect::<Vec<_>>());
    assert_eq!(picked(&pool, 2), (0..quarter).collect::<Vec<_>>());
    let taken = (0..quarter).map(|nonce| signed_by(1, nonce, 9).id());
    let next = nonces(pool.pick(&taken.collect()).into_iter().take(1));
    assert_eq!(next, [quarter], "the next block begins where this one ends");
}

#[test]
fn one_principal_has_a_quarter_of_a_blocks_bytes_while_those_of_others_wait() {
    let pool = Pool::default();
    let bytes = BLOCK_PRINCIPAL_BYTES_MAX / 5;
    for nonce in 0..20 {
        drop(pool.insert(large_by(1, nonce, bytes)).unwrap());
    }
    drop(pool.insert(large_by(2, 0, bytes)).unwrap());
    assert_eq!(picked(&pool, 2), [0]);
    let signers = pool.pick(&none()).into_iter();
    let of_second = large_by(2, 0, bytes).transaction().principal;
    let before = signers.take_while(|tx| tx.transaction().principal != of_second);
    assert_eq!(before.count(), 5);
    let most = BLOCK_BYTES_MAX / large_by(1, 0, bytes).bytes().len();
    assert_eq!(picked(&pool, 1).len() + 1, most, "the block is full");
}
