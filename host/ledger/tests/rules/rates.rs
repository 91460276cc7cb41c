//! Rates: how much one principal signs within a window, and that it is the only one who minds.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_ledger::{
    Genesis, MembershipOperation, Operation, PrincipalRecord, RATE_WINDOW_MS, Refusal, Role,
    RoleOperation, SignedTransaction, SpentRate, TRANSACTIONS_PER_WINDOW_MAX, Transaction,
    TransactionOutcome,
};
use proptest::prelude::*;
use types::{Digest, FabricId, PublicKey, Signature};

use crate::membership::{APPLIED, HOUR_MS, refused, secret};
use crate::{Fabric, name, public};

/// Seeds of the operators.
const OPERATORS: std::ops::RangeInclusive<u8> = 40..=42;
/// Most that any test has one principal sign.
const SIGNED: usize = 6_000;

/// A fabric of three operators and one founding node. It is always the same one.
fn fabric() -> Fabric {
    let keys = |seeds: std::ops::RangeInclusive<u8>| -> Vec<PublicKey> {
        seeds.map(|seed| public(&secret(seed))).collect()
    };
    let (nodes, operators) = (keys(1..=1), keys(OPERATORS));
    let genesis = Genesis::new(1_000, [7; 16], nodes.clone(), nodes, operators).unwrap();
    Fabric::of(genesis, secret(42))
}

/// The smallest transaction: it spends a nonce and is refused for the rest.
fn sign(fabric: FabricId, key: &SigningKey, nonce: usize) -> SignedTransaction {
    let transaction = Transaction {
        fabric,
        principal: public(key),
        nonce: nonce.try_into().unwrap(),
        expires_at: u64::MAX,
        operation: Operation::Stop {
            workload: name("none"),
        },
    };
    let signature = key.sign(&transaction.signing_bytes());
    let bytes = transaction.encode_signed(&Signature::from_bytes(signature.to_bytes()));
    SignedTransaction::decode(&fabric, &bytes).unwrap()
}

/// What each operator signs, by nonce. Signing it anew for every history would be most of the work.
static SIGNED_BY: LazyLock<BTreeMap<u8, Vec<SignedTransaction>>> = LazyLock::new(|| {
    let id = fabric().genesis.fabric_id();
    let all = |seed| (0..SIGNED).map(move |nonce| sign(id, &secret(seed), nonce));
    OPERATORS.map(|seed| (seed, all(seed).collect())).collect()
});

fn signed(seed: u8, nonces: std::ops::Range<usize>) -> &'static [SignedTransaction] {
    &SIGNED_BY[&seed][nonces]
}

fn most() -> usize {
    TRANSACTIONS_PER_WINDOW_MAX.try_into().unwrap()
}

fn is_rate(outcome: &TransactionOutcome) -> bool {
    matches!(outcome, TransactionOutcome::Refused(Refusal::Rate { .. }))
}

impl Fabric {
    fn principal(&self, seed: u8) -> Option<PrincipalRecord> {
        self.view().principal(&public(&secret(seed))).unwrap()
    }

    /// Ledger time of the next block.
    fn next_ms(&self) -> u64 {
        self.now_ms() + 1
    }

    /// Has the next block be the first of the next window.
    fn next_window(&mut self) {
        let next = (self.next_ms() / RATE_WINDOW_MS + 1) * RATE_WINDOW_MS;
        self.clock_ms += next - self.next_ms();
    }
}

#[test]
fn one_more_than_the_bound_waits_for_the_next_window_and_keeps_its_nonce() {
    let mut fabric = fabric();
    fabric.next_window();
    let (first, second) = signed(40, 0..most()).split_at(most() / 2);
    for transactions in [first, second] {
        assert!(!fabric.block(transactions).outcomes.iter().any(is_rate));
    }
    let spent = fabric.principal(40).unwrap();
    assert_eq!(spent.nonce, u64::from(TRANSACTIONS_PER_WINDOW_MAX));
    assert_eq!(spent.rate.transactions, TRANSACTIONS_PER_WINDOW_MAX);
    // The next one, and what was signed ahead of it, while another principal goes on.
    let next = signed(40, most()..most() + 2);
    let block = [next, signed(41, 0..1)].concat();
    let done = fabric.block(&block);
    let rate = refused(Refusal::Rate {
        principal: public(&secret(40)),
        until_ms: (fabric.now_ms() / RATE_WINDOW_MS + 1) * RATE_WINDOW_MS,
    });
    assert_eq!(done.outcomes[..2], [rate.clone(), rate.clone()]);
    let unharmed = refused(Refusal::UnknownDeployment(name("none")));
    assert_eq!(done.outcomes[2], unharmed);
    assert_eq!(
        done.changes.len(),
        2,
        "a refused one leaves nothing in the state: this is the other signer's, and the block's anchor"
    );
    assert_eq!(fabric.principal(40).unwrap(), spent);
    assert_eq!(fabric.principal(41).unwrap().nonce, 1);
    // The last moment of the window refuses it, the first of the next one takes the same bytes.
    fabric.next_window();
    fabric.clock_ms -= 1;
    assert_eq!(fabric.block(&next[..1]).outcomes, [rate]);
    assert_eq!(fabric.next_ms() % RATE_WINDOW_MS, 0);
    let outcomes = fabric.block(next).outcomes;
    assert_eq!(outcomes, [unharmed.clone(), unharmed]);
    let record = fabric.principal(40).unwrap();
    assert_eq!(record.nonce, spent.nonce + 2);
    assert_eq!(record.rate.transactions, 2);
}

