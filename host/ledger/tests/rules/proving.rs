//! The four proofs: no operation on an asset without all of them, each valid, and what they stand for.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use hypermesh_ledger::{
    AllowanceRecord, AnchorRecord, AssetOperation, AssetRefusal, CALIBRATION_UNITS, KeptContent,
    LeaseOperation, Operation, ProofParts, Proven, Refusal, Role, RoleOperation, SpaceRecord,
    TransactionOutcome,
};
use proofs::{
    ANCHOR_BLOCKS_MAX, Calibration, CalibrationSeed, ProofKind, Proofs, SignedAnswer, StakeClaim,
    StakeRole, WorkEvidence, beacon_of,
};
use types::{
    Amount, AssetFacts, AssetId, AssetPolicy, AssetType, CpuFacts, Digest, FactText, Privacy,
    PublicKey, Signature,
};

use crate::assets::{memory, refused_asset, shared_as};
use crate::leases::MINUTE_MS;
use crate::membership::{APPLIED, refused, secret};
use crate::proven::{About as _, signed};
use crate::{Fabric, public};

impl Fabric {
    /// Seals what was changed anew: the principal itself is the liar.
    fn resealed<O>(&self, signer: &SigningKey, mut proven: Proven<O>) -> Proven<O> {
        let bytes = proven.proofs.signing_bytes(&self.genesis.fabric_id());
        if let Some(stake) = &mut proven.proofs.stake {
            stake.signature = signed(signer, &bytes);
        }
        proven
    }
}

/// A host with 100 bytes for everybody, and a holder.
pub(crate) fn shared() -> (Fabric, SigningKey, SigningKey, AssetId) {
    let mut fabric = Fabric::new();
    let (host, holder) = (fabric.member(50), fabric.member(51));
    let policy = shared_as(Privacy::PublicNetwork);
    let asset = fabric.register(&host, public(&host), &memory(100), policy);
    (fabric, host, holder, asset.unwrap())
}

fn subset(whole: &Proofs, subset: u8) -> Proofs {
    let has = |bit: u8| subset & (1 << bit) != 0;
    Proofs {
        space: whole.space.clone().filter(|_| has(0)),
        stake: whole.stake.clone().filter(|_| has(1)),
        work: whole.work.clone().filter(|_| has(2)),
        time: whole.time.filter(|_| has(3)),
    }
}

#[test]
fn of_sixteen_subsets_only_the_whole_admits_any_operation() {
    let kinds = [
        ProofKind::Space,
        ProofKind::Stake,
        ProofKind::Work,
        ProofKind::Time,
    ];
    let (mut fabric, host, holder, asset) = shared();
    let drain = AssetOperation::Drain { asset };
    let grant = LeaseOperation::Grant {
        asset,
        holder: public(&holder),
        amount: Amount(1),
        term_ms: MINUTE_MS,
    };
    for which in 0..16_u8 {
        let missing = (0..).zip(kinds).filter(|(bit, _)| which & (1 << bit) == 0);
        let missing: BTreeSet<_> = missing.map(|(_, kind)| kind).collect();
        let expected = match missing.is_empty() {
            true => APPLIED,
            false => refused_asset(AssetRefusal::MissingProofs(missing)),
        };
        let mut granted = fabric.proven(&holder, grant.clone());
        granted.proofs = Box::new(subset(&granted.proofs, which));
        let granted = fabric.resealed(&holder, granted);
        let outcome = fabric.run_as(&holder, Operation::Lease(granted));
        assert_eq!(outcome, expected, "grant, {which:04b}");
        let mut drained = fabric.proven(&host, drain.clone());
        drained.proofs = Box::new(subset(&drained.proofs, which));
        let drained = fabric.resealed(&host, drained);
        let outcome = fabric.run_as(&host, Operation::Asset(drained));
        assert_eq!(outcome, expected, "drain, {which:04b}");
    }
    assert_eq!(fabric.leased(&asset), Amount(1));
}

type Change = fn(&mut Proofs);

