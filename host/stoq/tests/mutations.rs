//! Mutated frames against every decoder: none panics, none takes two encodings for one value,
//! none reserves what a length only announces. The seed is fixed, so a failure replays;
//! `STOQ_SEED` sets another and `STOQ_ROUNDS` how many.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

use std::time::Duration;

use hypermesh_stoq::bounds::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX};
use hypermesh_stoq::proto::{
    ControlFrame, CredentialsFrame, HeaderError, Hello, PREFIX_BYTES, RELAY_FRAME_BYTES_MAX,
    RelayFrame, RelayRefusal, StreamReply, Tag, body_bytes, decode, encode,
};
use hypermesh_stoq::{RefusalCode, Service, StreamHeader, StreamRefusal, TraceId};
use types::NodeId;

/// Numbers that are the same for the same seed (xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end.max(1)
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok());
    set.unwrap_or(default)
}

fn corpus() -> Vec<Vec<u8>> {
    let header = |deadline, trace, idempotent| StreamHeader {
        service: Service::Artifact,
        version: 300,
        deadline,
        trace,
        idempotent,
    };
    let refused = StreamReply::Refused(StreamRefusal {
        code: RefusalCode::Busy,
        text: "größer".to_owned(),
    });
    let control = [
        ControlFrame::Hello(Hello::new(u64::MAX, 300)),
        ControlFrame::Refusal {
            code: 70_000,
            text: "nö".to_owned(),
        },
        ControlFrame::Credentials(CredentialsFrame {
            chain: vec![vec![1; 300], vec![2; 20]],
            scheme: 0x0807,
            signature: vec![3; 64],
        }),
    ];
    let mut frames = vec![
        header(None, None, false).to_frame(),
        header(Some(Duration::from_secs(9)), Some(TraceId([7; 16])), true).to_frame(),
        StreamReply::Accepted.to_frame(),
        refused.to_frame(),
    ];
    let relay = [
        RelayFrame::Reach {
            leg: 300,
            target: NodeId::from_bytes([5; 32]),
        },
        RelayFrame::Carry {
            leg: u32::MAX,
            source: NodeId::from_bytes([6; 32]),
        },
        RelayFrame::Ready,
        RelayFrame::Refused(RelayRefusal::Declined),
    ];
    frames.extend(
        relay
            .iter()
            .map(|frame| encode(frame, RELAY_FRAME_BYTES_MAX)),
    );
    frames.extend(control.iter().map(|frame| encode(frame, CONTROL_BYTES_MAX)));
    frames.into_iter().map(Result::unwrap).collect()
}

/// Changes a few places the way that breaks decoders: bits, ends, lengths, pieces of others.
fn mutate(chance: &mut Chance, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len());
        match chance.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << chance.below(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, [0, 0x7f, 0x80, 0xff][chance.below(4)]),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => {
                let other = &corpus[chance.below(corpus.len())];
                let from = chance.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.extend_from_slice(&[0; 3]),
        }
    }
    bytes
}

/// Every decoder on `bytes`; how many of them found a value.
fn feed(bytes: &[u8]) -> usize {
    let Some((prefix, body)) = bytes.split_first_chunk::<PREFIX_BYTES>() else {
        return 0;
    };
    // Only what is within the bound would be read.
    if let Ok(length) = body_bytes(*prefix, HEADER_BYTES_MAX) {
        assert!(length <= HEADER_BYTES_MAX);
    }
    let mut values = 0;
    match StreamHeader::from_body(body) {
        Ok(header) => {
            values += 1;
            assert_eq!(&header.to_frame().unwrap()[PREFIX_BYTES..], body);
        }
        Err(HeaderError::UnknownService { number }) => {
            assert_eq!(Service::from_number(number), None);
        }
        Err(HeaderError::Frame(_)) => {}
    }
    if let Ok(reply) = StreamReply::from_body(body) {
        values += 1;
        assert_eq!(&reply.to_frame().unwrap()[PREFIX_BYTES..], body);
    }
    if let Ok(frame) = decode::<ControlFrame>(body) {
        values += 1;
        assert_eq!(&encode(&frame, 1 << 20).unwrap()[PREFIX_BYTES..], body);
        if let ControlFrame::Credentials(credentials) = frame {
            let _ = credentials.is_bounded();
        }
    }
    if let Ok(frame) = decode::<RelayFrame>(body) {
        values += 1;
        assert_eq!(&encode(&frame, 1 << 20).unwrap()[PREFIX_BYTES..], body);
    }
    if let Some((tag, packet)) = Tag::split(body) {
        assert_eq!([&tag.to_bytes()[..], packet].concat(), body);
    }
    values
}

#[test]
fn mutated_frames_are_a_canonical_value_or_an_error() {
    let (seed, rounds) = (setting("STOQ_SEED", 1), setting("STOQ_ROUNDS", 60_000));
    let corpus = corpus();
    for frame in &corpus {
        assert!(feed(frame) > 0, "the corpus decodes");
    }
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut values = 0;
    for round in 0..rounds {
        let bytes = mutate(&mut chance, &corpus);
        let fed = std::panic::catch_unwind(|| feed(&bytes));
        let Ok(found) = fed else {
            panic!("seed {seed}, round {round}: {bytes:?}");
        };
        values += found;
    }
    // A mutation that decodes nothing tests nothing.
    assert!(values > 0, "seed {seed}: nothing decoded");
}