#[test]
fn a_founding_node_is_counted_from_its_first_transaction_on() {
    let mut fabric = fabric();
    fabric.next_window();
    assert_eq!(fabric.principal(1), None);
    let id = fabric.genesis.fabric_id();
    let sign = |nonce| sign(id, &secret(1), nonce);
    let all: Vec<_> = (0..=most()).map(sign).collect();
    let outcomes = fabric.block(&all).outcomes;
    assert_eq!(outcomes.iter().position(is_rate), Some(most()));
    assert_eq!(outcomes.len(), most() + 1);
}

/// Neither a role given nor a membership that ends and begins gives anyone a fresh window.
#[test]
fn what_is_spent_stays_spent_whatever_becomes_of_the_signer() {
    let mut fabric = fabric();
    fabric.next_window();
    fabric.block(signed(41, 0..3));
    let grant = RoleOperation::Grant {
        principal: public(&secret(41)),
        role: Role::Viewer,
    };
    assert_eq!(fabric.run(Operation::Role(grant)), APPLIED);
    let record = fabric.principal(41).unwrap();
    assert_eq!((record.role, record.rate.transactions), (Role::Viewer, 3));

    let node = fabric.member(60);
    let joined = fabric.principal(60).unwrap();
    let window = fabric.now_ms() / RATE_WINDOW_MS;
    let transactions = 1;
    let first = SpentRate {
        window,
        transactions,
    };
    assert_eq!((joined.nonce, joined.rate), (1, first));
    let leave = Operation::Membership(MembershipOperation::Leave);
    assert_eq!(fabric.run_as(&node, leave), APPLIED);
    let ticket = secret(170);
    assert_eq!(fabric.invite(&ticket, HOUR_MS), APPLIED);
    assert_eq!(fabric.join(&node, &ticket, "again"), APPLIED);
    let again = fabric.principal(60).unwrap();
    assert_eq!((again.nonce, again.rate.transactions), (3, 3));
    assert_eq!(again.rate.window, window);
}

/// The order of refusals is part of the bytes of outcomes.
#[test]
fn the_refusal_is_these_bytes_and_these_words() {
    let refusal = Refusal::Rate {
        principal: PublicKey::from_bytes([3; 32]),
        until_ms: 20_000,
    };
    let bytes = postcard::to_allocvec(&refusal).unwrap();
    assert_eq!(bytes[0], 54, "appended after all others");
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_REFUSAL);
    assert_eq!(refusal.name(), "rate");
    assert_eq!(
        refusal.to_string(),
        "principal 030303030303 has signed 2048 transactions within 10 s, the most that count: try \
         again within 10 s, from ledger time 20000 ms on"
    );
}

const PINNED_REFUSAL: &str =
    "blake3:440e16ef22783c5422fdbca4164b54090daf94ff52f4d2f156b4b1959c769be8";

fn history() -> impl Strategy<Value = Vec<(u8, usize, u64)>> {
    prop::collection::vec((OPERATORS, 200..1_000_usize, 0..3_000_u64), 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whoever signs how much when: no window takes more of one principal than the bound, nobody
    /// is refused before it is reached, and only what is counted spends a nonce.
    #[test]
    fn no_window_takes_more_of_one_principal_than_the_bound(history in history()) {
        let mut fabric = fabric();
        let mut counted: BTreeMap<(u8, u64), usize> = BTreeMap::new();
        let mut nonces: BTreeMap<u8, usize> = BTreeMap::new();
        for (seed, count, wait_ms) in history {
            fabric.clock_ms += wait_ms;
            let window = fabric.next_ms() / RATE_WINDOW_MS;
            let nonce = nonces.entry(seed).or_default();
            let other = if seed == 40 { 41 } else { 40 };
            let others = signed(other, 0..1);
            // One of another is in between, whose nonce is over or who goes on.
            let ahead = (*nonce + count).min(SIGNED);
            let block = [signed(seed, *nonce..ahead), others].concat();
            let outcomes = fabric.block(&block).outcomes;
            let (of_other, own) = outcomes.split_last().unwrap();
            let spent = counted.entry((seed, window)).or_default();
            let taken = own.iter().filter(|outcome| !is_rate(outcome)).count();
            prop_assert_eq!(taken, own.len().min(most() - *spent));
            prop_assert!(!own[..taken].iter().any(is_rate), "the refused ones are the last");
            *spent += taken;
            *nonce += taken;
            let of_other_spent = counted.entry((other, window)).or_default();
            let of_other_nonce = nonces.entry(other).or_default();
            prop_assert_eq!(is_rate(of_other), *of_other_spent == most());
            if *of_other == refused(Refusal::UnknownDeployment(name("none"))) {
                prop_assert_eq!(*of_other_nonce, 0);
                *of_other_nonce += 1;
                *of_other_spent += 1;
            }
            prop_assert!(counted.values().all(|spent| *spent <= most()));
            for (seed, nonce) in &nonces {
                let record = fabric.principal(*seed).unwrap();
                prop_assert_eq!(record.nonce, u64::try_from(*nonce).unwrap());
            }
        }
    }
}