/// One change of every field, and the proof that must be named.
const CHANGES: &[(ProofKind, &str, Change)] = &[
    (ProofKind::Space, "fabric", |p| {
        space(p).answer.fabric = Digest::of(b"x");
    }),
    (ProofKind::Space, "node", |p| {
        space(p).answer.node = PublicKey::from_bytes([2; 32]);
    }),
    (ProofKind::Space, "asset", |p| {
        space(p).answer.asset = Digest::of(b"x");
    }),
    (ProofKind::Space, "height", |p| space(p).answer.height -= 1),
    (ProofKind::Space, "content", |p| {
        space(p).answer.chunks[0].content[5] ^= 1;
    }),
    (ProofKind::Space, "way", |p| {
        space(p).answer.chunks[0].way.push([0; 32]);
    }),
    (ProofKind::Space, "no chunks", |p| {
        space(p).answer.chunks.clear();
    }),
    (ProofKind::Space, "signature", |p| {
        space(p).signature = Signature::from_bytes([1; 64]);
    }),
    (ProofKind::Stake, "principal", |p| {
        claim(p).principal = PublicKey::from_bytes([2; 32]);
    }),
    (ProofKind::Stake, "role", |p| {
        claim(p).role = StakeRole::Admin
    }),
    (ProofKind::Stake, "more quota", |p| claim(p).quota += 1),
    (ProofKind::Stake, "less quota", |p| claim(p).quota -= 1),
    (ProofKind::Stake, "bond", |p| claim(p).bond += 1),
    (ProofKind::Work, "operation", |p| {
        p.work.as_mut().unwrap().operation = Digest::of(b"x");
    }),
    (ProofKind::Work, "evidence", |p| {
        p.work.as_mut().unwrap().evidence = WorkEvidence::Calibration(Calibration {
            checkpoints: vec![],
        });
    }),
    (ProofKind::Time, "anchor's height", |p| {
        time(p).anchor_height -= 1;
    }),
    (ProofKind::Time, "anchor in the future", |p| {
        time(p).anchor_height += 5;
    }),
    (ProofKind::Time, "anchor's digest", |p| {
        time(p).anchor_digest = Digest::of(b"x");
    }),
    (ProofKind::Time, "expired", |p| time(p).expires_at = 1),
    (ProofKind::Time, "for ever", |p| {
        time(p).expires_at = 100_000
    }),
    (ProofKind::Time, "nonce before", |p| time(p).nonce -= 1),
    (ProofKind::Time, "nonce to come", |p| time(p).nonce += 1),
];

fn space(proofs: &mut Proofs) -> &mut SignedAnswer {
    proofs.space.as_mut().unwrap()
}

fn claim(proofs: &mut Proofs) -> &mut StakeClaim {
    &mut proofs.stake.as_mut().unwrap().claim
}

fn time(proofs: &mut Proofs) -> &mut proofs::TimeProof {
    proofs.time.as_mut().unwrap()
}

