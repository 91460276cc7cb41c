//! Capabilities under attack: every refusal with its own reason, and what narrowing cannot do.

use proptest::prelude::*;
use types::{
    AssetId, AssetType, Audience, Digest, FabricId, LeaseId, NodeId, PublicKey, RegionRights,
    RegionScope, Signature, Widening,
};
use zeroize::Zeroizing;

use crate::capability::{
    Block, CapabilityFacts, CapabilityRefusal, CapabilitySubject, LeaseCapability, LeaseFact,
    NarrowError,
};
use crate::capability_bytes::DecodeCapabilityError;
use crate::identity::SecretKey;

fn holder() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn asset(number: u8) -> AssetId {
    AssetId::from_parts(AssetType::Memory, Digest::from_bytes([number; 32]))
}

fn subject() -> CapabilitySubject {
    CapabilitySubject {
        fabric: FabricId::from_bytes([2; 32]),
        asset: asset(3),
        lease: LeaseId::from_digest(Digest::from_bytes([4; 32])),
        host: node(5),
        nonce: [6; 16],
    }
}

fn scope() -> RegionScope {
    RegionScope {
        rights: RegionRights::ALL,
        from: 0,
        until: 4_096,
        expires_ms: 1_000,
        audience: Audience::Member,
    }
}

fn root() -> LeaseCapability {
    LeaseCapability::issue(&holder(), subject(), scope()).unwrap()
}

fn never(_: &Digest) -> bool {
    false
}

fn facts() -> CapabilityFacts<'static> {
    CapabilityFacts {
        fabric: subject().fabric,
        host: subject().host,
        presenter: node(7),
        ledger_ms: 500,
        lease: Some(LeaseFact {
            asset: subject().asset,
            holder: holder().public(),
        }),
        revoked: &never,
    }
}

fn with(change: impl FnOnce(&mut RegionScope)) -> RegionScope {
    let mut changed = scope();
    change(&mut changed);
    changed
}

#[test]
fn a_capability_goes_from_hand_to_hand_and_gives_less_each_time() {
    let root = root();
    assert_eq!(root.verify(&facts()), Ok(()));
    assert!(root.is_root());
    let part = with(|it| (it.from, it.until) = (64, 128));
    let narrowed = root.narrowed(part).unwrap();
    assert_eq!(narrowed.verify(&facts()), Ok(()));
    assert_eq!(narrowed.scope(), Some(&part));
    assert!(!narrowed.is_root());
    let again: LeaseCapability = narrowed.to_string().parse().unwrap();
    let mut least = part;
    (least.rights, least.audience) = (RegionRights::from_bits(1).unwrap(), Audience::Node(node(7)));
    let last = again.narrowed(least).unwrap();
    assert_eq!(last.verify(&facts()), Ok(()));
    let ids = last.ids();
    assert_eq!(ids[..2], narrowed.ids());
    assert_eq!(Some(ids[2]), last.id());
    // Whoever sees the seal's bytes can use and not pass on.
    let sealed = LeaseCapability::decode(&last.sealed().encode()).unwrap();
    assert_eq!(sealed.verify(&facts()), Ok(()));
    assert!(matches!(sealed.narrowed(least), Err(NarrowError::Sealed)));
}

#[test]
fn nothing_is_widened_and_chains_are_bounded() {
    let root = root().narrowed(with(|it| it.rights.write = false)).unwrap();
    let widened = root.narrowed(scope());
    assert!(matches!(
        widened,
        Err(NarrowError::Widened(Widening::Rights))
    ));
    // Also not by whoever leaves the check out.
    let mut forged = root.clone();
    let signer = SecretKey::from_seed(forged.secret.as_ref().unwrap());
    let wide = forged.resigned(&signer, scope());
    assert_eq!(
        wide.verify(&facts()),
        Err(CapabilityRefusal::Widened {
            block: 2,
            what: Widening::Rights
        })
    );
    forged = root;
    while forged.blocks.len() < LeaseCapability::BLOCKS_MAX {
        let least = *forged.scope().unwrap();
        forged = forged.narrowed(least).unwrap();
    }
    assert_eq!(forged.verify(&facts()), Ok(()));
    assert!(forged.encode().len() <= LeaseCapability::BYTES_MAX);
    let least = *forged.scope().unwrap();
    assert!(matches!(forged.narrowed(least), Err(NarrowError::TooLong)));
    assert!(forged.to_string().parse::<LeaseCapability>().is_ok());
}

