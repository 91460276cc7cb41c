//! Orders: what moves their digest, what moves the draw, and what a proof of an execution must agree
//! on.

use std::collections::BTreeSet;

use hypermesh_proofs::{
    DrawError, ExecutionOrder, ExecutionProof, Export, ORDER_BYTES_MAX, Receipt,
    ReceiptCertificate, Rerun, SignedReceipt, VerifyExecutionError, VerifyReceiptCertificateError,
    output_digest,
};
use types::{Digest, Name, NodeId, Replication};

use crate::world::{FABRIC, beacon, certificate, node, public, receipt, sign};

fn order() -> ExecutionOrder {
    ExecutionOrder {
        fabric: FABRIC,
        workload: Name::new("pi").unwrap(),
        generation: 7,
        component: Name::new("main").unwrap(),
        artifact: Digest::of(b"component"),
        deterministic_seed: 42,
        export: Export::try_from("demo:math/add@0.1.0#add".to_owned()).unwrap(),
        arguments: vec!["1".to_owned(), "\"two\"".to_owned()],
        replication: "2/3".parse().unwrap(),
        anchor: 100,
        salt: [9; 16],
    }
}

/// A receipt of this order's run, but for what `lie` does.
fn signed(seed: u8, lie: impl FnOnce(&mut Receipt)) -> SignedReceipt {
    let order = order();
    let mut receipt = Receipt {
        order: order.digest(),
        component: order.artifact,
        export: order.export.clone(),
        input: order.input(),
        output: output_digest("3"),
        ..receipt(seed)
    };
    lie(&mut receipt);
    let signature = sign(seed, &receipt.signing_bytes());
    SignedReceipt { receipt, signature }
}

/// Receipts of the first and second of three that were drawn.
fn proof(lie: impl Fn(&mut Receipt)) -> ExecutionProof {
    ExecutionProof {
        order: order(),
        result: "3".to_owned(),
        drawn: [public(1), public(2), public(3)].into(),
        certificate: certificate(vec![signed(1, &lie), signed(2, &lie)]),
    }
}

#[test]
fn formats_are_pinned() {
    let rerun = Rerun {
        order: order(),
        anchor: 101,
        except: [public(1)].into(),
        count: 3,
    };
    let members: BTreeSet<NodeId> = (0..100).map(node).collect();
    let drawn = order().drawn(&beacon(1), &members).unwrap();
    let again = rerun.drawn(&beacon(1), &members);
    let bytes = |nodes: BTreeSet<NodeId>| -> Vec<u8> {
        nodes.iter().flat_map(|node| *node.as_bytes()).collect()
    };
    let formats = [
        ("order", order().encode()),
        ("order digest", order().digest().as_bytes().to_vec()),
        ("input", order().input().as_bytes().to_vec()),
        ("output", output_digest("3").as_bytes().to_vec()),
        ("drawn", bytes(drawn)),
        ("drawn again", bytes(again)),
        ("execution", proof(|_| {}).encode()),
    ];
    let found = formats.map(|(name, bytes)| {
        let digest = Digest::of(&bytes).short();
        format!("{name} {} {digest}", bytes.len())
    });
    assert_eq!(found, PINNED);
}

/// Each format: its length here and the beginning of its digest.
const PINNED: [&str; 7] = [
    "order 129 9f0ca5d16eb1",
    "order digest 32 fa8a856bd401",
    "input 32 c5ba12e13f56",
    "output 32 f61460fc1d51",
    "drawn 96 6ba7340ff930",
    "drawn again 96 acd874a5b12c",
    "execution 865 d7c17f8a6e4c",
];

#[test]
fn what_was_written_is_read_and_nothing_else() {
    let written = order().encode();
    assert_eq!(ExecutionOrder::decode(&written), Ok(order()));
    assert!(ExecutionOrder::decode(&[&written[..], &[0]].concat()).is_err());
    assert!(ExecutionOrder::decode(&vec![0; ORDER_BYTES_MAX + 1]).is_err());
    let proof = proof(|_| {});
    assert_eq!(ExecutionProof::decode(&proof.encode()), Ok(proof));
}

