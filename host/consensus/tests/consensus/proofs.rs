//! What convinces somebody who has only the genesis: the whole ledger, block by block, and single
//! entries of the state.

use hypermesh_consensus::{
    BlockHeader, FinalizedProof, VerifyFinalizedError, VerifyProofError, genesis_digest,
    read_block, verify_finalized, verify_proof,
};
use ledger::StateKey;

use crate::follow::{A, B, deploy};
use crate::memory::{Member, Memory};
use crate::support::{Principal, deployment_key, genesis};

/// A validator and a follower with a few blocks, the last of them at the height returned.
async fn pair(memory: &Memory) -> (Member, Member, u64) {
    memory.connect(A, B);
    let mut validator = Member::start(memory, A).await;
    let mut follower = Member::start(memory, B).await;
    let operator = Principal::operator(0, 0);
    let mut height = 0;
    for index in 0..8 {
        height = deploy(&follower, &operator, &format!("shop-{index}")).await;
    }
    validator.node.follow_to(height).await;
    follower.node.follow_to(height).await;
    (validator, follower, height)
}

async fn proof_at(member: &Member, height: u64) -> FinalizedProof {
    let proof = member
        .node
        .ledger
        .finalized(height)
        .await
        .expect("a running ledger");
    proof.unwrap_or_else(|| panic!("no block at height {height}"))
}

/// Walks the ledger as an audit does and returns the last header.
async fn audit(member: &Member, height: u64) -> BlockHeader {
    let genesis = genesis(0);
    let mut below = genesis_digest(&genesis).expect("keys of validators");
    let (mut last, mut certified) = (None, false);
    for at in 1..=height {
        let FinalizedProof { block, certificate } = proof_at(member, at).await;
        let header = match &certificate {
            Some(certificate) => verify_finalized(&genesis, &block, certificate),
            None => read_block(&genesis, &block),
        };
        let header = header.expect("a block that proves itself");
        assert_eq!((header.height, header.parent_digest), (at, below));
        below = header.block_digest;
        certified = certificate.is_some();
        last = Some(header);
    }
    assert!(certified, "nothing proves the last block");
    last.expect("a block")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_walks_the_ledger_of_a_validator_and_of_a_follower() {
    let memory = Memory::new();
    let (validator, follower, height) = pair(&memory).await;
    let header = audit(&validator, height).await;
    assert_eq!(header, audit(&follower, height).await);
    assert_eq!(header.state_root, validator.node.state.state_root);
    let beyond = follower.node.ledger.finalized(height + 1).await;
    assert_eq!(beyond, Ok(None));
    validator.stop().await;
    let ledger = follower.node.ledger.clone();
    follower.stop().await;
    assert!(
        ledger.finalized(1).await.is_err(),
        "a stopped ledger answers"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_byte_is_changed_a_block_is_not_proven() {
    let memory = Memory::new();
    let (validator, follower, height) = pair(&memory).await;
    let FinalizedProof { block, certificate } = proof_at(&follower, height).await;
    let (genesis_0, certificate) = (genesis(0), certificate.unwrap());
    for place in 0..block.len() {
        let mut bent = block.clone();
        bent[place] ^= 1;
        let verdict = verify_finalized(&genesis_0, &bent, &certificate);
        assert!(verdict.is_err(), "block byte {place}");
    }
    for place in 0..certificate.len() {
        let mut bent = certificate.clone();
        bent[place] ^= 1;
        let verdict = verify_finalized(&genesis_0, &block, &bent);
        assert!(verdict.is_err(), "certificate byte {place}");
    }
    let other = verify_finalized(&genesis(9), &block, &certificate);
    assert!(matches!(
        other,
        Err(VerifyFinalizedError::OtherFabric { .. })
    ));
    let below = proof_at(&follower, height - 1).await.block;
    let other = verify_finalized(&genesis_0, &below, &certificate);
    let expected = VerifyFinalizedError::OtherBlock { height: height - 1 };
    assert_eq!(other, Err(expected));
    validator.stop().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_and_their_absence_are_proven_against_a_final_block() {
    let memory = Memory::new();
    let (validator, follower, height) = pair(&memory).await;
    let genesis = genesis(0);
    let present = deployment_key("shop-3");
    let absent = deployment_key("shop-30");
    for member in [&validator, &follower] {
        let FinalizedProof { block, certificate } = proof_at(member, height).await;
        let header = verify_finalized(&genesis, &block, &certificate.unwrap()).unwrap();
        for key in [&present, &absent, &StateKey::fabric()] {
            let proof = member
                .node
                .ledger
                .prove(key.clone())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (proof.height, proof.state_root),
                (height, header.state_root)
            );
            let held = verify_proof(&header.state_root, key, &proof.bytes);
            assert_eq!(held, Ok(member.node.state.entries.get(key).cloned()));
        }
        let proof = member
            .node
            .ledger
            .prove(present.clone())
            .await
            .unwrap()
            .unwrap();
        let root = header.state_root;
        let refuted = Err(VerifyProofError::Refuted);
        assert_eq!(verify_proof(&root, &absent, &proof.bytes), refuted);
        assert_eq!(verify_proof(&[7; 32], &present, &proof.bytes), refuted);
        for place in 0..proof.bytes.len() {
            let mut bent = proof.bytes.clone();
            bent[place] ^= 1;
            let verdict = verify_proof(&root, &present, &bent);
            assert!(verdict.is_err(), "byte {place}: {verdict:?}");
        }
    }
    validator.stop().await;
    follower.stop().await;
}
