//! Proofs of space that stand by themselves: pinned, and good only for their own block, fabric,
//! host and content.

use hypermesh_proofs::{
    Challenge, Content, DecodeProofError, SPACE_PROOF_BYTES_MAX, ShownFacts, SpaceFacts,
    SpaceProof, VerifyShownError, VerifySpaceError, beacon_of,
};
use tempfile::{TempDir, tempdir};
use types::{AssetId, AssetType, Digest, FabricId};

use crate::world::{ASKED, FABRIC, Kept, asset, public};

const BYTES: u64 = 500_000;

fn block() -> Digest {
    Digest::of(b"block")
}

/// What a host keeps, what it shows of it to the block, and what the ledger says.
fn shown(dir: &TempDir) -> (Kept, SpaceProof, ShownFacts) {
    let content = vec![7; 500_000];
    let kept = Kept::new(dir.path(), 1, Content::Kept, BYTES, &content);
    let facts = ShownFacts {
        fabric: FABRIC,
        anchor_digest: block(),
        commitment: kept.commitment,
    };
    let asked = SpaceFacts {
        challenge: Challenge::draw(&beacon_of(&block()), ASKED, &kept.commitment),
        ..kept.facts()
    };
    let proof = SpaceProof {
        asset: AssetId::from_parts(AssetType::Storage, asset()),
        anchor_height: ASKED,
        anchor_digest: block(),
        answer: kept.answer(1, &asked).unwrap(),
    };
    (kept, proof, facts)
}

#[test]
fn what_a_host_shows_is_good_for_its_block_and_commitment_only() {
    let dir = tempdir().unwrap();
    let (kept, proof, facts) = shown(&dir);
    assert_eq!(proof.verify(&facts), Ok(()));
    let other_block = proof.verify(&ShownFacts {
        anchor_digest: Digest::of(b"another"),
        ..facts
    });
    assert!(matches!(
        other_block,
        Err(VerifyShownError::OtherBlock { height: ASKED, .. })
    ));
    let refused = |facts: &ShownFacts| match proof.verify(facts) {
        Err(VerifyShownError::Answer(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let other_fabric = refused(&ShownFacts {
        fabric: FabricId::from_bytes([6; 32]),
        ..facts
    });
    assert!(matches!(other_fabric, VerifySpaceError::OtherFabric { .. }));
    let mut commitment = kept.commitment;
    commitment.node = public(2);
    let other_host = refused(&ShownFacts {
        commitment,
        ..facts
    });
    assert!(matches!(other_host, VerifySpaceError::OtherNode { .. }));
    let mut commitment = kept.commitment;
    commitment.root = Digest::of(b"another");
    let other_content = refused(&ShownFacts {
        commitment,
        ..facts
    });
    assert!(matches!(other_content, VerifySpaceError::Damaged { .. }));
    let later = SpaceProof {
        anchor_height: ASKED + 1,
        ..proof.clone()
    };
    assert!(later.verify(&facts).is_err(), "it is signed to its height");
}

#[test]
fn its_bytes_are_pinned_and_bounded() {
    let dir = tempdir().unwrap();
    let (_, proof, _) = shown(&dir);
    let bytes = proof.encode();
    let found = format!("{} {}", bytes.len(), Digest::of(&bytes).short());
    assert_eq!(found, "42728 127f6657c011");
    assert_eq!(SpaceProof::decode(&bytes), Ok(proof));
    let more = [&bytes[..], &[0]].concat();
    let malformed = SpaceProof::decode(&more);
    assert!(matches!(malformed, Err(DecodeProofError::Malformed { .. })));
    let large = SpaceProof::decode(&vec![0; SPACE_PROOF_BYTES_MAX + 1]);
    assert!(matches!(large, Err(DecodeProofError::TooLarge { .. })));
}