#[test]
fn arguments_and_results_have_one_digest_each() {
    let of = |arguments: &[&str]| {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let order = ExecutionOrder {
            arguments,
            ..order()
        };
        order.input()
    };
    assert_ne!(of(&["ab"]), of(&["a", "b"]));
    assert_ne!(of(&[""]), of(&[]));
    assert_ne!(of(&["1"]), output_digest("1"));
    assert_ne!(output_digest(""), output_digest("1"));
}

#[test]
fn a_salt_tells_orders_apart_and_moves_no_draw() {
    let members: BTreeSet<NodeId> = (0..100).map(node).collect();
    let drawn = |order: &ExecutionOrder, height| order.drawn(&beacon(height), &members).unwrap();
    let first = drawn(&order(), 1);
    assert_eq!(first.len(), 3);
    for salt in 0..32 {
        let salted = ExecutionOrder {
            salt: [salt; 16],
            ..order()
        };
        assert_eq!(salted.digest() == order().digest(), salt == 9);
        assert_eq!(drawn(&salted, 1), first);
    }
    let elsewhere = ExecutionOrder {
        anchor: 101,
        ..order()
    };
    assert_eq!(drawn(&elsewhere, 1), first, "the beacon is what counts");
    assert_ne!(drawn(&order(), 2), first);
    let other = ExecutionOrder {
        arguments: vec!["2".to_owned()],
        ..order()
    };
    assert_ne!(drawn(&other, 1), first);
}

#[test]
fn a_dial_that_the_fabric_cannot_have_is_refused() {
    let dialled = |text: &str, members: u8| {
        let order = ExecutionOrder {
            replication: text.parse().unwrap(),
            ..order()
        };
        order.drawn(&beacon(1), &(0..members).map(node).collect())
    };
    assert_eq!(dialled("all", 4).unwrap().len(), 4);
    assert_eq!(dialled("one", 4).unwrap().len(), 1);
    assert_eq!(dialled("all", 16).unwrap().len(), 16);
    assert_eq!(dialled("all", 17), Err(DrawError::TooMany { members: 17 }));
    let few = |wanted, members| Err(DrawError::TooFew { wanted, members });
    assert_eq!(dialled("2/3", 2), few(3, 2));
    assert_eq!(dialled("one", 0), few(1, 0));
    assert_eq!(dialled("all", 0), few(0, 0));
}

#[test]
fn who_is_looked_into_does_not_run_it_again() {
    let members: BTreeSet<NodeId> = (0..5).map(node).collect();
    for height in 0..20 {
        let rerun = Rerun {
            order: order(),
            anchor: height,
            except: [node(1), node(2)].into(),
            count: 4,
        };
        let others: BTreeSet<NodeId> = [0, 3, 4].map(node).into();
        assert_eq!(rerun.drawn(&beacon(height), &members), others);
    }
}

#[test]
fn a_proof_is_of_its_order_and_its_result() {
    use VerifyExecutionError as E;
    let good = proof(|_| {});
    let agreement = good.verify().unwrap();
    assert_eq!(agreement.agreeing, [public(1), public(2)].into());
    assert_eq!(agreement.silent, [public(3)].into());
    let other = Digest::of(b"other");
    let refusal = |proof: ExecutionProof| proof.verify().unwrap_err();
    let component = refusal(proof(|receipt| receipt.component = other));
    assert!(matches!(component, E::Component { .. }));
    let export = Export::try_from("run".to_owned()).unwrap();
    let export = refusal(proof(|receipt| receipt.export = export.clone()));
    assert!(matches!(export, E::Export { .. }));
    let input = refusal(proof(|receipt| receipt.input = other));
    assert!(matches!(input, E::Input { .. }));
    let mut result = proof(|_| {});
    result.result = "4".to_owned();
    assert!(matches!(refusal(result), E::Output { .. }));
    let mut moved = proof(|_| {});
    moved.order.arguments.clear();
    let moved = refusal(moved);
    assert!(matches!(
        moved,
        E::Certificate(VerifyReceiptCertificateError::OtherOrder { .. })
    ));
    let mut fewer = proof(|_| {});
    fewer.drawn.remove(&public(3));
    let replication = Replication::Of { agree: 2, of: 3 };
    let drawn = 2;
    assert_eq!(refusal(fewer), E::Drawn { drawn, replication });
    let mut none = proof(|_| {});
    none.certificate = ReceiptCertificate { receipts: vec![] };
    assert!(matches!(refusal(none), E::Certificate(_)));
}
