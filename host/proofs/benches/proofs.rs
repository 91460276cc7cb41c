//! Making and checking each proof, and their sizes, beside plain BLAKE3 of the same bytes and one plain
//! ed25519 check in the same run. What a challenge costs per TB is measured on what fits and
//! extrapolated: reading grows with the depth of the tree only, building with the bytes.
//!
//! `cargo bench -p hypermesh-proofs [-- MEBIBYTES]`

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints its results and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_proofs::{
    Answer, Calibration, CalibrationCheck, CalibrationFacts, CalibrationSeed, CertificateRule,
    Challenge, Commitment, Content, EngineMode, EngineProfile, Export, Plot, ReadAt as _, Receipt,
    ReceiptCertificate, SignedAnswer, SignedReceipt, SpaceFacts, StakeClaim, StakeFacts, StakeRole,
    TimeFacts, TimeProof, build_tree, outboard_bytes,
};
use types::{Digest, PublicKey, Signature};

/// Each is done so often; the middle one is printed.
const ROUNDS: usize = 101;
const FABRIC: Digest = Digest::from_bytes([5; 32]);
/// Bytes of a terabyte.
const TERABYTE: f64 = 1e12;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(seed: u8) -> PublicKey {
    PublicKey::from_bytes(key(seed).verifying_key().to_bytes())
}

fn sign(seed: u8, bytes: &[u8]) -> Signature {
    Signature::from_bytes(key(seed).sign(bytes).to_bytes())
}

