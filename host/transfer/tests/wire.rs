//! The bytes of messages: pinned, one form per message, and no panic whatever comes.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

use hypermesh_transfer::{
    DecodeError, FRAME_BYTES_MAX, GroupSpan, Have, Message, ReadFrameError, Refusal, Request,
    SPANS_MAX, SliceHead, Wanted, read_frame, write_frame,
};
use proptest::collection::vec;
use proptest::prelude::*;
use types::Digest;

const fn span(first: u64, count: u64) -> GroupSpan {
    GroupSpan { first, count }
}

fn request(wanted: Wanted) -> Message {
    let digest = Digest::from_bytes([0xab; 32]);
    Message::Request(Request { digest, wanted })
}

/// One of each, with its bytes. Version 1 is the first zero.
fn pinned() -> Vec<(Message, Vec<u8>)> {
    let digest = [0xab; 32];
    vec![
        (request(Wanted::Last), [&[0, 0], &digest[..], &[0]].concat()),
        (
            request(Wanted::Groups(vec![span(1, 2), span(300, 16)])),
            [&[0, 0], &digest[..], &[1, 2, 1, 2, 0xac, 2, 16]].concat(),
        ),
        (
            Message::Have(Have {
                bytes: 100_000,
                held: vec![span(0, 7)],
            }),
            vec![0, 1, 0xa0, 0x8d, 6, 1, 0, 7],
        ),
        (Message::Missing(vec![span(5, 1)]), vec![0, 2, 1, 5, 1]),
        (
            Message::Slice(SliceHead {
                groups: span(16, 16),
                bytes: 263_000,
            }),
            vec![0, 3, 16, 16, 0xd8, 0x86, 16],
        ),
        (Message::Refused(Refusal::Absent), vec![0, 4, 0]),
        (Message::Refused(Refusal::Busy), vec![0, 4, 1]),
        (Message::Refused(Refusal::Damaged), vec![0, 4, 2]),
    ]
}

#[test]
fn the_bytes_of_each_message_are_pinned() {
    for (message, bytes) in pinned() {
        assert_eq!(message.encode(), bytes, "{message:?}");
        assert_eq!(Message::decode(&bytes), Ok(message));
    }
}

#[test]
fn what_no_honest_peer_sends_is_refused() {
    let too_many = (0..=SPANS_MAX as u64).map(|at| span(2 * at, 1)).collect();
    let large = (256 << 30) + 1;
    let bad = [
        request(Wanted::Groups(vec![span(0, 0)])),
        request(Wanted::Groups(vec![span(0, 1), span(1, 1)])),
        request(Wanted::Groups(vec![span(5, 1), span(3, 1)])),
        request(Wanted::Groups(vec![span(u64::MAX, 2)])),
        request(Wanted::Groups(vec![span(0, 4_097)])),
        request(Wanted::Groups(too_many)),
        Message::Have(Have {
            bytes: large,
            held: vec![],
        }),
        Message::Have(Have {
            bytes: 16_384,
            held: vec![span(0, 2)],
        }),
        Message::Missing(vec![span(1 << 24, 1)]),
        Message::Slice(SliceHead {
            groups: span(0, 17),
            bytes: 5,
        }),
        Message::Slice(SliceHead {
            groups: span(0, 1),
            bytes: 300_000,
        }),
    ];
    for message in bad {
        let found = Message::decode(&message.encode());
        assert!(
            matches!(found, Err(DecodeError::Bounds(_))),
            "{message:?} {found:?}"
        );
    }
    let long = vec![0; FRAME_BYTES_MAX + 1];
    assert_eq!(
        Message::decode(&long),
        Err(DecodeError::TooLong(long.len()))
    );
    // A number that is longer than it must be, bytes after the end, a version to come.
    assert_eq!(
        Message::decode(&[0, 0x84, 0, 1]),
        Err(DecodeError::NotCanonical)
    );
    assert_eq!(
        Message::decode(&[0, 4, 1, 0]),
        Err(DecodeError::NotCanonical)
    );
    assert_eq!(Message::decode(&[1, 4, 1]), Err(DecodeError::Malformed));
}

#[test]
fn the_largest_messages_fit_into_a_frame() {
    let first = (1 << 24) - 3 * SPANS_MAX as u64;
    let held: Vec<_> = (0..SPANS_MAX as u64)
        .map(|at| span(first + 3 * at, 2))
        .collect();
    let have = Message::Have(Have {
        bytes: 256 << 30,
        held: held.clone(),
    });
    for message in [
        have,
        Message::Missing(held.clone()),
        request(Wanted::Groups(held)),
    ] {
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

proptest! {
    #[test]
    fn what_decodes_is_the_one_form_of_what_it_says(bytes in vec(any::<u8>(), 0..100)) {
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn changed_messages_are_other_messages_or_none(which in any::<prop::sample::Index>(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(), more in vec(any::<u8>(), 0..5)) {
        let pinned = pinned();
        let (message, mut bytes) = pinned[which.index(pinned.len())].clone();
        let original = bytes.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut.index(3));
        bytes.extend(more);
        match Message::decode(&bytes) {
            Ok(found) => {
                prop_assert_eq!(found.encode(), bytes.clone());
                prop_assert_eq!(found == message, bytes == original);
            }
            Err(_) => prop_assert_ne!(bytes, original),
        }
    }

    #[test]
    fn streams_of_anything_end_without_panic(bytes in vec(any::<u8>(), 0..200), small in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut bytes = bytes.clone();
            if small {
                // A length that fits, so that the message is looked at.
                bytes.splice(0..0, [10, 0]);
            }
            let mut rest = bytes.as_slice();
            while let Ok(Some(message)) = read_frame(&mut rest).await {
                let _ = message.encode();
            }
        });
    }
}

#[tokio::test]
async fn frames_come_as_they_were_sent_and_cut_ones_are_an_error() {
    let mut stream = Vec::new();
    for (message, _) in pinned() {
        write_frame(&mut stream, &message, &[]).await.unwrap();
    }
    let mut rest = stream.as_slice();
    for (message, _) in pinned() {
        assert_eq!(read_frame(&mut rest).await.unwrap(), Some(message));
    }
    assert_eq!(read_frame(&mut rest).await.unwrap(), None);
    for cut in 1..37 {
        let error = read_frame(&mut &stream[..cut]).await.unwrap_err();
        assert!(matches!(error, ReadFrameError::Stream(_)), "{cut} {error}");
    }
    let long = [0xff, 0xff, 1, 2, 3];
    let error = read_frame(&mut long.as_slice()).await.unwrap_err();
    assert!(
        matches!(error, ReadFrameError::Decode(DecodeError::TooLong(65_535))),
        "{error}"
    );
}
