//! The bytes on the wire, pinned; any bytes decode to a value or an error, never a panic.

#![allow(
    clippy::expect_used,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

use std::time::Duration;

use hypermesh_stoq::proto::{
    ControlFrame, CredentialsFrame, FrameError, HeaderError, Hello, StreamReply, decode, encode,
};
use hypermesh_stoq::{RefusalCode, Service, StreamHeader, StreamRefusal, TraceId, bounds};
use proptest::prelude::*;

fn header() -> StreamHeader {
    StreamHeader {
        service: Service::Invoke,
        version: 2,
        deadline: Some(Duration::from_millis(300)),
        trace: Some(TraceId([0xab; 16])),
        idempotent: true,
    }
}

#[test]
fn frames_are_pinned_as_bytes() {
    let mut full = vec![25, 0, 0, 0, 0, 4, 2, 1, 0xac, 2, 1];
    full.extend([0xab; 16]);
    full.extend([1]);
    full[0] = u8::try_from(full.len() - 4).unwrap();
    assert_eq!(header().to_frame().unwrap(), full);
    let plain = StreamHeader {
        service: Service::Consensus,
        version: 1,
        deadline: None,
        trace: None,
        idempotent: false,
    };
    assert_eq!(plain.to_frame().unwrap(), [6, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
    assert_eq!(
        StreamReply::Accepted.to_frame().unwrap(),
        [2, 0, 0, 0, 0, 0]
    );
    let refused = StreamReply::Refused(StreamRefusal {
        code: RefusalCode::Busy,
        text: "no".to_owned(),
    });
    assert_eq!(
        refused.to_frame().unwrap(),
        [6, 0, 0, 0, 0, 1, 4, 2, b'n', b'o']
    );
    let hello = ControlFrame::Hello(Hello::new(300, 7));
    assert_eq!(
        encode(&hello, bounds::CONTROL_BYTES_MAX).unwrap(),
        [8, 0, 0, 0, 0, 0, 1, 1, 0, 0xac, 2, 7]
    );
    let refusal = ControlFrame::Refusal {
        code: 5,
        text: "x".to_owned(),
    };
    assert_eq!(
        encode(&refusal, bounds::CONTROL_BYTES_MAX).unwrap(),
        [5, 0, 0, 0, 0, 1, 5, 1, b'x']
    );
    let credentials = ControlFrame::Credentials(CredentialsFrame {
        chain: vec![vec![1, 2]],
        scheme: 0x0807,
        signature: vec![3],
    });
    assert_eq!(
        encode(&credentials, bounds::CONTROL_BYTES_MAX).unwrap(),
        [10, 0, 0, 0, 0, 2, 1, 2, 1, 2, 0x87, 0x10, 1, 3]
    );
}

#[test]
fn refusal_codes_keep_their_numbers() {
    use RefusalCode::{
        BadHeader, Busy, Declined, NotPermitted, Other, Replayable, UnknownService, UnknownVersion,
    };
    let known = [
        UnknownService,
        UnknownVersion,
        NotPermitted,
        Busy,
        Replayable,
        Declined,
        BadHeader,
    ];
    for (code, number) in known.into_iter().zip(1_u16..) {
        assert_eq!(code.number(), number);
        assert_eq!(RefusalCode::from_number(number), code);
    }
    assert_eq!(RefusalCode::from_number(900), Other(900));
    assert_eq!(Other(900).number(), 900);
}

#[test]
fn a_header_of_an_unknown_service_says_so() {
    let body = [0, 77, 1, 0, 0, 0];
    let unknown = HeaderError::UnknownService { number: 77 };
    assert_eq!(StreamHeader::from_body(&body), Err(unknown));
}

#[test]
fn long_refusals_are_cut_between_characters() {
    let refused = StreamReply::Refused(StreamRefusal {
        code: RefusalCode::Declined,
        text: "ä".repeat(1_000),
    });
    let frame = refused.to_frame().unwrap();
    let Ok(StreamReply::Refused(read)) = StreamReply::from_body(&frame[4..]) else {
        panic!("it does not decode");
    };
    assert_eq!(read.text, "ä".repeat(bounds::REFUSAL_TEXT_BYTES_MAX / 2));
}

fn any_header() -> impl Strategy<Value = StreamHeader> {
    let service = (0..Service::ALL.len()).prop_map(|index| Service::ALL[index]);
    let deadline = any::<Option<u32>>()
        .prop_map(|left| left.map(|left| Duration::from_millis(u64::from(left))));
    let trace = any::<Option<[u8; 16]>>().prop_map(|bytes| bytes.map(TraceId));
    (service, any::<u16>(), deadline, trace, any::<bool>()).prop_map(
        |(service, version, deadline, trace, idempotent)| StreamHeader {
            service,
            version,
            deadline,
            trace,
            idempotent,
        },
    )
}

fn any_control() -> impl Strategy<Value = ControlFrame> {
    let hello =
        any::<(u16, u16, u64, u64, u64)>().prop_map(|(min, max, features, life, attempt)| {
            ControlFrame::Hello(Hello {
                protocol_min: min,
                protocol_max: max,
                features,
                incarnation: life,
                attempt,
            })
        });
    let refusal =
        (any::<u32>(), ".{0,40}").prop_map(|(code, text)| ControlFrame::Refusal { code, text });
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    let credentials = (prop::collection::vec(bytes(), 0..5), any::<u16>(), bytes()).prop_map(
        |(chain, scheme, signature)| {
            ControlFrame::Credentials(CredentialsFrame {
                chain,
                scheme,
                signature,
            })
        },
    );
    prop_oneof![hello, refusal, credentials]
}

proptest! {
    #[test]
    fn headers_round_trip(header in any_header()) {
        let frame = header.to_frame().unwrap();
        prop_assert!(frame.len() <= bounds::HEADER_BYTES_MAX);
        prop_assert_eq!(StreamHeader::from_body(&frame[4..]), Ok(header));
    }

    #[test]
    fn control_frames_round_trip(frame in any_control()) {
        let bytes = encode(&frame, bounds::CONTROL_BYTES_MAX).unwrap();
        prop_assert_eq!(decode::<ControlFrame>(&bytes[4..]), Ok(frame));
    }

    /// What decodes has one encoding: the bytes that it was decoded from.
    #[test]
    fn any_bytes_are_a_canonical_value_or_an_error(
        version in prop::sample::select(vec![0_u8, 0, 0, 1]),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut body = vec![version];
        body.extend(rest);
        if let Ok(frame) = decode::<ControlFrame>(&body) {
            prop_assert_eq!(&encode(&frame, 1 << 20).unwrap()[4..], &body[..]);
        }
        if let Ok(header) = StreamHeader::from_body(&body) {
            prop_assert_eq!(&header.to_frame().unwrap()[4..], &body[..]);
        }
        if let Ok(reply) = StreamReply::from_body(&body) {
            prop_assert_eq!(&reply.to_frame().unwrap()[4..], &body[..]);
        }
        if version == 1 {
            let unknown = Err(FrameError::UnknownVersion { version: 1 });
            prop_assert_eq!(decode::<ControlFrame>(&body), unknown);
        }
    }
}
