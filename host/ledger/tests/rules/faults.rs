//! Faults: who is outvoted is on record and forfeits its bond, once, and nobody is framed.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use hypermesh_ledger::{
    ANCHORS, AllowanceRecord, AssetRefusal, FaultOperation, Operation, Refusal, RoleOperation,
    TransactionOutcome,
};
use proofs::{
    EngineMode, EngineProfile, ExecutionOrder, Export, Receipt, ReceiptCertificate, SignedReceipt,
    beacon_of, output_digest,
};
use types::{ComponentSpec, Digest, NodeId, WorkloadSpec};

use crate::assets::refused_asset;
use crate::membership::{APPLIED, refused, secret};
use crate::proven::signed;
use crate::{Fabric, block_digest, component, name, public};

const SEED: u64 = 7;

/// Three nodes that run things, and a fourth that is never drawn in what follows.
struct Drawn {
    fabric: Fabric,
    nodes: [SigningKey; 3],
    order: ExecutionOrder,
}

fn workload(name_text: &str) -> WorkloadSpec {
    WorkloadSpec {
        name: name(name_text),
        components: vec![ComponentSpec {
            deterministic_seed: Some(SEED),
            ..component("web", 1, &[])
        }],
    }
}

impl Fabric {
    fn members_now(&self) -> BTreeSet<NodeId> {
        self.view().members().unwrap().into_keys().collect()
    }

    fn fault(
        &mut self,
        order: &ExecutionOrder,
        receipts: Vec<SignedReceipt>,
    ) -> TransactionOutcome {
        let mut certificate = ReceiptCertificate { receipts };
        let receipts = &mut certificate.receipts;
        receipts.sort_by_key(|signed| signed.receipt.node);
        let order = Box::new(order.clone());
        self.run(Operation::Fault(FaultOperation::Outvoted {
            order,
            certificate,
        }))
    }
}

impl Drawn {
    /// An order, anchored in the last block, for which exactly the three are drawn.
    fn new() -> Self {
        let mut fabric = Fabric::new();
        let nodes = [50, 51, 52].map(|seed| fabric.member(seed));
        let deploy = Operation::Deploy {
            spec: workload("math"),
            replaces: None,
        };
        assert_eq!(fabric.run(deploy), APPLIED);
        let order = Self::order(&fabric, &nodes);
        Self {
            fabric,
            nodes,
            order,
        }
    }

    fn order(fabric: &Fabric, nodes: &[SigningKey]) -> ExecutionOrder {
        let wanted: BTreeSet<_> = nodes.iter().map(public).collect();
        let members = fabric.members_now();
        let deployment = fabric.view().deployment(&name("math")).unwrap().unwrap();
        // The last block is no anchor before the next one is there.
        let anchor = fabric.height;
        let orders = (0..10_000_u32).map(|number| ExecutionOrder {
            fabric: fabric.genesis.fabric_id(),
            workload: name("math"),
            generation: deployment.generation,
            component: name("web"),
            artifact: Digest::of(b"web"),
            deterministic_seed: SEED,
            export: Export::try_from("add".to_owned()).unwrap(),
            arguments: vec![number.to_string()],
            replication: "2/3".parse().unwrap(),
            anchor,
            salt: [1; 16],
        });
        let beacon = beacon_of(&block_digest(anchor));
        let mut drawn = orders.filter(|order| order.drawn(&beacon, &members).unwrap() == wanted);
        drawn.next().unwrap()
    }

    /// What a node signs that found `result`.
    fn receipt(&self, node: usize, result: &str) -> SignedReceipt {
        let order = &self.order;
        let receipt = Receipt {
            fabric: order.fabric,
            node: public(&self.nodes[node]),
            order: order.digest(),
            component: order.artifact,
            export: order.export.clone(),
            input: order.input(),
            output: output_digest(result),
            fuel: 1_000,
            memory_peak_bytes: 65_536,
            profile: EngineProfile {
                mode: EngineMode::Deterministic,
                engine: Digest::of(b"engine"),
            },
        };
        let signature = signed(&self.nodes[node], &receipt.signing_bytes());
        SignedReceipt { receipt, signature }
    }

    fn two_against_one(&self) -> Vec<SignedReceipt> {
        vec![
            self.receipt(0, "3"),
            self.receipt(1, "3"),
            self.receipt(2, "4"),
        ]
    }
}

