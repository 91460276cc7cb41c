//! Leased memory and storage: capabilities, the frames of regions and members on other nodes, and what
//! members find on their disks.

use assets::volume::{BlockKey, MemberDone, MemberError, MemberOp, Version, fuzz as members};
use assets::{
    Answer, FRAME_BYTES_MAX, Hello, LinkAnswer, LinkDone, LinkError, LinkOp, MemberAnswer,
    MemberRequest, Opened, Refusal, RegionDone, RegionError, RegionOp, RegionUsage, Welcome,
    decode_answer, decode_hello, decode_link_answer, decode_link_request, decode_member_answer,
    decode_member_request, decode_request, decode_welcome, encode_region_frame,
};
use serde::Serialize;
use trust::{CapabilitySubject, LeaseCapability, SecretKey, VolumeCapability};
use types::{
    AssetId, AssetType, Audience, Digest, FabricId, LeaseId, NodeId, RegionRight, RegionRights,
    RegionScope,
};

use crate::Target;
use crate::targets::chosen;

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "trust_lease_capability",
        covers: &["LeaseCapability::decode", "LeaseCapability::from_str"],
        run: capability,
        seeds: capabilities,
    },
    Target {
        name: "assets_region_frames",
        covers: &[
            "assets::decode_answer",
            "assets::decode_hello",
            "assets::decode_link_answer",
            "assets::decode_link_request",
            "assets::decode_request",
            "assets::decode_welcome",
        ],
        run: frame,
        seeds: frames,
    },
    Target {
        name: "trust_volume_capability",
        covers: &["VolumeCapability::decode", "VolumeCapability::from_str"],
        run: volume_capability,
        seeds: volume_capabilities,
    },
    Target {
        name: "assets_member_frames",
        covers: &[
            "assets::decode_member_answer",
            "assets::decode_member_request",
        ],
        run: member_frame,
        seeds: member_frames,
    },
    Target {
        name: "assets_member_store",
        covers: &["assets::decode_head", "assets::decode_record"],
        run: member_store,
        seeds: member_stores,
    },
];

/// Bytes or a text that were read are written as they came.
fn capability(bytes: &[u8]) {
    if let Ok(read) = LeaseCapability::decode(bytes) {
        assert!(bytes.len() <= LeaseCapability::BYTES_MAX);
        assert_eq!(*read.encode(), bytes);
        assert_eq!(read.ids().last(), read.id().as_ref());
    }
    let text = std::str::from_utf8(bytes);
    if let Ok(text) = text
        && let Ok(read) = text.parse::<LeaseCapability>()
    {
        assert_eq!(read.to_string(), text.trim());
    }
}

fn capabilities() -> Vec<Vec<u8>> {
    let holder = SecretKey::from_seed(&[3; 32]);
    let subject = CapabilitySubject {
        fabric: FabricId::from_bytes([5; 32]),
        asset: AssetId::from_parts(AssetType::Memory, Digest::from_bytes([6; 32])),
        lease: LeaseId::from_digest(Digest::from_bytes([7; 32])),
        host: NodeId::from_bytes([8; 32]),
        nonce: [0; 16],
    };
    let scope = RegionScope {
        rights: RegionRights::ALL,
        from: 0,
        until: 4_096,
        expires_ms: 1_800_000_000_000,
        audience: Audience::Member,
    };
    let only = RegionScope {
        audience: Audience::Node(NodeId::from_bytes([9; 32])),
        ..scope
    };
    let root = LeaseCapability::issue(&holder, subject, scope).ok();
    let narrowed = root.as_ref().and_then(|root| root.narrowed(only).ok());
    let sealed = narrowed.as_ref().map(LeaseCapability::sealed);
    let all = [root, narrowed, sealed].into_iter().flatten();
    let forms = all.flat_map(|one| [one.encode().to_vec(), one.to_string().into_bytes()]);
    forms.collect()
}

/// The first byte chooses what is expected; what was read is written as it came.
fn frame(bytes: &[u8]) {
    let (choice, body) = chosen(bytes);
    match choice % 6 {
        0 => same(decode_hello(body).ok(), body),
        1 => same(decode_welcome(body).ok(), body),
        2 => same(decode_request(body).ok(), body),
        4 => same(decode_link_request(body).ok(), body),
        5 => same(decode_link_answer(body).ok(), body),
        _ => same(decode_answer(body).ok(), body),
    }
}

fn same<T: Serialize>(read: Option<T>, body: &[u8]) {
    if let Some(message) = read {
        assert!(body.len() <= FRAME_BYTES_MAX);
        let frame = encode_region_frame(message).expect("what was read is not too long");
        assert_eq!(frame.get(4..), Some(body));
    }
}

