//! What peers send: frames of STOQ, and messages about artifacts.

use stoq::bounds::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX};
use stoq::proto::{
    ControlFrame, CredentialsFrame, Dialler, Hello, PREFIX_BYTES, StreamReply, body_bytes, decode,
    encode, greet,
};
use stoq::{RefusalCode, Service, StreamHeader, StreamRefusal, TraceId};
use transfer::{GroupSpan, Have, Message, Refusal, Request, SliceHead, Wanted};
use types::{Digest, NodeId};

use crate::Target;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "stoq_header",
        covers: &["StreamHeader::from_body", "stoq::decode"],
        run: header,
        seeds: headers,
    },
    Target {
        name: "stoq_reply",
        covers: &["StreamReply::from_body"],
        run: reply,
        seeds: replies,
    },
    Target {
        name: "stoq_control",
        covers: &["stoq::decode", "stoq::greet"],
        run: control,
        seeds: controls,
    },
    Target {
        name: "transfer_message",
        covers: &["Message::decode"],
        run: message,
        seeds: messages,
    },
];

/// The body of a frame with its length, as a reader of streams takes it; none if the length is wrong.
fn body(frame: &[u8], bytes_max: usize) -> Option<&[u8]> {
    let (prefix, rest) = frame.split_first_chunk::<PREFIX_BYTES>()?;
    rest.get(..body_bytes(*prefix, bytes_max).ok()?)
}

fn header(frame: &[u8]) {
    let Some(body) = body(frame, HEADER_BYTES_MAX) else {
        return;
    };
    if let Ok(header) = StreamHeader::from_body(body) {
        let again = header.to_frame().expect("a header fits its bound");
        assert_eq!(again.get(PREFIX_BYTES..), Some(body), "{header:?}");
    }
}

fn headers() -> Vec<Vec<u8>> {
    let header = |service, deadline_ms: Option<u64>, trace| StreamHeader {
        service,
        version: 300,
        deadline: deadline_ms.map(std::time::Duration::from_millis),
        trace,
        idempotent: true,
    };
    let headers = [
        header(Service::Artifact, None, None),
        header(Service::Invoke, Some(300), Some(TraceId([0xab; 16]))),
    ];
    headers
        .iter()
        .filter_map(|header| header.to_frame().ok())
        .collect()
}

fn reply(frame: &[u8]) {
    let Some(body) = body(frame, HEADER_BYTES_MAX) else {
        return;
    };
    if let Ok(reply) = StreamReply::from_body(body) {
        let again = reply.to_frame().expect("a reply fits its bound");
        // Codes of later releases are read as one that is known.
        let known = !matches!(&reply, StreamReply::Refused(refusal)
            if again.get(PREFIX_BYTES..) != Some(body) && refusal.code == RefusalCode::from_number(u16::MAX));
        assert!(
            !known || again.get(PREFIX_BYTES..) == Some(body),
            "{reply:?}"
        );
    }
}

fn replies() -> Vec<Vec<u8>> {
    let refused = StreamReply::Refused(StreamRefusal {
        code: RefusalCode::Busy,
        text: "größer".to_owned(),
    });
    let replies = [StreamReply::Accepted, refused];
    replies
        .iter()
        .filter_map(|reply| reply.to_frame().ok())
        .collect()
}

fn control(frame: &[u8]) {
    let Some(body) = body(frame, CONTROL_BYTES_MAX) else {
        return;
    };
    let Ok(frame) = decode::<ControlFrame>(body) else {
        return;
    };
    let again = encode(&frame, CONTROL_BYTES_MAX).expect("what came within the bound fits it");
    assert_eq!(again.get(PREFIX_BYTES..), Some(body), "{frame:?}");
    let peer = NodeId::from_bytes([7; 32]);
    // Any outcome is one: it only must not panic.
    for relayed in [false, true] {
        let _ = greet(
            &Hello::new(1, 2),
            frame.clone(),
            Dialler::Peer(peer),
            relayed,
        );
    }
}

fn controls() -> Vec<Vec<u8>> {
    let frames = [
        ControlFrame::Hello(Hello::new(u64::MAX, 300)),
        ControlFrame::Refusal {
            code: 70_000,
            text: "nö".to_owned(),
        },
        ControlFrame::Credentials(CredentialsFrame {
            chain: vec![vec![0x30; 40], vec![1, 2]],
            scheme: 0x0807,
            signature: vec![9; 64],
        }),
    ];
    let frames = frames.iter().map(|frame| encode(frame, CONTROL_BYTES_MAX));
    frames.filter_map(Result::ok).collect()
}

fn message(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(message.encode(), bytes, "{message:?}");
    }
}

fn messages() -> Vec<Vec<u8>> {
    let digest = Digest::from_bytes([0xab; 32]);
    let span = |first, count| GroupSpan { first, count };
    let request = |wanted| Message::Request(Request { digest, wanted });
    let messages = [
        request(Wanted::Last),
        request(Wanted::Groups(vec![span(1, 2), span(300, 16)])),
        Message::Have(Have {
            bytes: 100_000,
            held: vec![span(0, 7)],
        }),
        Message::Missing(vec![span(5, 1)]),
        Message::Slice(SliceHead {
            groups: span(16, 16),
            bytes: 263_000,
        }),
        Message::Refused(Refusal::Absent),
    ];
    messages.iter().map(Message::encode).collect()
}
