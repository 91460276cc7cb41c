//! A small fabric for these tests: keys, files, and proofs of an operation that are all good.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_proofs::{
    Answer, CalibrationFacts, CertificateRule, Challenge, Commitment, Content, EngineMode,
    EngineProfile, Export, Facts, Plot, Proofs, ReadAt, Receipt, ReceiptCertificate, SignedAnswer,
    SignedReceipt, SpaceFacts, StakeClaim, StakeFacts, StakeProof, StakeRole, TimeFacts, TimeProof,
    WorkDemand, WorkEvidence, WorkProof, build_tree, operation_digest, outboard_bytes,
};
use types::{Digest, FabricId, NodeId, PublicKey, Signature};

pub(crate) const FABRIC: FabricId = FabricId::from_bytes([5; 32]);
/// The height of the beacon.
pub(crate) const ASKED: u64 = 100;
/// Last height for answers.
pub(crate) const DEADLINE: u64 = 104;
/// The height of the block that carries the proofs.
pub(crate) const NOW: u64 = 102;

pub(crate) fn secret(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey::from_bytes(secret(seed).verifying_key().to_bytes())
}

pub(crate) fn sign(seed: u8, bytes: &[u8]) -> Signature {
    Signature::from_bytes(secret(seed).sign(bytes).to_bytes())
}

pub(crate) fn asset() -> Digest {
    Digest::of(b"asset")
}

pub(crate) fn beacon(height: u64) -> Digest {
    Digest::of(&height.to_le_bytes())
}

/// A file of a node.
pub(crate) struct OnDisk(File);

impl OnDisk {
    pub(crate) fn open(path: &Path) -> Self {
        let mut options = File::options();
        Self(options.read(true).write(true).open(path).unwrap())
    }

    /// Flips one bit.
    pub(crate) fn flip(&self, offset: u64) {
        let mut byte = [0];
        self.0.read_exact_at(&mut byte, offset).unwrap();
        self.0.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }

    /// Zeros what is from `offset` on, as a file system does with blocks that were given back.
    pub(crate) fn punch(&self, offset: u64, bytes: usize) {
        self.0.write_all_at(&vec![0; bytes], offset).unwrap();
    }

    pub(crate) fn truncate(&self, bytes: u64) {
        self.0.set_len(bytes).unwrap();
    }
}

impl ReadAt for OnDisk {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }
}

/// Data with its outboard in two files, and what its node committed to.
pub(crate) struct Kept {
    pub(crate) commitment: Commitment,
    pub(crate) data: OnDisk,
    pub(crate) outboard: OnDisk,
}

impl Kept {
    /// Writes what `source` gives.
    pub(crate) fn new(
        dir: &Path,
        seed: u8,
        content: Content,
        bytes: u64,
        source: &impl ReadAt,
    ) -> Self {
        let (data, outboard) = (dir.join("data"), dir.join("outboard"));
        let mut written = vec![0; usize::try_from(bytes).unwrap()];
        source.read_exact_at(0, &mut written).unwrap();
        std::fs::write(&data, &written).unwrap();
        std::fs::write(&outboard, b"").unwrap();
        let (data, outboard) = (OnDisk::open(&data), OnDisk::open(&outboard));
        let mut save = |offset: u64, pair: &[u8; 64]| outboard.0.write_all_at(pair, offset);
        let root = build_tree(&data, bytes, &mut save).unwrap();
        assert_eq!(outboard.0.metadata().unwrap().len(), outboard_bytes(bytes));
        let commitment = Commitment {
            node: public(seed),
            asset: asset(),
            content,
            root,
            bytes,
        };
        Self {
            commitment,
            data,
            outboard,
        }
    }

    /// What a node of this seed keeps as filler.
    pub(crate) fn filler(dir: &Path, seed: u8, bytes: u64) -> Self {
        let plot = Plot::new(&public(seed), &asset());
        Self::new(dir, seed, Content::Filler, bytes, &plot)
    }

    pub(crate) fn facts(&self) -> SpaceFacts {
        SpaceFacts {
            fabric: FABRIC,
            challenge: Challenge::draw(&beacon(ASKED), ASKED, &self.commitment),
            deadline_height: DEADLINE,
            seen_at_height: NOW,
        }
    }

    /// What is read now for `facts`, signed by the node of `seed`.
    pub(crate) fn answer(&self, seed: u8, facts: &SpaceFacts) -> io::Result<SignedAnswer> {
        let answer = Answer::read(FABRIC, &facts.challenge, &self.data, &self.outboard)?;
        let signature = sign(seed, &answer.signing_bytes());
        Ok(SignedAnswer { answer, signature })
    }
}