fn frames() -> Vec<Vec<u8>> {
    fn seed<T: Serialize>(choice: u8, message: T) -> Vec<u8> {
        let frame = encode_region_frame(message).expect("seeds are short");
        [&[choice], frame.get(4..).unwrap_or_default()].concat()
    }
    let capability = vec![1, 2, 3];
    let welcome: Welcome = Ok(Opened { bytes: 4_096 });
    let refused: Welcome = Err(Refusal::Denied("no".to_owned()));
    let swap = RegionOp::Swap {
        offset: 8,
        expected: vec![0; 8],
        new: vec![1; 8],
    };
    let write = RegionOp::Write {
        offset: 300,
        bytes: vec![5; 20],
    };
    let usage: Answer = Ok(RegionDone::Usage(RegionUsage {
        bytes: 4_096,
        resident_bytes: 0,
        operations: 200,
        left_ms: 9_000,
    }));
    let found: Answer = Ok(RegionDone::Found(vec![7; 8]));
    let denied: Answer = Err(RegionError::NotAllowed {
        right: RegionRight::Write,
    });
    let connect = LinkOp::Connect {
        host: "a.example".to_owned(),
        port: 443,
    };
    let link_usage: LinkAnswer = Ok(LinkDone::Usage {
        bytes_per_s: 1_000,
        sent_bytes: 2,
        received_bytes: 300,
        connections: 4,
        left_ms: 9_000,
    });
    let not_allowed: LinkAnswer = Err(LinkError::NotAllowed);
    vec![
        seed(0, Hello { capability }),
        seed(1, welcome),
        seed(1, refused),
        seed(2, swap),
        seed(2, write),
        seed(3, usage),
        seed(3, found),
        seed(3, denied),
        seed(4, connect),
        seed(5, link_usage),
        seed(5, not_allowed),
    ]
}

/// Bytes or a text that were read are written as they came.
fn volume_capability(bytes: &[u8]) {
    if let Ok(read) = VolumeCapability::decode(bytes) {
        assert!(bytes.len() <= VolumeCapability::BYTES_MAX);
        assert!(read.members.len() <= VolumeCapability::MEMBERS_MAX);
        assert_eq!(*read.encode(), bytes);
    }
    let text = std::str::from_utf8(bytes);
    if let Ok(text) = text
        && let Ok(read) = text.parse::<VolumeCapability>()
    {
        assert_eq!(read.to_string(), text.trim());
    }
}

fn volume_capabilities() -> Vec<Vec<u8>> {
    let members = capabilities().into_iter();
    let members = members.map(|bytes| LeaseCapability::decode(&bytes).ok());
    let volume = VolumeCapability::new(1, [4; 32], members.take(5).collect());
    let text = volume.to_string().into_bytes();
    vec![volume.encode().to_vec(), text]
}

/// The first byte chooses what is expected; what was read is written as it came.
fn member_frame(bytes: &[u8]) {
    let (choice, body) = chosen(bytes);
    match choice % 2 {
        0 => same(decode_member_request(body).ok(), body),
        _ => same(decode_member_answer(body).ok(), body),
    }
}

fn member_frames() -> Vec<Vec<u8>> {
    fn seed<T: Serialize>(choice: u8, message: T) -> Vec<u8> {
        let frame = encode_region_frame(message).expect("seeds are short");
        [&[choice], frame.get(4..).unwrap_or_default()].concat()
    }
    let key = BlockKey {
        file: 1,
        block: 300,
    };
    let version = Version { epoch: 2, count: 3 };
    let write = MemberOp::Write {
        epoch: 2,
        key,
        version,
        keep: Some(version),
        bytes: vec![5; 20],
    };
    let pieces = vec![(key, version)];
    let capability = Digest::from_bytes([7; 32]);
    let read: MemberAnswer = Ok(MemberDone::Read(Some((version, vec![7; 8]))));
    let versions: MemberAnswer = Ok(MemberDone::Versions(vec![vec![version], Vec::new()]));
    let denied: MemberAnswer = Err(MemberError::Denied("no".to_owned()));
    vec![
        seed(0, MemberRequest::Ask(write)),
        seed(
            0,
            MemberRequest::Ask(MemberOp::Versions { keys: vec![key; 3] }),
        ),
        seed(0, MemberRequest::Ask(MemberOp::Settle { epoch: 2, pieces })),
        seed(0, MemberRequest::Revoke { capability }),
        seed(1, read),
        seed(1, versions),
        seed(1, denied),
    ]
}

/// The first byte chooses what is expected: a head, the header of a record, or a whole store.
fn member_store(bytes: &[u8]) {
    let (choice, body) = chosen(bytes);
    match choice % 3 {
        0 => {
            if let Some(again) = members::head_again(body) {
                assert_eq!(again, body);
            }
        }
        1 => {
            let (header, again) = members::record_again(body);
            if let Some(again) = again {
                assert_eq!(again, header);
            }
        }
        _ => {
            let _ = members::store(body);
        }
    }
}

fn member_stores() -> Vec<Vec<u8>> {
    let store = members::some_store();
    let head = store.iter().take(4 << 10).copied();
    let record = [0, 9, 0, 1, 0xac, 2, 2, 3, 1, 8, 5];
    vec![
        std::iter::once(0).chain(head).collect(),
        [&[1][..], &record, &[0xab; 32]].concat(),
        [&[2][..], &store].concat(),
    ]
}
