//! What the ledger takes: transactions, state, blocks, proofs, announcements of peers.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use consensus::{EntryProof, Handover};
use ledger::{
    AnyRecord, CommitteeRecord, Genesis, Operation, RulesRecord, SignedTransaction, StateKey,
    Transaction, View,
};
use trust::SecretKey;
use types::{Digest, FabricId, Name, NodeId, Principal, PublicKey, Route};

use crate::Target;
use crate::targets::{chosen, texts};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "ledger_genesis",
        covers: &["Genesis::decode"],
        run: decode_genesis,
        seeds: || vec![genesis().encode()],
    },
    Target {
        name: "ledger_transaction",
        covers: &["SignedTransaction::decode"],
        run: transaction,
        seeds: transactions,
    },
    Target {
        name: "ledger_state",
        covers: &[
            "ledger::decode",
            "AnyRecord::decode",
            "CommitteeRecord::decode",
            "RulesRecord::decode",
            "StateKey::from_bytes",
            "View::new",
        ],
        run: state,
        seeds: states,
    },
    Target {
        name: "consensus_block",
        covers: &["Block::read_cfg", "consensus::read_block"],
        run: block,
        seeds: || vec![consensus::fuzz::first_block(genesis())],
    },
    Target {
        name: "consensus_proof",
        covers: &["consensus::verify_finalized", "consensus::decode_claim"],
        run: proof,
        seeds: || {
            vec![
                vec![0; 80],
                vec![1; 80],
                [&[1, 1, 0, 3], &[7; 96][..]].concat(),
            ]
        },
    },
    Target {
        name: "consensus_entry_proof",
        covers: &["EntryProof::decode", "EntryProof::parse"],
        run: |bytes| consensus::fuzz::entry_proof(&fabric(), bytes),
        seeds: entry_proofs,
    },
    Target {
        name: "ledger_key",
        covers: &["StateKey::from_str"],
        run: key_text,
        seeds: || texts(&["deployment/web", "route/*/\\x00\\\\", "\\x", "é/\\n"]),
    },
    Target {
        name: "consensus_handover",
        covers: &["Handover::read_cfg"],
        run: handover,
        seeds: || vec![vec![2, 7, 8, 1, 9], vec![0, 0]],
    },
    Target {
        name: "consensus_vote_note",
        covers: &["consensus::decode_note"],
        run: vote_note,
        seeds: || vec![vec![0; 32]],
    },
    Target {
        name: "consensus_state",
        covers: &[
            "Message::decode",
            "Page::decode",
            "Page::read_cfg",
            "consensus::decode_part",
        ],
        run: state_message,
        seeds: state_messages,
    },
    Target {
        name: "consensus_tip",
        covers: &["Announcement::decode"],
        run: tip,
        seeds: tips,
    },
];

fn key() -> SecretKey {
    SecretKey::from_seed(&[3; 32])
}

fn genesis() -> &'static Genesis {
    static GENESIS: OnceLock<Genesis> = OnceLock::new();
    GENESIS.get_or_init(|| {
        let id = key().public();
        let genesis = Genesis::new(7, [1; 16], vec![id], vec![id], vec![id]);
        genesis.expect("one member is enough")
    })
}

fn fabric() -> FabricId {
    genesis().fabric_id()
}

fn decode_genesis(bytes: &[u8]) {
    if let Ok(genesis) = Genesis::decode(bytes) {
        assert_eq!(genesis.encode(), bytes, "{genesis:?}");
    }
}

/// The bytes as they are, and as what they say once it is signed: no mutation hits a signature.
fn transaction(bytes: &[u8]) {
    let fabric = fabric();
    if let Ok(decoded) = SignedTransaction::decode(&fabric, bytes) {
        assert_eq!(decoded.bytes(), bytes);
    }
    let body = bytes.get(1..).unwrap_or_default();
    let Ok((mut transaction, _)) = postcard::take_from_bytes::<Transaction>(body) else {
        return;
    };
    let key = key();
    transaction.fabric = fabric;
    transaction.principal = key.public();
    let signature = key.sign(&transaction.signing_bytes());
    let signed = transaction.clone().encode_signed(&signature);
    match SignedTransaction::decode(&fabric, &signed) {
        Ok(decoded) => {
            assert_eq!(decoded.bytes(), signed);
            assert_eq!(*decoded.transaction(), transaction);
        }
        Err(error) => assert!(
            signed.len() > ledger::TRANSACTION_BYTES_MAX,
            "what was signed does not decode: {error}"
        ),
    }
}

fn transactions() -> Vec<Vec<u8>> {
    let key = key();
    let name = |text: &str| Name::new(text).expect("a good name");
    let operations = [
        Operation::Stop {
            workload: name("shop"),
        },
        Operation::Scale {
            workload: name("shop"),
            component: name("api"),
            replicas: 300,
        },
    ];
    let signed = operations.map(|operation| {
        let transaction = Transaction {
            fabric: fabric(),
            principal: key.public(),
            nonce: 300,
            expires_at: 1_000,
            operation,
        };
        let signature = key.sign(&transaction.signing_bytes());
        transaction.encode_signed(&signature)
    });
    signed.to_vec()
}