fn certifies_nothing(outcome: &TransactionOutcome) -> &str {
    match outcome {
        TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::Certificate(reason))) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_outvoted_is_on_record_once_and_forfeits_its_bond() {
    let mut drawn = Drawn::new();
    let [one, _, liar] = [0, 1, 2].map(|at| public(&drawn.nodes[at]));
    for principal in [one, liar] {
        let allowance = AllowanceRecord {
            bond: 9,
            ..AllowanceRecord::default()
        };
        let allow = RoleOperation::Allow {
            principal,
            allowance,
        };
        assert_eq!(drawn.fabric.run(Operation::Role(allow)), APPLIED);
    }
    let (order, receipts) = (drawn.order.clone(), drawn.two_against_one());
    let fabric = &mut drawn.fabric;
    assert_eq!(fabric.fault(&order, receipts.clone()), APPLIED);
    let record = fabric.view().fault(&liar).unwrap();
    assert_eq!((record.outvoted, record.last_at), (1, fabric.height));
    assert_eq!(fabric.view().fault(&one).unwrap().outvoted, 0);
    let bonds = [one, liar].map(|node| fabric.view().allowance(&node).unwrap().bond);
    assert_eq!(bonds, [9, 0]);
    let again = fabric.fault(&order, receipts);
    assert_eq!(again, refused_asset(AssetRefusal::NoFault(order.digest())));
    assert_eq!(fabric.view().fault(&liar).unwrap().outvoted, 1);
}

#[test]
fn nobody_is_framed() {
    let mut drawn = Drawn::new();
    let order = drawn.order.clone();
    let alike = vec![drawn.receipt(0, "3"), drawn.receipt(1, "3")];
    let no_fault = refused_asset(AssetRefusal::NoFault(order.digest()));
    assert_eq!(drawn.fabric.fault(&order, alike), no_fault);
    let one_each = vec![drawn.receipt(0, "3"), drawn.receipt(2, "4")];
    let outcome = drawn.fabric.fault(&order, one_each);
    assert!(certifies_nothing(&outcome).contains("agree"), "{outcome:?}");
    let mut forged = drawn.two_against_one();
    forged[2].receipt.fuel += 1;
    let outcome = drawn.fabric.fault(&order, forged);
    assert!(certifies_nothing(&outcome).contains("authentic"));
    // Another order: its nodes were drawn for other arguments, or nobody was.
    let moved = ExecutionOrder {
        arguments: vec!["another".to_owned()],
        ..order.clone()
    };
    let outcome = drawn.fabric.fault(&moved, drawn.two_against_one());
    assert!(!certifies_nothing(&outcome).is_empty());
    let unknown = ExecutionOrder {
        workload: name("none"),
        ..order.clone()
    };
    let receipts = drawn.two_against_one();
    let outcome = drawn.fabric.fault(&unknown, receipts);
    assert_eq!(outcome, refused(Refusal::UnknownDeployment(name("none"))));
    let other_seed = ExecutionOrder {
        deterministic_seed: SEED + 1,
        ..order.clone()
    };
    let receipts = drawn.two_against_one();
    let outcome = drawn.fabric.fault(&other_seed, receipts);
    assert!(matches!(
        outcome,
        TransactionOutcome::Refused(Refusal::UnknownComponent { .. })
    ));
    let stranger = secret(99);
    let certificate = ReceiptCertificate {
        receipts: drawn.two_against_one(),
    };
    let by_stranger = Operation::Fault(FaultOperation::Outvoted {
        order: Box::new(order),
        certificate,
    });
    let unknown = refused(Refusal::UnknownPrincipal(public(&stranger)));
    assert_eq!(drawn.fabric.run_as(&stranger, by_stranger), unknown);
    assert_eq!(drawn.fabric.entries("fault/"), 0);
}

#[test]
fn a_draw_counts_while_its_block_is_remembered_and_for_who_was_there() {
    let mut drawn = Drawn::new();
    let (order, receipts) = (drawn.order.clone(), drawn.two_against_one());
    // Who joins later changes nothing about who was drawn.
    drawn.fabric.member(53);
    while drawn.fabric.height < order.anchor + ANCHORS {
        drawn.fabric.block(&[]);
    }
    let late = drawn.fabric.fault(&order, receipts);
    let height = order.anchor;
    assert_eq!(late, refused_asset(AssetRefusal::OrderAnchor { height }));
    drawn.order = Drawn::order(&drawn.fabric, &drawn.nodes);
    let (order, receipts) = (drawn.order.clone(), drawn.two_against_one());
    drawn.fabric.member(54);
    assert_eq!(drawn.fabric.fault(&order, receipts), APPLIED);
    let liar = public(&drawn.nodes[2]);
    assert_eq!(drawn.fabric.evict(liar), APPLIED);
    let joined = drawn.fabric.members_now();
    assert!(joined.contains(&liar), "the view still knows it");
    let of_joined = drawn.fabric.entries("joined");
    assert_eq!(of_joined, 1);
}