fn middle<T>(mut once: impl FnMut() -> T) -> Duration {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            black_box(once());
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn print(name: &str, bytes: usize, took: Duration) {
    let us = took.as_secs_f64() * 1e6;
    println!("{name:<52} {bytes:>9} bytes {us:>12.2} us");
}

fn main() {
    let asked = std::env::args().find_map(|argument| argument.parse::<u64>().ok());
    let message = [7; 256];
    let signature = sign(1, &message);
    let (secret, signer) = (key(1), public(1));
    let check = || signer.verify(&message, &signature).unwrap();
    print(
        "ed25519::sign/bytes=256",
        64,
        middle(|| secret.sign(&message)),
    );
    print("ed25519::verify/bytes=256", 64, middle(check));
    space(asked.unwrap_or(256) << 20);
    work();
    stake_and_time();
}

/// Filler and content of `bytes`, in memory.
fn space(bytes: u64) {
    let asset = Digest::of(b"asset");
    let plot = Plot::new(&public(1), &asset);
    let mut data = vec![0; usize::try_from(bytes).unwrap()];
    let began = Instant::now();
    plot.read_exact_at(0, &mut data).unwrap();
    let filled = began.elapsed();
    let began = Instant::now();
    black_box(Digest::of(&data));
    let hashed = began.elapsed();
    let mut outboard = vec![0; usize::try_from(outboard_bytes(bytes)).unwrap()];
    let began = Instant::now();
    let mut save = |offset: u64, pair: &[u8; 64]| {
        let offset = usize::try_from(offset).unwrap();
        outboard[offset..offset + 64].copy_from_slice(pair);
        Ok(())
    };
    let root = build_tree(&data, bytes, &mut save).unwrap();
    let built = began.elapsed();
    print(&format!("blake3::hash/bytes={bytes}"), 32, hashed);
    print(&format!("plot::write/bytes={bytes}"), data.len(), filled);
    print(&format!("tree::build/bytes={bytes}"), outboard.len(), built);
    for (name, took) in [
        ("plot::write", filled),
        ("tree::build", built),
        ("blake3::hash", hashed),
    ] {
        let seconds = took.as_secs_f64() * TERABYTE / bytes as f64;
        println!("{name}/per=TB, extrapolated {seconds:>47.0} s");
    }
    answers(&data, &outboard, root);
    // A TB has 30 hashes on the way of a chunk: so many more, and nothing else, than here.
    let depth = (bytes >> 10).ilog2();
    println!(
        "an answer for 1 TB, computed: {} bytes",
        33 * (1_024 + 32 * 30 + 3) + 170
    );
    println!("each chunk: {depth} hashes on its way here, 30 in a TB");
    let regenerated = middle(|| {
        let mut group = vec![0; 16 << 10];
        for number in 0..33 {
            plot.read_exact_at(number << 20, &mut group).unwrap();
            black_box(&group);
        }
    });
    print(
        "plot::regenerate/chunks=33 (what a cheat does)",
        33 << 14,
        regenerated,
    );
}

/// Answers to one challenge about `data`, as content and as filler.
fn answers(data: &Vec<u8>, outboard: &Vec<u8>, root: Digest) {
    let (asset, bytes) = (Digest::of(b"asset"), data.len() as u64);
    for content in [Content::Kept, Content::Filler] {
        let commitment = Commitment {
            node: public(1),
            asset,
            content,
            root,
            bytes,
        };
        let facts = SpaceFacts {
            fabric: FABRIC,
            challenge: Challenge::draw(&asset, 1, &commitment),
            deadline_height: 9,
            seen_at_height: 2,
        };
        let make = || {
            let answer = Answer::read(FABRIC, &facts.challenge, data, outboard).unwrap();
            let signature = sign(1, &answer.signing_bytes());
            SignedAnswer { answer, signature }
        };
        let answer = make();
        let encoded = answer.encode().len();
        let of = format!("content={content:?},bytes={bytes}");
        print(&format!("space::answer/{of}"), encoded, middle(&make));
        print(
            &format!("space::verify/{of}"),
            encoded,
            middle(|| answer.verify(&facts).unwrap()),
        );
        let shown: Vec<u8> = answer
            .answer
            .chunks
            .iter()
            .flat_map(|c| c.content.clone())
            .collect();
        let plain = middle(|| Digest::of(&shown));
        print(
            "blake3::hash/of=the chunks of an answer",
            shown.len(),
            plain,
        );
    }
}

fn receipt(seed: u8) -> SignedReceipt {
    let receipt = Receipt {
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
    };
    let signature = sign(seed, &receipt.signing_bytes());
    SignedReceipt { receipt, signature }
}

fn work() {
    let one = receipt(1);
    let encoded = one.encode().len();
    print("work::receipt", encoded, middle(|| receipt(1)));
    print(
        "work::receipt_verify",
        encoded,
        middle(|| one.verify().unwrap()),
    );
    for nodes in [3_u8, 5, 15] {
        let mut receipts: Vec<_> = (1..=nodes).map(receipt).collect();
        receipts.sort_by_key(|signed| signed.receipt.node);
        let rule = CertificateRule {
            fabric: FABRIC,
            order: Digest::of(b"order"),
            drawn: (1..=nodes).map(public).collect(),
            agree: u16::from(nodes / 2 + 1),
        };
        let certificate = ReceiptCertificate { receipts };
        let took = middle(|| certificate.verify(&rule).unwrap());
        let name = format!("work::certificate_verify/receipts={nodes}");
        print(&name, certificate.encode().len(), took);
    }
    let seed = CalibrationSeed::draw(&FABRIC, 1, &public(1), &FABRIC);
    let calibration = Calibration::run(&seed, 64);
    let run = middle(|| Calibration::run(&seed, 64));
    print("work::calibration/units=64", 64 * 32, run);
    let beacon = Digest::of(b"later");
    for check in [
        CalibrationCheck::Whole,
        CalibrationCheck::Sampled { beacon },
    ] {
        let facts = CalibrationFacts {
            seed,
            units: 64,
            deadline_height: 9,
            seen_at_height: 2,
            check,
        };
        let took = middle(|| calibration.verify(&facts).unwrap());
        let name = match check {
            CalibrationCheck::Whole => "whole",
            CalibrationCheck::Sampled { .. } => "sampled",
        };
        print(
            &format!("work::calibration_verify/units=64,check={name}"),
            64 * 32,
            took,
        );
    }
}

fn stake_and_time() {
    let claim = StakeClaim {
        principal: public(1),
        role: StakeRole::Deployer,
        quota: 4,
        bond: 10,
    };
    let facts = StakeFacts {
        principal: public(1),
        role: Some(StakeRole::Deployer),
        quota_left: 4,
        bond_left: 10,
        needs_role: Some(StakeRole::Deployer),
        needs_quota: 4,
        needs_bond: 10,
    };
    let encoded = postcard::to_allocvec(&claim).unwrap();
    let signature = sign(1, &encoded);
    let took = middle(|| {
        black_box(claim).verify(&facts).unwrap();
        claim.principal.verify(&encoded, &signature).unwrap();
    });
    print(
        "stake::verify, with its signature",
        encoded.len() + 64,
        took,
    );
    let anchors: BTreeMap<_, _> = (0..256_u64)
        .map(|height| (height, Digest::of(&height.to_le_bytes())))
        .collect();
    let time = TimeProof {
        anchor_height: 255,
        anchor_digest: anchors[&255],
        expires_at: 300,
        nonce: 1_001,
    };
    let facts = TimeFacts {
        now_height: 256,
        anchors: &anchors,
        next_nonce: 1_001,
    };
    let encoded = postcard::to_allocvec(&time).unwrap().len();
    // Once is less than the clock shows.
    let took = middle(|| {
        for _ in 0..1_000 {
            black_box(time).verify(&facts).unwrap();
        }
    });
    print("time::verify", encoded, took / 1_000);
}
