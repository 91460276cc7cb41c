//! An operation is admitted with all four proofs, each valid: every subset, every field and every byte.

use std::collections::BTreeSet;

use hypermesh_proofs::{
    Calibration, CalibrationCheck, CalibrationFacts, CalibrationSeed, MissingProofs, ProofKind,
    Proofs, StakeRole, VerifyProofsError, WorkEvidence,
};
use tempfile::tempdir;
use types::{Digest, Signature};

use crate::world::{ASKED, DEADLINE, Ledger, NOW, asset, beacon, proofs, public, sealed};

fn verdict(ledger: &Ledger, proofs: &Proofs) -> Result<(), VerifyProofsError> {
    proofs.verify(&ledger.facts())
}

#[test]
fn of_sixteen_subsets_only_the_whole_is_admitted() {
    let dir = tempdir().unwrap();
    let (whole, ledger) = proofs(dir.path());
    let mut admitted = 0;
    for subset in 0..16_u8 {
        let has = |bit: u8| subset & (1 << bit) != 0;
        let part = sealed(Proofs {
            space: whole.space.clone().filter(|_| has(0)),
            stake: whole.stake.clone().filter(|_| has(1)),
            work: whole.work.clone().filter(|_| has(2)),
            time: whole.time.filter(|_| has(3)),
        });
        let kinds = [
            ProofKind::Space,
            ProofKind::Stake,
            ProofKind::Work,
            ProofKind::Time,
        ];
        let missing = (0..).zip(kinds).filter(|(bit, _)| !has(*bit));
        let which: BTreeSet<_> = missing.map(|(_, kind)| kind).collect();
        // What is missing is missing after the wire too.
        let part = Proofs::decode(&part.encode()).unwrap();
        if which.is_empty() {
            assert_eq!((part.require(), verdict(&ledger, &part)), (Ok(()), Ok(())));
            admitted += 1;
        } else {
            let missing = MissingProofs { which };
            assert_eq!(part.require(), Err(missing.clone()));
            assert_eq!(verdict(&ledger, &part), Err(missing.into()), "{subset:04b}");
        }
    }
    assert_eq!(admitted, 1);
}

#[test]
fn the_refusal_names_what_is_missing() {
    let refusal = Proofs::default().require().unwrap_err().to_string();
    let expected = "an asset operation needs all four proofs; missing: space, stake, work, time";
    assert_eq!(refusal, expected);
}

type Change = fn(&mut Proofs);

/// One change of every field that there is.
const CHANGES: &[(&str, Change)] = &[
    ("fabric", |p| space(p).answer.fabric = Digest::of(b"x")),
    ("node", |p| space(p).answer.node = public(2)),
    ("asset", |p| space(p).answer.asset = Digest::of(b"x")),
    ("height", |p| space(p).answer.height += 1),
    ("content", |p| space(p).answer.chunks[3].content[5] ^= 1),
    ("way", |p| space(p).answer.chunks[3].way[1][5] ^= 1),
    ("longer way", |p| {
        space(p).answer.chunks[3].way.push([0; 32])
    }),
    ("order of chunks", |p| space(p).answer.chunks.swap(0, 1)),
    ("fewer chunks", |p| drop(space(p).answer.chunks.pop())),
    ("signature of the answer", |p| {
        space(p).signature = Signature::from_bytes([1; 64]);
    }),
    ("principal", |p| stake(p).claim.principal = public(2)),
    ("role", |p| stake(p).claim.role = StakeRole::Admin),
    ("quota", |p| stake(p).claim.quota += 1),
    ("bond", |p| stake(p).claim.bond -= 1),
    ("operation", |p| work(p).operation = Digest::of(b"x")),
    ("other evidence", |p| {
        work(p).evidence = WorkEvidence::Operation
    }),
    ("fuel", |p| receipts(p)[0].receipt.fuel -= 1),
    ("output", |p| {
        receipts(p)[0].receipt.output = Digest::of(b"x")
    }),
    ("a receipt less", |p| drop(receipts(p).pop())),
    ("a receipt twice", |p| {
        receipts(p)[1] = receipts(p)[0].clone()
    }),
    ("anchor's height", |p| time(p).anchor_height -= 1),
    ("anchor's digest", |p| {
        time(p).anchor_digest = Digest::of(b"x")
    }),
    ("expiry before now", |p| time(p).expires_at = NOW - 1),
    ("expiry far ahead", |p| time(p).expires_at = 100_000),
    ("nonce that was used", |p| time(p).nonce = 3),
    ("nonce that is not due", |p| time(p).nonce = 5),
];