/// One entry of the state, at a key that the first byte chooses; then everything that reads it.
fn state(bytes: &[u8]) {
    let (choice, value) = chosen(bytes);
    let name = Name::new("a").expect("a good name");
    let (id, digest) = (PublicKey::from_bytes([9; 32]), Digest::from_bytes([8; 32]));
    let route = Route::new("a.example", "/").expect("a good route");
    let keys = [
        StateKey::fabric(),
        StateKey::principal(&id),
        StateKey::node(&id),
        StateKey::member(&id),
        StateKey::certificate(&digest),
        StateKey::invite(&id),
        StateKey::invites(),
        StateKey::candidates(),
        StateKey::census(),
        StateKey::committee(),
        StateKey::conviction(&id),
        StateKey::absence(&id),
        StateKey::absences(),
        StateKey::deployment(&name),
        StateKey::placement(&name, &name, 1),
        StateKey::route(&route),
        StateKey::rules(),
    ];
    let (key, value) = match keys.get(usize::from(choice)) {
        Some(key) => (key.clone(), value),
        // The key is hostile, too.
        None => match StateKey::from_bytes(value.to_vec()) {
            Ok(key) => (key, value),
            Err(_) => return,
        },
    };
    let _ = (key.workload(), key.is_about_standing());
    let _ = (
        AnyRecord::decode(&key, value),
        CommitteeRecord::decode(value),
        RulesRecord::decode(value),
    );
    let view = View::new(1, 2, BTreeMap::from([(key, value.to_vec())]));
    let (node, principal): (NodeId, Principal) = (id, id);
    // Errors are fine, panics are not.
    let _ = (view.fabric(), view.principal(&principal), view.principals());
    let _ = (view.member(&node), view.members(), view.is_approved(&node));
    let _ = (
        view.committee(),
        view.convictions(),
        view.absences(),
        view.rules(),
    );
    let _ = (view.certificate(&digest), view.invite(&id), view.invites());
    let _ = (
        view.deployment(&name),
        view.deployments(),
        view.route(&route),
    );
    let _ = (view.placements(), view.placements_of(&name));
}

fn states() -> Vec<Vec<u8>> {
    let values = (0..16).map(|choice| [&[choice, 1], &[1; 40][..]].concat());
    let hostile = b"\xffplacement/shop/api/00001";
    values.chain([hostile.to_vec()]).collect()
}

fn block(bytes: &[u8]) {
    if let Some(again) = consensus::fuzz::block(bytes) {
        assert_eq!(again, bytes, "a block has two encodings");
    }
    let _ = consensus::read_block(genesis(), bytes);
}

fn handover(bytes: &[u8]) {
    if let Some(again) = consensus::fuzz::handover(bytes) {
        assert_eq!(again, bytes, "a handover has two encodings");
    }
}

fn vote_note(bytes: &[u8]) {
    if let Some(again) = consensus::fuzz::vote_note(bytes) {
        assert_eq!(again, bytes, "a note has two encodings");
    }
}

fn state_message(bytes: &[u8]) {
    if let Some(again) = consensus::fuzz::state_message(bytes) {
        assert_eq!(again, bytes, "a message about the state has two encodings");
    }
}

fn state_messages() -> Vec<Vec<u8>> {
    let number = [0, 0, 0, 0, 0, 0, 0, 7];
    let message = |kind, rest: &[u8]| [&[1, kind][..], &number, rest].concat();
    vec![
        message(0, &[0xac, 2]),
        message(1, &[1, 9, 8]),
        message(2, &[]),
        message(3, &[1, 2, 7, 8, 1, 9, 0]),
        message(4, &[0, 1, 0, 0, 0]),
    ]
}

/// Bytes as certificate of a real block, and as proof of an entry.
fn proof(bytes: &[u8]) {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    let block = BLOCK.get_or_init(|| consensus::fuzz::first_block(genesis()));
    let final_block = consensus::verify_finalized(genesis(), block, bytes);
    assert!(final_block.is_err(), "nobody signed that block");
    let key = StateKey::fabric();
    let held = consensus::verify_proof(&[6; 32], &key, bytes);
    assert!(held.is_err(), "nothing has that root");
}

fn tip(bytes: &[u8]) {
    if let Some(again) = consensus::fuzz::announcement(genesis(), bytes) {
        assert_eq!(again, bytes, "an announcement has two encodings");
    }
}

fn tips() -> Vec<Vec<u8>> {
    // Version, fabric, height, kept from; then what may be a certificate: epoch, view, parent, payload,
    // signers, signatures.
    let head = [&[1], fabric().as_bytes().as_slice(), &[5, 1]].concat();
    let certificate = [&[0, 5, 4][..], &[6; 32], &[1, 1, 1], &[7; 64]].concat();
    vec![head.clone(), [head, certificate].concat()]
}

/// A key as text, which has one form only when it is shown.
fn key_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(key) = text.parse::<StateKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}

/// Without the digest, which the target appends; and whole.
fn entry_proofs() -> Vec<Vec<u8>> {
    let block = consensus::fuzz::first_block(genesis());
    let proof = EntryProof {
        genesis: genesis().encode(),
        handovers: vec![Handover {
            block: block.clone(),
            certificate: vec![3; 70],
        }],
        block,
        certificate: vec![0, 5, 4, 1],
        key: StateKey::fabric(),
        entry: vec![1; 80],
    };
    let whole = proof.encode();
    let body = whole.get(..whole.len().saturating_sub(32));
    vec![body.unwrap_or_default().to_vec(), whole]
}
