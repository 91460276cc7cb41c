//! Files that prove one entry to somebody who knows only the fabric's id: what they prove, that no
//! change to them goes unnoticed, and that they hold across changes of validators.

use hypermesh_consensus::{
    DecodeEntryProofError, EntryProof, Handover, VerifyEntryProofError, VerifyFinalizedError,
    VerifyProofError,
};
use ledger::{Genesis, StateKey};

use crate::committee::deploy;
use crate::epochs::{Voters, add, remove, start_all, until_validators};
use crate::follow::{A, B, stop_alike};
use crate::memory::{Member, Memory};
use crate::support::{Principal, deployment_key, genesis, genesis_with_epochs};

async fn proof(member: &Member, genesis: &Genesis, key: &StateKey) -> EntryProof {
    let proof = member.node.ledger.entry_proof(genesis, key).await;
    let proof = proof.expect("a running ledger").expect("a final block");
    // Through the file, as everybody gets it.
    let read = EntryProof::decode(&proof.encode()).expect("what was written");
    assert_eq!(read, proof);
    read
}

/// The same proof, changed and sealed again, as a forger would.
fn bent(proof: &EntryProof, bend: impl FnOnce(&mut EntryProof)) -> EntryProof {
    let mut bent = proof.clone();
    bend(&mut bent);
    assert_ne!(bent, *proof);
    EntryProof::decode(&bent.encode()).expect("a sealed file")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_changed_field_has_a_reason_of_its_own() {
    let memory = Memory::new();
    memory.connect(A, B);
    let validator = Member::start(&memory, A).await;
    let mut follower = Member::start(&memory, B).await;
    let operator = Principal::operator(0, 0);
    let height = crate::follow::deploy(&follower, &operator, "shop").await;
    follower.node.follow_to(height).await;
    let (genesis_0, fabric) = (genesis(0), genesis(0).fabric_id());
    let key = deployment_key("shop");
    let good = proof(&follower, &genesis_0, &key).await;
    let proven = good.verify(&fabric).expect("a good proof");
    assert_eq!(proven.header.height, height);
    assert_eq!(proven.value, follower.node.state.entries.get(&key).cloned());
    assert!(proven.value.is_some());
    let absent = proof(&follower, &genesis_0, &deployment_key("gone")).await;
    assert_eq!(absent.verify(&fabric).expect("a good proof").value, None);

    bent_frames(&good);
    bent_entries(&good, &absent);
    stop_alike(vec![validator, follower]).await;
}

/// Changes of the genesis, the block and its certificate.
fn bent_frames(good: &EntryProof) {
    use VerifyEntryProofError as E;
    let fabric = genesis(0).fabric_id();
    let verdict =
        |bend: fn(&mut EntryProof)| bent(good, bend).verify(&fabric).expect_err("a bent proof");
    let other = good.verify(&genesis(9).fabric_id());
    assert!(matches!(other, Err(E::OtherFabric { .. })), "{other:?}");
    // Another fabric's genesis; no genesis.
    let error = verdict(|proof| proof.genesis = genesis(9).encode());
    assert!(matches!(error, E::OtherFabric { .. }), "{error:?}");
    let error = verdict(|proof| proof.genesis.truncate(9));
    assert!(matches!(error, E::Genesis(_)), "{error:?}");
    // A block of other bytes; of another fabric; no block.
    let error = verdict(|proof| *proof.block.last_mut().expect("bytes") ^= 1);
    let block = matches!(
        error,
        E::Block(VerifyFinalizedError::OtherBlock { .. } | VerifyFinalizedError::Block { .. })
    );
    assert!(block, "{error:?}");
    let error = verdict(|proof| proof.block[1] ^= 1);
    let other = matches!(error, E::Block(VerifyFinalizedError::OtherFabric { .. }));
    assert!(other, "{error:?}");
    let error = verdict(|proof| proof.block.clear());
    assert!(
        matches!(error, E::Block(VerifyFinalizedError::Block { .. })),
        "{error:?}"
    );
    // A signature that nobody made; no certificate.
    let error = verdict(|proof| *proof.certificate.last_mut().expect("bytes") ^= 1);
    let forged = matches!(error, E::Block(VerifyFinalizedError::Signatures { .. }));
    assert!(forged, "{error:?}");
    let error = verdict(|proof| proof.certificate.clear());
    let none = matches!(error, E::Block(VerifyFinalizedError::Certificate { .. }));
    assert!(none, "{error:?}");
}

/// Changes of the key, the entry and the handovers.
fn bent_entries(good: &EntryProof, absent: &EntryProof) {
    use VerifyEntryProofError as E;
    let fabric = genesis(0).fabric_id();
    let verdict =
        |bend: fn(&mut EntryProof)| bent(good, bend).verify(&fabric).expect_err("a bent proof");
    // Another key; another value; absence where there is a value; no path.
    let error = verdict(|proof| proof.key = deployment_key("gone"));
    assert!(refuted(&error), "{error:?}");
    let error = verdict(|proof| *proof.entry.last_mut().expect("bytes") ^= 1);
    assert!(refuted(&error), "{error:?}");
    let swapped = bent(good, |proof| proof.entry.clone_from(&absent.entry));
    let error = swapped.verify(&fabric).expect_err("a bent proof");
    assert!(refuted(&error), "{error:?}");
    let error = verdict(|proof| proof.entry.clear());
    let malformed = matches!(
        error,
        E::Entry {
            source: VerifyProofError::Malformed { .. },
            ..
        }
    );
    assert!(malformed, "{error:?}");
    // A handover that is none.
    let (block, certificate) = (good.block.clone(), good.certificate.clone());
    let extra = bent(good, |proof| {
        proof.handovers.push(Handover { block, certificate })
    });
    let error = extra.verify(&fabric).expect_err("a bent proof");
    assert!(
        matches!(error, E::OutOfPlace { number: 1, .. }),
        "{error:?}"
    );
}

fn refuted(error: &VerifyEntryProofError) -> bool {
    let VerifyEntryProofError::Entry { source, .. } = error else {
        return false;
    };
    *source == VerifyProofError::Refuted
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_byte_of_the_file_is_changed_it_does_not_decode() {
    let memory = Memory::new();
    let validator = Member::start(&memory, A).await;
    let operator = Principal::operator(0, 0);
    crate::follow::deploy(&validator, &operator, "shop").await;
    let good = proof(&validator, &genesis(0), &StateKey::fabric())
        .await
        .encode();
    for place in 0..good.len() {
        let mut bent = good.clone();
        bent[place] ^= 1;
        let error = EntryProof::decode(&bent).expect_err("a changed file");
        let expected = match place {
            0..16 => error == DecodeEntryProofError::Other,
            16 => matches!(error, DecodeEntryProofError::Version { version: 0 }),
            _ => error == DecodeEntryProofError::Damaged,
        };
        assert!(expected, "byte {place}: {error}");
        assert!(
            EntryProof::decode(&good[..place]).is_err(),
            "cut at {place}"
        );
    }
    stop_alike(vec![validator]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_leads_over_every_change_of_validators() {
    let memory = Memory::new();
    let genesis = genesis_with_epochs(1, 3, 8);
    let fabric = genesis.fabric_id();
    let mut members = start_all(&memory, 3, &genesis).await;
    let voters = Voters::of(&genesis, 3);
    let operator = Principal::operator_in(&genesis, 0);
    let first = deploy(&members[0], &operator, "before").await;
    let before = proof(&members[0], &genesis, &deployment_key("before")).await;
    voters.vote(&members, &[1], add(2)).await;
    until_validators(&mut members, 2).await;
    voters.vote(&members, &[1, 2], remove(1)).await;
    until_validators(&mut members, 1).await;
    let height = deploy(&members[2], &operator, "after").await;
    for member in &mut members {
        member.node.follow_to(height).await;
    }
    // The one that follows proves it as well as the one that votes.
    for at in [1, 2] {
        members.iter_mut().for_each(|member| member.node.drain());
        let after = proof(&members[at], &genesis, &deployment_key("after")).await;
        let proven = after.verify(&fabric).expect("a good proof");
        assert_eq!(proven.handovers, 2);
        assert!(proven.value.is_some() && proven.header.height > first);
        changes_of_handovers(&after, &genesis);
    }
    // What was proven before holds for ever, without knowing of later validators.
    let proven = before.verify(&fabric).expect("an old proof");
    assert_eq!(proven.handovers, 0);
    stop_alike(members).await;
}

fn changes_of_handovers(good: &EntryProof, genesis: &Genesis) {
    use VerifyEntryProofError as E;
    let fabric = genesis.fabric_id();
    let verdict =
        |bend: fn(&mut EntryProof)| bent(good, bend).verify(&fabric).expect_err("a bent proof");
    // The validators before a change did not sign what came after it.
    let error = verdict(|proof| drop(proof.handovers.pop()));
    assert!(matches!(error, E::Block(_)), "{error:?}");
    let error = verdict(|proof| drop(proof.handovers.remove(0)));
    assert!(matches!(error, E::Handover { number: 1, .. }), "{error:?}");
    let error = verdict(|proof| proof.handovers.clear());
    assert!(matches!(error, E::Block(_)), "{error:?}");
    let error = verdict(|proof| proof.handovers.swap(0, 1));
    assert!(matches!(error, E::Handover { number: 1, .. }), "{error:?}");
    let error = verdict(|proof| proof.handovers.insert(1, proof.handovers[0].clone()));
    assert!(
        matches!(error, E::OutOfPlace { number: 2, .. }),
        "{error:?}"
    );
    // The block is the end of the last epoch itself: what it hands over comes after it.
    let error = verdict(|proof| {
        let last = proof.handovers[1].clone();
        (proof.block, proof.certificate) = (last.block, last.certificate);
    });
    assert!(
        matches!(error, E::OutOfPlace { number: 2, .. } | E::Block(_)),
        "{error:?}"
    );
    let error = verdict(|proof| *proof.handovers[0].certificate.last_mut().expect("bytes") ^= 1);
    assert!(matches!(error, E::Handover { number: 1, .. }), "{error:?}");
    let error = verdict(|proof| *proof.handovers[1].block.last_mut().expect("bytes") ^= 1);
    assert!(matches!(error, E::Handover { number: 2, .. }), "{error:?}");
}