pub(crate) fn receipt(seed: u8) -> Receipt {
    Receipt {
        fabric: FABRIC,
        node: public(seed),
        order: Digest::of(b"order"),
        component: Digest::of(b"component"),
        export: Export::try_from("demo:math/add@0.1.0#add".to_owned()).unwrap(),
        input: Digest::of(b"input"),
        output: Digest::of(b"output"),
        fuel: 12_345,
        memory_peak_bytes: 1 << 20,
        profile: EngineProfile {
            mode: EngineMode::Deterministic,
            engine: Digest::of(b"engine"),
        },
    }
}

/// The receipt of a run that ends like [`receipt`] but for what `change` does, signed.
pub(crate) fn signed(seed: u8, change: impl FnOnce(&mut Receipt)) -> SignedReceipt {
    let mut receipt = receipt(seed);
    change(&mut receipt);
    let signature = sign(seed, &receipt.signing_bytes());
    SignedReceipt { receipt, signature }
}

pub(crate) fn certificate(mut receipts: Vec<SignedReceipt>) -> ReceiptCertificate {
    receipts.sort_by_key(|signed| signed.receipt.node);
    ReceiptCertificate { receipts }
}

/// A rule for nodes of these seeds.
pub(crate) fn rule(seeds: &[u8], agree: u16) -> CertificateRule {
    CertificateRule {
        fabric: FABRIC,
        order: Digest::of(b"order"),
        drawn: seeds.iter().map(|seed| public(*seed)).collect(),
        agree,
    }
}

/// What a ledger says about the operation that [`proofs`] are for.
pub(crate) struct Ledger {
    pub(crate) operation: Digest,
    pub(crate) space: SpaceFacts,
    pub(crate) stake: StakeFacts,
    pub(crate) rule: CertificateRule,
    pub(crate) calibration: Option<CalibrationFacts>,
    pub(crate) anchors: BTreeMap<u64, Digest>,
    pub(crate) next_nonce: u64,
}

/// Who signs the operation.
pub(crate) const PRINCIPAL: u8 = 40;
/// Who keeps the asset.
pub(crate) const NODE: u8 = 1;

impl Ledger {
    pub(crate) fn new(space: SpaceFacts) -> Self {
        Self {
            operation: operation_digest(&FABRIC, b"lease 4 cores"),
            space,
            stake: StakeFacts {
                principal: public(PRINCIPAL),
                role: Some(StakeRole::Deployer),
                quota_left: 8,
                bond_left: 100,
                needs_role: Some(StakeRole::Deployer),
                needs_quota: 4,
                needs_bond: 10,
            },
            rule: rule(&[1, 2, 3], 2),
            calibration: None,
            anchors: (0..NOW).map(|height| (height, beacon(height))).collect(),
            next_nonce: 4,
        }
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        let receipts = WorkDemand::Receipts(&self.rule);
        let calibration = self.calibration.as_ref();
        Facts {
            fabric: FABRIC,
            operation: self.operation,
            space: &self.space,
            stake: &self.stake,
            work: calibration.map_or(receipts, WorkDemand::Calibration),
            time: TimeFacts {
                now_height: NOW,
                anchors: &self.anchors,
                next_nonce: self.next_nonce,
            },
        }
    }
}

/// Signs the proofs together, if there is a claim.
pub(crate) fn sealed(mut proofs: Proofs) -> Proofs {
    let bytes = proofs.signing_bytes(&FABRIC);
    if let Some(stake) = &mut proofs.stake {
        stake.signature = sign(PRINCIPAL, &bytes);
    }
    proofs
}

/// Four good proofs, and the ledger that takes them.
pub(crate) fn proofs(dir: &Path) -> (Proofs, Ledger) {
    let kept = Kept::filler(dir, NODE, 5_000);
    let ledger = Ledger::new(kept.facts());
    let claim = StakeClaim {
        principal: public(PRINCIPAL),
        role: StakeRole::Deployer,
        quota: 4,
        bond: 10,
    };
    let receipts = vec![signed(1, |_| {}), signed(2, |_| {})];
    let proofs = Proofs {
        space: Some(kept.answer(NODE, &ledger.space).unwrap()),
        stake: Some(StakeProof {
            claim,
            signature: Signature::from_bytes([0; 64]),
        }),
        work: Some(WorkProof {
            operation: ledger.operation,
            evidence: WorkEvidence::Receipts(certificate(receipts)),
        }),
        time: Some(TimeProof {
            anchor_height: 99,
            anchor_digest: beacon(99),
            expires_at: 110,
            nonce: 4,
        }),
    };
    (sealed(proofs), ledger)
}

pub(crate) fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}
