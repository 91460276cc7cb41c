//! The four proofs: what nodes and principals hand in with operations on assets.

use std::collections::BTreeMap;

use proofs::{
    Answer, Calibration, CalibrationSeed, CertificateRule, Challenge, Commitment, Content,
    EngineMode, EngineProfile, Export, Facts, PROOFS_BYTES_MAX, Proofs, ProvenChunk, Receipt,
    ReceiptCertificate, ShownFacts, SignedAnswer, SignedReceipt, SpaceFacts, SpaceProof,
    StakeClaim, StakeFacts, StakeProof, StakeRole, TimeFacts, TimeProof, WorkDemand, WorkEvidence,
    WorkProof,
};
use trust::SecretKey;
use types::{AssetId, AssetType, Digest, FabricId, PublicKey, Signature};

use crate::Target;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "proofs_all",
        covers: &["Proofs::decode"],
        run: all,
        seeds: bundles,
    },
    Target {
        name: "proofs_answer",
        covers: &["SignedAnswer::decode"],
        run: answer,
        seeds: || vec![signed_answer().encode()],
    },
    Target {
        name: "proofs_space",
        covers: &["SpaceProof::decode"],
        run: space,
        seeds: || vec![space_proof().encode()],
    },
    Target {
        name: "proofs_receipt",
        covers: &["SignedReceipt::decode"],
        run: receipt,
        seeds: || vec![signed_receipt(1).encode(), signed_receipt(2).encode()],
    },
    Target {
        name: "proofs_certificate",
        covers: &["ReceiptCertificate::decode"],
        run: certificate,
        seeds: || vec![receipts().encode()],
    },
];

const FABRIC: FabricId = FabricId::from_bytes([5; 32]);
const ORDER: Digest = Digest::from_bytes([6; 32]);
const CONTENT: &[u8] = &[7; 900];

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

/// One chunk is its whole tree.
fn commitment() -> Commitment {
    Commitment {
        node: public(1),
        asset: ORDER,
        content: Content::Kept,
        root: Digest::of(CONTENT),
        bytes: 900,
    }
}

fn space_facts() -> SpaceFacts {
    SpaceFacts {
        fabric: FABRIC,
        challenge: Challenge::draw(&ORDER, 1, &commitment()),
        deadline_height: 9,
        seen_at_height: 2,
    }
}

fn space_proof() -> SpaceProof {
    SpaceProof {
        asset: AssetId::from_parts(AssetType::Storage, ORDER),
        anchor_height: 1,
        anchor_digest: ORDER,
        answer: signed_answer(),
    }
}

fn signed_answer() -> SignedAnswer {
    let chunk = ProvenChunk {
        content: CONTENT.to_vec(),
        way: Vec::new(),
    };
    let answer = Answer {
        fabric: FABRIC,
        node: public(1),
        asset: ORDER,
        height: 1,
        chunks: vec![chunk],
    };
    let signature = key(1).sign(&answer.signing_bytes());
    SignedAnswer { answer, signature }
}

fn signed_receipt(seed: u8) -> SignedReceipt {
    let receipt = Receipt {
        fabric: FABRIC,
        node: public(seed),
        order: ORDER,
        component: ORDER,
        export: Export::try_from("run".to_owned()).expect("a short name"),
        input: ORDER,
        output: ORDER,
        fuel: 300,
        memory_peak_bytes: 1 << 16,
        profile: EngineProfile {
            mode: EngineMode::Deterministic,
            engine: ORDER,
        },
    };
    let signature = key(seed).sign(&receipt.signing_bytes());
    SignedReceipt { receipt, signature }
}

fn receipts() -> ReceiptCertificate {
    let mut receipts = vec![signed_receipt(1), signed_receipt(2)];
    receipts.sort_by_key(|signed| signed.receipt.node);
    ReceiptCertificate { receipts }
}

fn rule() -> CertificateRule {
    CertificateRule {
        fabric: FABRIC,
        order: ORDER,
        drawn: [public(1), public(2)].into(),
        agree: 2,
    }
}