impl LeaseCapability {
    /// With one more block that `signer` signs, whatever it says.
    fn resigned(&self, signer: &SecretKey, scope: RegionScope) -> Self {
        let mut longer = Self {
            secret: Some(signer.expose_seed()),
            ..self.clone()
        };
        // A block that narrows to itself is appended, then changed and signed again.
        let same = *longer.scope().unwrap();
        let appended = longer.narrowed(same).unwrap();
        longer.blocks.push(Block {
            scope,
            ..appended.blocks.last().unwrap().clone()
        });
        let message = longer.message_of_last();
        longer.blocks.last_mut().unwrap().signature = signer.sign(&message);
        longer.secret = appended.secret;
        longer
    }
}

#[test]
fn each_refusal_has_its_own_reason() {
    let good = root()
        .narrowed(with(|it| it.audience = Audience::Node(node(7))))
        .unwrap();
    let refuse = |change: fn(&mut CapabilityFacts<'_>)| {
        let mut facts = facts();
        change(&mut facts);
        good.verify(&facts).unwrap_err()
    };
    let fabric = FabricId::from_bytes([9; 32]);
    assert_eq!(
        refuse(|it| it.fabric = FabricId::from_bytes([9; 32])),
        CapabilityRefusal::OtherFabric {
            found: subject().fabric,
            here: fabric
        }
    );
    assert_eq!(
        refuse(|it| it.host = node(9)),
        CapabilityRefusal::OtherHost {
            found: node(5),
            here: node(9)
        }
    );
    let lease = subject().lease;
    assert_eq!(
        refuse(|it| it.lease = None),
        CapabilityRefusal::NoLease(lease)
    );
    let other_asset = refuse(|it| it.lease.as_mut().unwrap().asset = asset(9));
    let found = subject().asset;
    assert_eq!(other_asset, CapabilityRefusal::OtherAsset { lease, found });
    assert_eq!(
        refuse(|it| it.presenter = node(8)),
        CapabilityRefusal::Replayed {
            audience: Audience::Node(node(7)),
            presenter: node(8)
        }
    );
    assert_eq!(
        refuse(|it| it.ledger_ms = 1_000),
        CapabilityRefusal::Expired {
            expires_ms: 1_000,
            ledger_ms: 1_000
        }
    );
    // The lease is another's: whoever had it before gave out nothing that lasts.
    let signer = SecretKey::from_seed(&[8; 32]).public();
    let forged = refuse(|it| {
        it.lease.as_mut().unwrap().holder = SecretKey::from_seed(&[8; 32]).public();
    });
    assert_eq!(forged, CapabilityRefusal::Forged { block: 0, signer });
    for id in good.ids() {
        let revoked = |found: &Digest| *found == id;
        let mut facts = facts();
        facts.revoked = &revoked;
        assert_eq!(good.verify(&facts), Err(CapabilityRefusal::Revoked(id)));
    }
}

#[test]
fn blocks_of_two_capabilities_are_not_mixed_and_none_is_taken_off() {
    let (one, two) = (root(), root());
    assert_ne!(one.ids(), two.ids(), "the nonce tells them apart");
    let narrow = with(|it| it.until = 8);
    let (mut first, second) = (one.narrowed(narrow).unwrap(), two.narrowed(narrow).unwrap());
    first.blocks[1] = second.blocks[1].clone();
    let signer = first.blocks[0].next;
    let refused = Err(CapabilityRefusal::Forged { block: 1, signer });
    assert_eq!(first.verify(&facts()), refused);
    // The wider one within it can be cut out, but whoever got the narrow one lacks its secret.
    let mut cut = one.narrowed(narrow).unwrap();
    cut.blocks.truncate(1);
    let bytes = cut.encode();
    let secret = DecodeCapabilityError::Content("a secret of another key");
    assert_eq!(LeaseCapability::decode(&bytes).map(|_| ()), Err(secret));
    let stranger = SecretKey::from_seed(&[9; 32]);
    let forged = cut.resigned(&stranger, scope());
    let signer = cut.blocks[0].next;
    let refused = Err(CapabilityRefusal::Forged { block: 1, signer });
    assert_eq!(forged.verify(&facts()), refused);
}

