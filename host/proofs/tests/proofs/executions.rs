//! Cheating with work: every field of a receipt that is not what happened is refuted by who runs it
//! again, and who is outvoted is named.

use std::collections::BTreeSet;

use hypermesh_proofs::{
    CERTIFICATE_RECEIPTS_MAX, CompareReceiptsError, Difference, EngineMode, EngineProfile, Export,
    Receipt, ReceiptCertificate, VerifyReceiptCertificateError, draw_nodes,
};
use types::Digest;

use crate::world::{beacon, certificate, node, public, receipt, rule, sign, signed};

/// What a re-executor finds wrong with a receipt that `lie` changed.
fn found(lie: impl FnOnce(&mut Receipt)) -> Vec<Difference> {
    let claimed = signed(1, lie);
    assert_eq!(claimed.verify(), Ok(()), "a liar signs his lies");
    match claimed.receipt.compare(&receipt(2)) {
        Err(CompareReceiptsError::Refuted(refutation)) => {
            assert_eq!((refutation.node, refutation.by), (public(1), public(2)));
            refutation.differences
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn equal_runs_agree() {
    assert_eq!(receipt(1).compare(&receipt(2)), Ok(()));
}

#[test]
fn every_lie_is_named() {
    let truth = receipt(2);
    let other = Digest::of(b"other");
    let export = Export::try_from("run".to_owned()).unwrap();
    let metered = EngineProfile {
        mode: EngineMode::Metered,
        ..truth.profile
    };
    let (claimed, output) = (other, truth.output);
    let wrong_output = Difference::Output {
        claimed,
        found: output,
    };
    assert_eq!(found(|r| r.output = other), [wrong_output]);
    let (claimed, fuel) = (truth.fuel - 1, truth.fuel);
    let understated = Difference::Fuel {
        claimed,
        found: fuel,
    };
    assert_eq!(found(|r| r.fuel -= 1), [understated]);
    let component = Difference::Component {
        claimed: other,
        found: truth.component,
    };
    assert_eq!(found(|r| r.component = other), [component]);
    let input = Difference::Input {
        claimed: other,
        found: truth.input,
    };
    assert_eq!(found(|r| r.input = other), [input]);
    let claimed = truth.memory_peak_bytes + 1;
    let peak = Difference::MemoryPeak {
        claimed,
        found: truth.memory_peak_bytes,
    };
    assert_eq!(found(|r| r.memory_peak_bytes += 1), [peak]);
    let called = Difference::Export {
        claimed: export.clone(),
        found: truth.export,
    };
    assert_eq!(found(|r| r.export = export), [called]);
    let profile = Difference::Profile {
        claimed: metered,
        found: truth.profile,
    };
    assert_eq!(found(|r| r.profile = metered), [profile]);
    let several = found(|r| {
        r.output = other;
        r.fuel = 0;
    });
    assert_eq!(several.len(), 2);
}

#[test]
fn what_says_nothing_about_a_receipt_does_not_refute_it() {
    use CompareReceiptsError as E;
    let claimed = receipt(1);
    let mut again = receipt(2);
    again.profile.mode = EngineMode::Metered;
    again.fuel = 1;
    assert_eq!(claimed.compare(&again), Err(E::NotDeterministic));
    let mut again = receipt(2);
    again.order = Digest::of(b"other");
    assert!(matches!(claimed.compare(&again), Err(E::OtherOrder { .. })));
    let mut again = receipt(2);
    again.fabric = Digest::of(b"other");
    assert!(matches!(claimed.compare(&again), Err(E::OtherOrder { .. })));
    let itself = claimed.compare(&claimed);
    assert_eq!(itself, Err(E::SameNode { node: public(1) }));
}

#[test]
fn a_changed_receipt_is_not_authentic() {
    let mut changed = signed(1, |_| {});
    changed.receipt.fuel += 1;
    assert!(changed.verify().is_err());
    let mut stolen = signed(1, |_| {});
    stolen.receipt.node = public(2);
    assert!(stolen.verify().is_err());
}

#[test]
fn the_majority_is_the_outcome_and_the_rest_are_named() {
    let rule = rule(&[1, 2, 3, 4, 5], 3);
    let lie = |receipt: &mut Receipt| receipt.output = Digest::of(b"lie");
    let receipts = vec![
        signed(1, |_| {}),
        signed(2, lie),
        signed(3, |_| {}),
        signed(4, |_| {}),
    ];
    let certificate = certificate(receipts);
    let agreement = certificate.verify(&rule).unwrap();
    let seeds = |seeds: &[u8]| -> BTreeSet<_> { seeds.iter().map(|seed| public(*seed)).collect() };
    assert_eq!(agreement.outcome.output, receipt(1).output);
    assert_eq!(agreement.agreeing, seeds(&[1, 3, 4]));
    assert_eq!(agreement.outvoted, seeds(&[2]));
    assert_eq!(agreement.silent, seeds(&[5]));
}

#[test]
fn every_other_certificate_is_refused_by_its_name() {
    use VerifyReceiptCertificateError as E;
    let three = rule(&[1, 2, 3], 2);
    let refusal = |certificate: ReceiptCertificate| certificate.verify(&three).err();
    let lie = |receipt: &mut Receipt| receipt.fuel = 0;
    let (honest, lying) = (signed(1, |_| {}), signed(2, lie));
    let needed = 2;
    let split = refusal(certificate(vec![honest.clone(), lying]));
    assert_eq!(split, Some(E::NoAgreement { found: 1, needed }));
    let none = refusal(certificate(vec![]));
    assert_eq!(none, Some(E::NoAgreement { found: 0, needed }));
    let twice = refusal(certificate(vec![honest.clone(), honest.clone()]));
    assert_eq!(twice, Some(E::Order { node: public(1) }));
    let stranger = refusal(certificate(vec![honest.clone(), signed(9, |_| {})]));
    assert_eq!(stranger, Some(E::NotDrawn { node: public(9) }));
    let other = Digest::of(b"other");
    let order = refusal(certificate(vec![signed(1, |receipt| {
        receipt.order = other
    })]));
    assert_eq!(
        order,
        Some(E::OtherOrder {
            node: public(1),
            found: other
        })
    );
    let fabric = refusal(certificate(vec![signed(1, |receipt| {
        receipt.fabric = other
    })]));
    assert_eq!(
        fabric,
        Some(E::OtherFabric {
            node: public(1),
            found: other
        })
    );
    let mut forged = signed(2, |_| {});
    forged.signature = sign(3, &forged.receipt.signing_bytes());
    let forged = refusal(certificate(vec![honest.clone(), forged]));
    assert!(matches!(forged, Some(E::Signature(_))));
    let metered = |receipt: &mut Receipt| receipt.profile.mode = EngineMode::Metered;
    let lucky = refusal(certificate(vec![signed(1, metered), signed(2, metered)]));
    assert_eq!(lucky, Some(E::NotDeterministic));
    let receipts = (0..=CERTIFICATE_RECEIPTS_MAX).map(|_| honest.clone());
    let many = refusal(ReceiptCertificate {
        receipts: receipts.collect(),
    });
    assert_eq!(many, Some(E::TooMany { found: 17 }));
    for (agree, drawn) in [(1, 2), (2, 4), (0, 1), (4, 3)] {
        let seeds: Vec<u8> = (1..=drawn).collect();
        let refusal = certificate(vec![]).verify(&rule(&seeds, agree)).err();
        let drawn = seeds.len();
        assert_eq!(refusal, Some(E::Rule { agree, drawn }));
    }
}

#[test]
fn nodes_are_drawn_anew_for_every_order_and_beacon() {
    let members: BTreeSet<_> = (0..100).map(node).collect();
    let order = Digest::of(b"order");
    let first = draw_nodes(&beacon(1), &order, &members, 5);
    assert_eq!(first.len(), 5);
    assert!(first.is_subset(&members));
    assert_eq!(first, draw_nodes(&beacon(1), &order, &members, 5));
    assert_ne!(first, draw_nodes(&beacon(2), &order, &members, 5));
    assert_ne!(
        first,
        draw_nodes(&beacon(1), &Digest::of(b"other"), &members, 5)
    );
    assert_eq!(draw_nodes(&beacon(1), &order, &members, 500), members);
}
