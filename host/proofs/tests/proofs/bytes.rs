//! Pinned bytes of every format: what one release writes, every later one reads. A digest that differs
//! is a format that changed.

use hypermesh_proofs::{
    ANSWER_BYTES_MAX, CALIBRATION_UNITS_MAX, CHALLENGE_CHUNKS, Calibration, Challenge, Commitment,
    Content, DecodeProofError, EXPORT_BYTES_MAX, Export, PROOFS_BYTES_MAX, Plot, Proofs,
    ProvenChunk, ReadAt as _, ReceiptCertificate, SignedAnswer, SignedReceipt, WorkEvidence,
    draw_nodes, operation_digest,
};
use tempfile::tempdir;
use types::Digest;

use crate::world::{FABRIC, asset, beacon, certificate, node, proofs, public, receipt, signed};

/// Each format: its length here and the beginning of its digest.
const PINNED: [&str; 10] = [
    "receipt to sign 281 db8a00629ebf",
    "receipt 319 e1081c9935af",
    "certificate 638 6b1b1f7e43df",
    "answer to sign 5555 66b70001e50b",
    "answer 5594 9f9b48e05883",
    "proofs to sign 6395 4e08c0bba287",
    "proofs 6402 6a6917aa2459",
    "commitment 103 37b8614af629",
    "plot 64 3f7fca5660a9",
    "operation 32 0e07ced67846",
];

#[test]
fn formats_are_pinned() {
    let dir = tempdir().unwrap();
    let (proofs, _) = proofs(dir.path());
    let answer = proofs.space.clone().unwrap();
    let certificate = certificate(vec![signed(1, |_| {}), signed(2, |_| {})]);
    let commitment = Commitment {
        node: public(1),
        asset: asset(),
        content: Content::Kept,
        root: Digest::of(b"root"),
        bytes: 1 << 40,
    };
    let drawn = Challenge::draw(&beacon(1), 1, &commitment);
    let mut plot = [0; 64];
    let of_node = Plot::new(&node(1), &asset());
    of_node.read_exact_at(1 << 40, &mut plot).unwrap();
    let members = (0..100).map(node).collect();
    let nodes = draw_nodes(&beacon(1), &asset(), &members, 2);
    let nodes: Vec<u8> = nodes.iter().map(|node| node.as_bytes()[0]).collect();
    let written = postcard::to_allocvec(&commitment).unwrap();
    let formats = [
        ("receipt to sign", receipt(1).signing_bytes()),
        ("receipt", signed(1, |_| {}).encode()),
        ("certificate", certificate.encode()),
        ("answer to sign", answer.answer.signing_bytes()),
        ("answer", answer.encode()),
        ("proofs to sign", proofs.signing_bytes(&FABRIC)),
        ("proofs", proofs.encode()),
        ("commitment", written),
        ("plot", plot.to_vec()),
        (
            "operation",
            operation_digest(&FABRIC, b"lease").as_bytes().to_vec(),
        ),
    ];
    let found = formats.map(|(name, bytes)| {
        let digest = Digest::of(&bytes).short();
        format!("{name} {} {digest}", bytes.len())
    });
    assert_eq!(found, PINNED);
    assert_eq!(drawn.chunks()[..3], [2_987_002, 38_132_348, 118_414_947]);
    assert_eq!(nodes, [32, 42]);
}

#[test]
fn what_was_written_is_read() {
    let dir = tempdir().unwrap();
    let (proofs, _) = proofs(dir.path());
    let answer = proofs.space.clone().unwrap();
    assert_eq!(SignedAnswer::decode(&answer.encode()), Ok(answer));
    assert_eq!(Proofs::decode(&proofs.encode()), Ok(proofs));
    let receipt = signed(1, |_| {});
    assert_eq!(
        SignedReceipt::decode(&receipt.encode()),
        Ok(receipt.clone())
    );
    let certificate = certificate(vec![receipt]);
    assert_eq!(
        ReceiptCertificate::decode(&certificate.encode()),
        Ok(certificate)
    );
}

#[test]
fn what_is_too_large_or_not_canonical_is_refused_unread() {
    let large = vec![0; PROOFS_BYTES_MAX + 1];
    let (what, max) = ("proofs", PROOFS_BYTES_MAX);
    let bytes = large.len();
    let refusal = Proofs::decode(&large);
    assert_eq!(
        refusal,
        Err(DecodeProofError::TooLarge { what, bytes, max })
    );
    let bytes = Proofs::default().encode();
    let more = [&bytes[..], &[0]].concat();
    let version = [&[1], &bytes[1..]].concat();
    // The version with one byte more than it needs.
    let long = [&[0x80, 0], &bytes[1..]].concat();
    for other in [more, version, long, vec![]] {
        assert_eq!(
            Proofs::decode(&other),
            Err(DecodeProofError::Malformed { what })
        );
    }
    // A transaction of the ledger has at most 128 KiB.
    const { assert!(PROOFS_BYTES_MAX < 120 << 10 && ANSWER_BYTES_MAX < PROOFS_BYTES_MAX) };
}

#[test]
fn the_largest_answer_with_the_longest_calibration_is_within_the_bounds() {
    let dir = tempdir().unwrap();
    let (mut proofs, _) = proofs(dir.path());
    // 16 TiB are 2^34 chunks.
    let chunk = ProvenChunk {
        content: vec![255; 1_024],
        way: vec![[255; 32]; 34],
    };
    let largest = proofs.space.as_mut().unwrap();
    largest.answer.height = u64::MAX;
    largest.answer.chunks = vec![chunk; usize::from(CHALLENGE_CHUNKS) + 1];
    let bytes = largest.encode();
    assert!(
        SignedAnswer::decode(&bytes).is_ok(),
        "{} bytes",
        bytes.len()
    );
    let checkpoints = vec![Digest::of(b"unit"); CALIBRATION_UNITS_MAX];
    proofs.work.as_mut().unwrap().evidence = WorkEvidence::Calibration(Calibration { checkpoints });
    let bytes = proofs.encode();
    assert!(Proofs::decode(&bytes).is_ok(), "{} bytes", bytes.len());
}

#[test]
fn exports_have_a_name_of_bounded_length() {
    assert!(Export::try_from(String::new()).is_err());
    assert!(Export::try_from("x".repeat(EXPORT_BYTES_MAX)).is_ok());
    assert!(Export::try_from("x".repeat(EXPORT_BYTES_MAX + 1)).is_err());
    let longest = signed(1, |receipt| {
        receipt.export = Export::try_from("x".repeat(EXPORT_BYTES_MAX)).unwrap();
        receipt.fuel = u64::MAX;
        receipt.memory_peak_bytes = u64::MAX;
    });
    assert_eq!(SignedReceipt::decode(&longest.encode()), Ok(longest));
}