/// All four, with this evidence of work, and none of them.
fn bundles() -> Vec<Vec<u8>> {
    let seed = CalibrationSeed::draw(&ORDER, 1, &public(1), &ORDER);
    let evidences = [
        WorkEvidence::Operation,
        WorkEvidence::Receipts(receipts()),
        WorkEvidence::Calibration(Calibration::run(&seed, 2)),
    ];
    let bundles = evidences.map(|evidence| whole(evidence).encode());
    let mut bundles = Vec::from(bundles);
    bundles.push(Proofs::default().encode());
    bundles
}

fn whole(evidence: WorkEvidence) -> Proofs {
    let claim = StakeClaim {
        principal: public(3),
        role: StakeRole::Deployer,
        quota: 4,
        bond: 10,
    };
    let unsigned = Signature::from_bytes([0; 64]);
    let mut proofs = Proofs {
        space: Some(signed_answer()),
        stake: Some(StakeProof {
            claim,
            signature: unsigned,
        }),
        work: Some(WorkProof {
            operation: ORDER,
            evidence,
        }),
        time: Some(TimeProof {
            anchor_height: 1,
            anchor_digest: ORDER,
            expires_at: 5,
            nonce: 7,
        }),
    };
    let signature = key(3).sign(&proofs.signing_bytes(&FABRIC));
    if let Some(stake) = &mut proofs.stake {
        stake.signature = signature;
    }
    proofs
}

/// What decodes encodes to the same bytes, and only what the key's holder signed is admitted.
fn all(bytes: &[u8]) {
    let Ok(proofs) = Proofs::decode(bytes) else {
        return;
    };
    assert_eq!(proofs.encode(), bytes);
    assert!(bytes.len() <= PROOFS_BYTES_MAX);
    let (space, rule) = (space_facts(), rule());
    let stake = StakeFacts {
        principal: public(3),
        role: Some(StakeRole::Deployer),
        quota_left: 4,
        bond_left: 10,
        needs_role: Some(StakeRole::Deployer),
        needs_quota: 4,
        needs_bond: 10,
    };
    let anchors = BTreeMap::from([(1, ORDER)]);
    let facts = Facts {
        fabric: FABRIC,
        operation: ORDER,
        space: &space,
        stake: &stake,
        work: WorkDemand::Receipts(&rule),
        time: TimeFacts {
            now_height: 2,
            anchors: &anchors,
            next_nonce: 7,
        },
    };
    let signed = whole(WorkEvidence::Receipts(receipts()));
    assert_eq!(proofs.verify(&facts).is_ok(), proofs == signed);
}

fn answer(bytes: &[u8]) {
    if let Ok(answer) = SignedAnswer::decode(bytes) {
        assert_eq!(answer.encode(), bytes);
        let is_good = answer.verify(&space_facts()).is_ok();
        assert_eq!(is_good, answer == signed_answer());
    }
}

/// Whatever the asset is called, only what its host signed to that block shows anything.
fn space(bytes: &[u8]) {
    if let Ok(proof) = SpaceProof::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
        let facts = ShownFacts {
            fabric: FABRIC,
            anchor_digest: ORDER,
            commitment: commitment(),
        };
        let made = space_proof();
        let same = (proof.anchor_height, proof.anchor_digest, &proof.answer)
            == (made.anchor_height, made.anchor_digest, &made.answer);
        assert_eq!(proof.verify(&facts).is_ok(), same);
    }
}

fn receipt(bytes: &[u8]) {
    if let Ok(signed) = SignedReceipt::decode(bytes) {
        assert_eq!(signed.encode(), bytes);
        let _ = signed.receipt.compare(&signed_receipt(3).receipt);
        let made = [signed_receipt(1), signed_receipt(2)];
        assert_eq!(signed.verify().is_ok(), made.contains(&signed));
    }
}

fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = ReceiptCertificate::decode(bytes) {
        assert_eq!(certificate.encode(), bytes);
        let is_good = certificate.verify(&rule()).is_ok();
        assert_eq!(is_good, certificate == receipts());
    }
}