fn space(proofs: &mut Proofs) -> &mut hypermesh_proofs::SignedAnswer {
    proofs.space.as_mut().unwrap()
}

fn stake(proofs: &mut Proofs) -> &mut hypermesh_proofs::StakeProof {
    proofs.stake.as_mut().unwrap()
}

fn work(proofs: &mut Proofs) -> &mut hypermesh_proofs::WorkProof {
    proofs.work.as_mut().unwrap()
}

fn receipts(proofs: &mut Proofs) -> &mut Vec<hypermesh_proofs::SignedReceipt> {
    match &mut work(proofs).evidence {
        WorkEvidence::Receipts(certificate) => &mut certificate.receipts,
        other => panic!("{other:?}"),
    }
}

fn time(proofs: &mut Proofs) -> &mut hypermesh_proofs::TimeProof {
    proofs.time.as_mut().unwrap()
}

#[test]
fn every_changed_field_is_refused_even_if_the_principal_signs_it() {
    let dir = tempdir().unwrap();
    let (whole, ledger) = proofs(dir.path());
    for (what, change) in CHANGES {
        let mut changed = whole.clone();
        change(&mut changed);
        assert_ne!(changed, whole, "{what}");
        assert!(verdict(&ledger, &changed).is_err(), "{what}");
        // The principal itself is the liar: its own signature is good, and it does not help.
        let resealed = sealed(changed);
        assert!(verdict(&ledger, &resealed).is_err(), "{what}, signed");
    }
}

#[test]
fn what_the_principal_may_choose_is_bound_by_its_signature() {
    let dir = tempdir().unwrap();
    let (whole, ledger) = proofs(dir.path());
    let mut changed = whole;
    time(&mut changed).expires_at += 1;
    let refusal = verdict(&ledger, &changed);
    assert!(matches!(refusal, Err(VerifyProofsError::Stake(_))));
    assert_eq!(verdict(&ledger, &sealed(changed)), Ok(()));
}

#[test]
fn every_changed_byte_is_refused() {
    let dir = tempdir().unwrap();
    let (whole, ledger) = proofs(dir.path());
    let bytes = whole.encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let refused = match Proofs::decode(&changed) {
            Err(_) => true,
            Ok(proofs) => verdict(&ledger, &proofs).is_err(),
        };
        assert!(refused, "byte {at}");
    }
    for end in 0..bytes.len() {
        assert!(Proofs::decode(&bytes[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn proofs_of_one_admission_are_of_no_use_in_another() {
    let dir = tempdir().unwrap();
    let (whole, mut ledger) = proofs(dir.path());
    assert_eq!(verdict(&ledger, &whole), Ok(()));
    // Replayed: the ledger has gone on to the next nonce.
    ledger.next_nonce = 5;
    let refusal = verdict(&ledger, &whole);
    assert!(matches!(refusal, Err(VerifyProofsError::Time(_))));
    ledger.next_nonce = 4;
    // For another operation.
    ledger.operation = Digest::of(b"another");
    let refusal = verdict(&ledger, &whole);
    assert!(matches!(refusal, Err(VerifyProofsError::Work(_))));
    // By somebody else.
    ledger.stake.principal = public(2);
    let refusal = verdict(&ledger, &whole);
    assert!(matches!(refusal, Err(VerifyProofsError::Stake(_))));
}

#[test]
fn a_cpu_is_admitted_by_its_calibration() {
    let dir = tempdir().unwrap();
    let (mut whole, mut ledger) = proofs(dir.path());
    let seed = CalibrationSeed::draw(&beacon(ASKED), ASKED, &public(1), &asset());
    ledger.calibration = Some(CalibrationFacts {
        seed,
        units: 3,
        deadline_height: DEADLINE,
        seen_at_height: NOW,
        check: CalibrationCheck::Whole,
    });
    let refusal = verdict(&ledger, &whole);
    assert!(
        matches!(refusal, Err(VerifyProofsError::Work(_))),
        "receipts are none"
    );
    work(&mut whole).evidence = WorkEvidence::Calibration(Calibration::run(&seed, 3));
    let whole = sealed(whole);
    assert_eq!(verdict(&ledger, &whole), Ok(()));
    assert_eq!(Proofs::decode(&whole.encode()), Ok(whole));
}