fn refusal_of(outcome: TransactionOutcome) -> (ProofKind, String) {
    match outcome {
        TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::Proof { kind, reason })) => {
            (kind, reason)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_changed_field_is_refused_by_name_even_if_its_principal_signs_it() {
    let (mut fabric, _, holder, asset) = shared();
    let grant = LeaseOperation::Grant {
        asset,
        holder: public(&holder),
        amount: Amount(1),
        term_ms: MINUTE_MS,
    };
    // Nonces begin at one, so that there is one before.
    fabric.lease(&holder, asset, 1, MINUTE_MS).unwrap();
    for (kind, what, change) in CHANGES {
        let mut changed = fabric.proven(&holder, grant.clone());
        change(&mut changed.proofs);
        // Its own signature is not good any more, or another proof is refused first.
        let as_it_is = fabric.run_as(&holder, Operation::Lease(changed));
        refusal_of(as_it_is);
        let mut changed = fabric.proven(&holder, grant.clone());
        change(&mut changed.proofs);
        let resealed = fabric.resealed(&holder, changed);
        let (found, reason) = refusal_of(fabric.run_as(&holder, Operation::Lease(resealed)));
        assert_eq!(found, *kind, "{what}: {reason}");
    }
    assert_eq!(fabric.leased(&asset), Amount(1));
    assert_eq!(
        fabric.view().leases_held(&public(&holder)).unwrap().len(),
        1
    );
}

#[test]
fn proofs_of_one_operation_are_of_no_use_for_another_or_again() {
    let (mut fabric, host, holder, asset) = shared();
    let renewed = fabric.lease(&holder, asset, 1, MINUTE_MS).unwrap();
    let longer = |term_ms| LeaseOperation::Renew {
        lease: renewed,
        term_ms,
    };
    let good = fabric.proven(&holder, longer(2 * MINUTE_MS));
    let moved = Proven {
        operation: longer(3 * MINUTE_MS),
        proofs: good.proofs.clone(),
    };
    let (kind, _) = refusal_of(fabric.run_as(&holder, Operation::Lease(moved)));
    assert_eq!(kind, ProofKind::Work);
    // The nonce was spent by the try, so the same proofs are too old for their own operation, too.
    let late = fabric.run_as(&holder, Operation::Lease(good.clone()));
    let (kind, reason) = refusal_of(late);
    assert_eq!(
        (kind, reason.as_str()),
        (ProofKind::Time, "nonce 2 was used before")
    );
    let stolen = fabric.proven(&holder, longer(2 * MINUTE_MS));
    let (kind, _) = refusal_of(fabric.run_as(&host, Operation::Lease(stolen)));
    assert!(matches!(kind, ProofKind::Stake | ProofKind::Time), "{kind}");
}

#[test]
fn anchors_are_recent_blocks_of_this_fabric_and_of_no_other() {
    let (mut fabric, host, _, asset) = shared();
    let drain = AssetOperation::Drain { asset };
    let mut at_once = fabric.parts(&host, &drain);
    at_once.expires_at = fabric.height + ANCHOR_BLOCKS_MAX + 50;
    let sealed = |fabric: &Fabric, mut parts: ProofParts| {
        parts.nonce = fabric.nonce_of(&public(&host));
        Proven::seal(drain.clone(), parts, |bytes| signed(&host, bytes))
    };
    while fabric.height < at_once.anchor.height + ANCHOR_BLOCKS_MAX - 1 {
        fabric.block(&[]);
    }
    let last = sealed(&fabric, at_once.clone());
    assert_eq!(fabric.run_as(&host, Operation::Asset(last)), APPLIED);
    let late = sealed(&fabric, at_once);
    let (kind, reason) = refusal_of(fabric.run_as(&host, Operation::Asset(late)));
    assert_eq!(kind, ProofKind::Time, "{reason}");
    let count = fabric.entries("anchor/");
    assert_eq!(count as u64, ANCHOR_BLOCKS_MAX, "and no more are kept");
}

#[test]
fn a_cpu_is_registered_and_measured_with_a_calibration_only() {
    let mut fabric = Fabric::new();
    let host = fabric.member(50);
    let facts = AssetFacts::Cpu(CpuFacts {
        cores_milli: 2_000,
        calibrated: 500,
        architecture: FactText::new("x86_64").unwrap(),
    });
    let register = AssetOperation::Register {
        facts: facts.clone(),
        owner: public(&host),
        policy: AssetPolicy::private(),
    };
    let (kind, reason) = refusal_of(fabric.asset(&host, register.clone()));
    let expected = "the operation needs a calibration, the proof brings something else";
    assert_eq!((kind, reason.as_str()), (ProofKind::Work, expected));
    let calibrated = |fabric: &Fabric, operation: &AssetOperation, spoiled: bool| {
        let mut parts = fabric.parts(&host, operation);
        let (asset, _) = operation.about(fabric, public(&host));
        let AnchorRecord { height, digest } = parts.anchor;
        let beacon = beacon_of(&digest);
        let seed = CalibrationSeed::draw(&beacon, height, &public(&host), asset.digest());
        let mut calibration = Calibration::run(&seed, CALIBRATION_UNITS);
        if spoiled {
            for made_up in calibration.checkpoints.iter_mut().step_by(2) {
                *made_up = Digest::of(b"made up");
            }
        }
        parts.calibration = Some(calibration);
        let proven = Proven::seal(operation.clone(), parts, |bytes| signed(&host, bytes));
        Operation::Asset(proven)
    };
    let skipped = calibrated(&fabric, &register, true);
    let (kind, _) = refusal_of(fabric.run_as(&host, skipped));
    assert_eq!(kind, ProofKind::Work);
    let nonce = fabric.nonce_of(&public(&host));
    let honest = calibrated(&fabric, &register, false);
    assert_eq!(fabric.run_as(&host, honest), APPLIED);
    let asset = AssetId::new(&public(&host), &facts, nonce);
    let measure = AssetOperation::Remeasure { asset, facts };
    let bare = fabric.asset(&host, measure.clone());
    assert_eq!(refusal_of(bare).0, ProofKind::Work);
    let honest = calibrated(&fabric, &measure, false);
    assert_eq!(fabric.run_as(&host, honest), APPLIED);
}

#[test]
fn nobody_holds_more_than_its_quota_and_its_bond_answers_for() {
    let mut fabric = Fabric::new();
    let (host, holder) = (fabric.member(50), fabric.person(80, Role::Viewer));
    let policy = AssetPolicy {
        bond: 10,
        ..shared_as(Privacy::PublicNetwork)
    };
    let asset = fabric.register(&host, public(&host), &memory(100), policy);
    let asset = asset.unwrap();
    let principal = public(&holder);
    let bond = |left| {
        Err(refused_asset(AssetRefusal::Bond {
            asset,
            holder: principal,
            bond: 10,
            left,
        }))
    };
    assert_eq!(fabric.lease(&holder, asset, 5, MINUTE_MS), bond(0));
    let mut allowance = AllowanceRecord {
        bond: 25,
        ..AllowanceRecord::default()
    };
    allowance.quota[1] = Some(Amount(30));
    let allow = |allowance| {
        Operation::Role(RoleOperation::Allow {
            principal,
            allowance,
        })
    };
    let by_itself = fabric.run_as(&holder, allow(allowance));
    assert!(matches!(
        by_itself,
        TransactionOutcome::Refused(Refusal::Role { .. })
    ));
    assert_eq!(fabric.run(allow(allowance)), APPLIED);
    let quota = |amount| {
        Err(refused_asset(AssetRefusal::Quota {
            holder: principal,
            asset_type: AssetType::Memory,
            quota: Amount(30),
            amount: Amount(amount),
        }))
    };
    assert_eq!(fabric.lease(&holder, asset, 31, MINUTE_MS), quota(31));
    let first = fabric.lease(&holder, asset, 20, MINUTE_MS).unwrap();
    assert_eq!(fabric.lease(&holder, asset, 11, MINUTE_MS), quota(31));
    // Its owner cannot make it hold more either.
    let given = fabric.grant(&host, &holder, asset, (11, MINUTE_MS));
    assert_eq!(given, quota(31));
    fabric.grant(&host, &holder, asset, (1, MINUTE_MS)).unwrap();
    assert_eq!(fabric.lease(&holder, asset, 1, MINUTE_MS), bond(5));
    assert_eq!(fabric.release(&holder, first), APPLIED);
    fabric.lease(&holder, asset, 29, MINUTE_MS).unwrap();
    fabric.clock_ms += MINUTE_MS;
    fabric.lease(&holder, asset, 30, MINUTE_MS).unwrap();
    assert_eq!(fabric.run(allow(AllowanceRecord::default())), APPLIED);
    assert_eq!(fabric.entries("allowance/"), 0);
    let stranger = Operation::Role(RoleOperation::Allow {
        principal: public(&secret(99)),
        allowance,
    });
    let unknown = refused(Refusal::UnknownPrincipal(public(&secret(99))));
    assert_eq!(fabric.run(stranger), unknown);
}

#[test]
fn the_bytes_of_proofs_in_operations_and_of_their_records_are_pinned() {
    let (fabric, host, _, asset) = shared();
    let proven = fabric.proven(&host, AssetOperation::Drain { asset });
    let bytes = postcard::to_allocvec(&Operation::Asset(proven)).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_PROVEN);
    let kept = KeptContent {
        root: Digest::from_bytes([5; 32]),
        bytes: 300,
    };
    let space = SpaceRecord {
        kept: vec![kept],
        open: Some(hypermesh_ledger::OpenChallenge {
            height: 7,
            time_ms: 300,
        }),
        proven_at: Some(6),
        failed_at: None,
        next_challenge_ms: 1_000,
    };
    let mut allowance = AllowanceRecord {
        bond: 25,
        ..AllowanceRecord::default()
    };
    allowance.quota[1] = Some(Amount(30));
    let bytes = postcard::to_allocvec(&(space, allowance, fabric.anchor())).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_RECORDS);
}

const PINNED_PROVEN: &str =
    "blake3:a0448713bbc1df7656ebfa16f1f7f7e05e86eab46d608b14c68ff0838f760591";
const PINNED_RECORDS: &str =
    "blake3:7bfdfe67f2a155a6df9c5a8efa7d905c40c48b32699e98522d63e658ed5b7352";