/// People hold capabilities as text: a change here makes them worthless.
#[test]
fn bytes_and_text_are_pinned() {
    let block = |number: u8, audience| Block {
        scope: RegionScope {
            audience,
            ..scope()
        },
        next: SecretKey::from_seed(&[number; 32]).public(),
        signature: Signature::from_bytes([number; 64]),
    };
    let capability = LeaseCapability {
        subject: subject(),
        blocks: vec![
            block(1, Audience::Member),
            block(2, Audience::Node(node(7))),
        ],
        secret: Some(Zeroizing::new([2; 32])),
    };
    let bytes = capability.encode();
    let mut expected = vec![1];
    expected.extend([2; 32]);
    expected.push(1);
    expected.extend([[3; 32], [4; 32], [5; 32]].as_flattened());
    expected.extend([6; 16]);
    expected.push(2);
    for (number, audience) in [(1, vec![0]), (2, [vec![1], vec![7; 32]].concat())] {
        expected.push(7);
        expected.extend([0; 8]);
        expected.extend([0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 3, 0xe8]);
        expected.extend(audience);
        expected.extend(SecretKey::from_seed(&[number; 32]).public().as_bytes());
        expected.extend([number; 64]);
    }
    expected.push(1);
    expected.extend([2; 32]);
    assert_eq!(*bytes, expected);
    let text = capability.to_string();
    assert_eq!(Digest::of(text.as_bytes()).hex(), PINNED_TEXT, "{text}");
    assert_eq!(capability.id().unwrap().hex(), PINNED_ID);
    let read: LeaseCapability = format!(" {text}\n").parse().unwrap();
    assert_eq!(*read.encode(), expected);
    let shown = format!("{read:?}");
    assert!(
        !shown.contains("2, 2") && !shown.contains("0202"),
        "{shown}"
    );
}

const PINNED_TEXT: &str = "152c50c6fb1154bcd3c472d8cfd1c993082360324d531938474f744d41d29944";
const PINNED_ID: &str = "b909a8d1efc53076b0bef8b1744874a83dff8d6beacac9c5b6eedd873f773ddc";

#[test]
fn any_mistyped_character_is_noticed_and_strangers_are_told() {
    let text = root().to_string();
    assert!(text.len() < 560, "{}", text.len());
    for at in 4..text.len() {
        let other = if &text[at..=at] == "b" { "c" } else { "b" };
        let changed = [&text[..at], other, &text[at + 1..]].concat();
        let refused = changed.parse::<LeaseCapability>().map(|_| ()).unwrap_err();
        assert_eq!(refused, DecodeCapabilityError::Mistyped, "{at}");
    }
    let refuse = |text: &str| text.parse::<LeaseCapability>().map(|_| ()).unwrap_err();
    assert_eq!(refuse("hm1abc"), DecodeCapabilityError::NotACapability);
    let endless = format!("hmc1{}", "a".repeat(1 << 20));
    assert_eq!(refuse(&endless), DecodeCapabilityError::Mistyped);
    assert_eq!(
        refuse(&text.to_ascii_uppercase()),
        DecodeCapabilityError::NotACapability
    );
    let mut newer = root().encode();
    newer[0] = 2;
    let newer = LeaseCapability::decode(&newer).map(|_| ()).unwrap_err();
    assert_eq!(newer, DecodeCapabilityError::Version(2));
}

proptest! {
    /// One changed byte, anywhere: refused, or the signatures do not hold.
    #[test]
    fn no_byte_can_be_changed(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let good = root().narrowed(scope()).unwrap().sealed();
        let mut bytes = good.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(changed) = LeaseCapability::decode(&bytes) {
            prop_assert_eq!(&*changed.encode(), &*bytes, "one form");
            prop_assert!(changed.verify(&facts()).is_err());
        }
    }

    #[test]
    fn what_decodes_encodes_to_the_same(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(read) = LeaseCapability::decode(&bytes) {
            prop_assert_eq!(&*read.encode(), &bytes);
        }
    }
}

#[test]
fn a_key_that_is_no_point_signs_nothing() {
    let mut odd = root();
    odd.blocks[0].next = PublicKey::from_bytes([0xff; 32]);
    let forged = odd.verify(&facts());
    assert!(matches!(
        forged,
        Err(CapabilityRefusal::Forged { block: 0, .. })
    ));
}
