//! Peers that lie, flood or stay silent: followers get on, and say whom they blame and for what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hypermesh_consensus::{
    Blame, Channel, DeliverError, Outgoing, POOL_PEER_TRANSACTIONS_MAX, StartError,
};
use types::NodeId;

use crate::follow::{A, B, C, deploy, stop_alike, until};
use crate::memory::{Member, Memory};
use crate::support::{Principal, genesis, key_of};

/// A validator with so many blocks, and a follower that has them all.
async fn fabric(memory: &Memory, blocks: usize) -> (Member, Member, u64) {
    memory.connect(A, B);
    let mut validator = Member::start(memory, A).await;
    let mut follower = Member::start(memory, B).await;
    let operator = Principal::operator(0, 0);
    let mut height = 0;
    for index in 0..blocks {
        height = deploy(&validator, &operator, &format!("shop-{index}")).await;
        validator.node.follow_to(height).await;
    }
    follower.node.follow_to(height).await;
    (validator, follower, height)
}

/// Changes one byte of `message` at `place`, counted from its end.
fn bend(mut message: Outgoing, place: usize) -> Outgoing {
    let mut bytes = message.bytes.to_vec();
    let at = bytes.len().saturating_sub(place);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    message.bytes = bytes.into();
    message
}

async fn until_blamed(memory: &Memory, by: u8, whom: u8) -> Blame {
    for _ in 0..400 {
        if let Some(blame) = memory.blamed_by(by).remove(&key_of(whom)) {
            return blame;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody blames {whom}");
}

/// The liar answers with blocks and certificates in which one byte is another.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_serves_wrong_blocks_is_blocked_and_the_honest_one_serves() {
    let memory = Memory::new();
    let (validator, liar, height) = fabric(&memory, 30).await;
    let place = 1 + usize::try_from(memory.seed % 300).unwrap();
    // Its tips hold, and what is longer than a question is an answer.
    memory.alter(B, move |message| {
        let answer = message.channel == Channel::Backfill && message.bytes.len() > 100;
        Some(if answer {
            bend(message, place)
        } else {
            message
        })
    });
    memory.connect(B, C);
    let mut newcomer = Member::start(&memory, C).await;
    let blame = until_blamed(&memory, C, B).await;
    assert_eq!(
        blame,
        Blame::InvalidAnswer,
        "HYPERMESH_TEST_SEED={}",
        memory.seed
    );
    assert_eq!(newcomer.node.ledger.status().height, 0);
    assert_eq!(newcomer.node.ledger.status().peers, 0);
    memory.connect(A, C);
    newcomer.node.follow_to(height).await;
    stop_alike(vec![validator, liar, newcomer]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_announces_a_forged_certificate_is_blocked() {
    let memory = Memory::new();
    let (validator, liar, height) = fabric(&memory, 3).await;
    memory.alter(B, |message| {
        let tip = message.channel == Channel::Tip;
        Some(if tip { bend(message, 1) } else { message })
    });
    memory.connect(B, C);
    let mut newcomer = Member::start(&memory, C).await;
    assert_eq!(
        until_blamed(&memory, C, B).await,
        Blame::FalseTip { height }
    );
    assert_eq!(newcomer.node.ledger.status().heard, None);
    memory.connect(A, C);
    newcomer.node.follow_to(height).await;
    stop_alike(vec![validator, liar, newcomer]).await;
}

/// Heights are in the announcement beside the certificate, one byte each while they are small:
/// after the version and the fabric.
const HEIGHT_AT: usize = 1 + 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_announces_a_false_height_is_blocked() {
    for (change, immediately) in [(100_i16, true), (-1, false)] {
        let memory = Memory::new();
        let (validator, liar, height) = fabric(&memory, 5).await;
        memory.alter(B, move |mut message| {
            if message.channel == Channel::Tip {
                let mut bytes = message.bytes.to_vec();
                let claimed = i16::from(bytes[HEIGHT_AT]) + change;
                bytes[HEIGHT_AT] = u8::try_from(claimed).unwrap();
                message.bytes = bytes.into();
            }
            Some(message)
        });
        memory.connect(B, C);
        let mut newcomer = Member::start(&memory, C).await;
        let claimed = height.checked_add_signed(i64::from(change)).unwrap();
        let blame = until_blamed(&memory, C, B).await;
        assert_eq!(blame, Blame::FalseTip { height: claimed });
        if immediately {
            assert_eq!(newcomer.node.ledger.status().heard, None);
        }
        memory.connect(A, C);
        newcomer.node.follow_to(height).await;
        stop_alike(vec![validator, liar, newcomer]).await;
    }
}

/// It announces what is true and never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_costs_time_and_nothing_else() {
    let memory = Memory::new();
    let (validator, silent, height) = fabric(&memory, 40).await;
    memory.alter(B, |message| {
        (message.channel != Channel::Backfill).then_some(message)
    });
    memory.connect(B, C);
    memory.connect(A, C);
    let mut newcomer = Member::start(&memory, C).await;
    newcomer.node.follow_to(height).await;
    assert!(memory.blamed_by(C).is_empty());
    stop_alike(vec![validator, silent, newcomer]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_another_fabric_gets_nowhere_and_says_why() {
    let memory = Memory::new();
    memory.connect(A, C);
    let validator = Member::start(&memory, A).await;
    deploy(&validator, &Principal::operator(0, 0), "shop").await;
    let stranger = Member::start_of(&memory, C, genesis(9)).await;
    let (ours, theirs) = (genesis(9).fabric_id(), genesis(0).fabric_id());
    let blame = until_blamed(&memory, C, A).await;
    assert_eq!(blame, Blame::OtherFabric { theirs, ours });
    let status = stranger.node.ledger.status();
    assert_eq!((status.height, status.heard, status.peers), (0, None, 0));
    validator.node.stop().await;
    stranger.node.stop().await;
}

/// The validator keeps room for others, and the flood itself is no lie.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_floods_with_transactions_takes_only_its_share() {
    let memory = Memory::new();
    memory.connect(A, B);
    memory.connect(A, C);
    let mut validator = Member::start(&memory, A).await;
    let mut honest = Member::start(&memory, C).await;
    // A busy machine makes more blocks of the flood than may wait for a reader.
    for member in [&mut validator, &mut honest] {
        member.node.let_pass();
    }
    // A node of this key that only floods: it runs no ledger.
    let links = memory.join(B);
    let flood = |index: u64| {
        let bytes = Principal::operator(1, index).deploy("flood").into();
        memory.forge(B, to(A, Channel::Transactions, bytes));
    };
    for index in 0..2_000 {
        flood(1_000_000 + index);
        let depth = validator.node.ledger.status().pool.transactions;
        assert!(depth <= POOL_PEER_TRANSACTIONS_MAX + 1, "{depth} wait");
    }
    deploy(&honest, &Principal::operator(0, 0), "shop").await;
    assert!(memory.blamed_by(A).is_empty());
    drop(links);
    validator.node.stop().await;
    honest.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_passes_on_a_forged_transaction_is_blocked() {
    let memory = Memory::new();
    memory.connect(A, B);
    let validator = Member::start(&memory, A).await;
    let links = memory.join(B);
    let mut forged = Principal::operator(0, 0).deploy("shop");
    *forged.last_mut().unwrap() ^= 1;
    memory.forge(B, to(A, Channel::Transactions, forged.into()));
    let blame = until_blamed(&memory, A, B).await;
    assert!(matches!(blame, Blame::InvalidTransaction(_)), "{blame}");
    assert_eq!(validator.node.ledger.status().pool.transactions, 0);
    drop(links);
    validator.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_blocks_its_sender_and_strangers_are_not_heard() {
    let memory = Memory::new();
    memory.connect(A, B);
    let validator = Member::start(&memory, A).await;
    let links = memory.join(B);
    memory.forge(B, to(A, Channel::Tip, Bytes::from_static(b"\x01what")));
    let blame = until_blamed(&memory, A, B).await;
    let channel = Channel::Tip;
    assert_eq!(blame, Blame::Malformed { channel });
    let said = memory.hand_over(B, to(A, Channel::Tip, Bytes::new()));
    assert_eq!(said, Err(DeliverError::Blocked));
    let said = memory.hand_over(C, to(A, Channel::Tip, Bytes::new()));
    assert_eq!(said, Err(DeliverError::NotAMember));
    drop(links);
    validator.node.stop().await;
}

/// A follower says so when no peer has the blocks that it needs next.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_older_than_what_peers_keep_shows_in_the_status() {
    let memory = Memory::new();
    let (validator, keeper, height) = fabric(&memory, 5).await;
    let answers = Arc::new(AtomicUsize::new(0));
    let counted = answers.clone();
    memory.alter(B, move |mut message| {
        if message.channel == Channel::Tip {
            // What a peer with a long history says: blocks from the fourth on.
            let mut bytes = message.bytes.to_vec();
            bytes[HEIGHT_AT + 1] = 4;
            message.bytes = bytes.into();
        }
        let answer = message.channel == Channel::Backfill;
        counted.fetch_add(usize::from(answer), Ordering::Relaxed);
        (!answer).then_some(message)
    });
    memory.connect(B, C);
    let mut newcomer = Member::start(&memory, C).await;
    until("lagging", &newcomer, |status| status.lagging == Some(4)).await;
    let status = newcomer.node.ledger.status();
    assert!(status.catching_up && status.height == 0, "{status:?}");
    memory.connect(A, C);
    newcomer.node.follow_to(height).await;
    assert_eq!(newcomer.node.ledger.status().lagging, None);
    assert!(answers.load(Ordering::Relaxed) > 0, "nothing was asked");
    stop_alike(vec![validator, keeper, newcomer]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_its_node() {
    let memory = Memory::new();
    memory.connect(A, B);
    let validator = Member::start(&memory, A).await;
    let follower = Member::start(&memory, B).await;
    deploy(&follower, &Principal::operator(0, 0), "shop").await;
    let (of_validator, of_follower) = (validator.dir.clone(), follower.dir.clone());
    validator.node.stop().await;
    follower.node.stop().await;
    for (key, dir) in [(B, of_validator), (A, of_follower)] {
        let Err(error) = Member::start_in(&memory, key, dir).await else {
            panic!("the ledger started")
        };
        assert!(matches!(error, StartError::OtherNode { .. }), "{error}");
    }
}

fn to(key: u8, channel: Channel, bytes: Bytes) -> Outgoing {
    let peer: NodeId = key_of(key);
    Outgoing {
        peer,
        channel,
        bytes,
        priority: false,
    }
}
