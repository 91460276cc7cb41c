//! Orders and what comes back for them: what members send each other, and files of receipts.

use proofs::{
    EngineMode, EngineProfile, ExecutionOrder, ExecutionProof, Export, Receipt, ReceiptCertificate,
    SignedReceipt, output_digest,
};
use trust::SecretKey;
use types::{Digest, FabricId, Name, PublicKey, Replication};

use crate::Target;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "proofs_order",
        covers: &["ExecutionOrder::decode"],
        run: order,
        seeds: || vec![ordered().encode()],
    },
    Target {
        name: "proofs_execution",
        covers: &["ExecutionProof::decode"],
        run: execution,
        seeds: || vec![executed().encode()],
    },
    Target {
        name: "node_order_ask",
        covers: &["Ask::from_body"],
        run: node::fuzz::order_ask,
        seeds: || Vec::from(node::fuzz::some_order_messages().0),
    },
    Target {
        name: "node_order_answer",
        covers: &["Answer::from_body"],
        run: node::fuzz::order_answer,
        seeds: || Vec::from(node::fuzz::some_order_messages().1),
    },
];

const FABRIC: FabricId = FabricId::from_bytes([5; 32]);
const COMPONENT: Digest = Digest::from_bytes([6; 32]);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn public(seed: u8) -> PublicKey {
    key(seed).public()
}

fn export() -> Export {
    Export::try_from("run".to_owned()).expect("a short name")
}

fn ordered() -> ExecutionOrder {
    ExecutionOrder {
        fabric: FABRIC,
        workload: Name::least(),
        generation: 7,
        component: Name::least(),
        artifact: COMPONENT,
        deterministic_seed: 1,
        export: export(),
        arguments: vec!["\"a\"".to_owned()],
        replication: Replication::Of { agree: 2, of: 2 },
        anchor: 9,
        salt: [4; 16],
    }
}

/// Both who were drawn got the same.
fn executed() -> ExecutionProof {
    let (order, result) = (ordered(), "3".to_owned());
    let receipt = |seed: u8| {
        let receipt = Receipt {
            fabric: FABRIC,
            node: public(seed),
            order: order.digest(),
            component: COMPONENT,
            export: export(),
            input: order.input(),
            output: output_digest(&result),
            fuel: 300,
            memory_peak_bytes: 1 << 16,
            profile: EngineProfile {
                mode: EngineMode::Deterministic,
                engine: COMPONENT,
            },
        };
        let signature = key(seed).sign(&receipt.signing_bytes());
        SignedReceipt { receipt, signature }
    };
    let mut receipts = vec![receipt(1), receipt(2)];
    receipts.sort_by_key(|signed| signed.receipt.node);
    ExecutionProof {
        order,
        result,
        drawn: [public(1), public(2)].into(),
        certificate: ReceiptCertificate { receipts },
    }
}

/// Whatever was ordered is part of the digest, and only members are drawn.
fn order(bytes: &[u8]) {
    if let Ok(order) = ExecutionOrder::decode(bytes) {
        assert_eq!(order.encode(), bytes);
        let same = order.digest() == ordered().digest();
        assert_eq!(same, order == ordered());
        let members = [public(1), public(2), public(3)].into();
        if let Ok(drawn) = order.drawn(&COMPONENT, &members) {
            assert!(drawn.is_subset(&members));
        }
    }
}

/// Only what was signed for proves anything.
fn execution(bytes: &[u8]) {
    if let Ok(proof) = ExecutionProof::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
        assert_eq!(proof.verify().is_ok(), proof == executed());
    }
}
