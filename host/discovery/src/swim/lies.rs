//! A member that lies about others: what it can do, and what not.

use types::PublicKey;

use super::*;

const START_MS: u64 = 1_800_000_000_000;

fn id(seed: u8) -> NodeId {
    PublicKey::from_bytes([seed; 32])
}

fn incarnate(seed: u8, incarnation: u64) -> Incarnate {
    let node = id(seed);
    Incarnate { node, incarnation }
}

/// A datagram of the liar, node 2, to node 1.
fn lie(to: Incarnate, message: Message<Incarnate>, updates: &[Member<Incarnate>]) -> Vec<u8> {
    let header = Header {
        src: incarnate(2, START_MS),
        src_incarnation: 0,
        dst: to,
        message,
    };
    let mut bytes = Vec::new();
    PostcardCodec.encode_header(&header, &mut bytes).unwrap();
    let count = u16::try_from(updates.len()).unwrap();
    bytes.extend_from_slice(&count.to_be_bytes());
    for update in updates {
        PostcardCodec.encode_member(update, &mut bytes).unwrap();
    }
    bytes
}

/// Node 1, which has heard of the liar.
fn victim() -> Swim {
    let mut swim = Swim::new(id(1), START_MS, [7; 32]);
    swim.set_members(0, [1, 2, 3].map(id).into());
    let greeting = lie(incarnate(1, START_MS), Message::Gossip, &[]);
    swim.handle_datagram(0, id(2), &greeting);
    assert_eq!(swim.poll_effect(), Some(Effect::Up(id(2))));
    swim
}

#[test]
fn a_node_that_is_said_to_be_dead_is_another_one_at_once_and_not_too_often() {
    let mut swim = victim();
    let mut now_ms = RENEW_PAUSE_MS;
    let mut incarnations = vec![START_MS];
    for turn in 0..50 {
        let current = *swim.foca.identity();
        let dead = lie(current, Message::Gossip, &[Member::down(current)]);
        if turn < 25 {
            swim.handle_datagram(now_ms, id(2), &dead);
        }
        let undead = lie(*swim.foca.identity(), Message::TurnUndead, &[]);
        swim.handle_datagram(now_ms, id(2), &undead);
        incarnations.push(swim.foca.identity().incarnation);
        now_ms += RENEW_PAUSE_MS / 10;
    }
    incarnations.dedup();
    let expected: Vec<_> = (START_MS..START_MS + 6).collect();
    assert_eq!(incarnations, expected, "five in five pauses");
    assert!(
        swim.out.timers.len() < 100,
        "{} timers",
        swim.out.timers.len()
    );
}

#[test]
fn a_node_outranks_whatever_is_claimed_of_it() {
    let mut swim = victim();
    let now_ms = 5_000;
    let current = *swim.foca.identity();
    let latest = START_MS + now_ms + INCARNATION_AHEAD_MAX_MS;
    for (claimed, expected) in [
        (START_MS + 77, START_MS + 78),
        (latest + 1, START_MS + 78),
        (u64::MAX, START_MS + 78),
    ] {
        let claim = Member::alive(incarnate(1, claimed));
        let claim = lie(current, Message::Gossip, &[claim]);
        swim.handle_datagram(now_ms, id(2), &claim);
        assert_eq!(swim.foca.identity().incarnation, expected, "{claimed}");
    }
    let unbelievable = lie(incarnate(1, u64::MAX), Message::Gossip, &[]);
    swim.handle_datagram(2 * now_ms, id(2), &unbelievable);
    assert_eq!(swim.foca.identity().incarnation, START_MS + 78);
    // One that this node had before its clock was set back is outranked as well.
    let earlier = lie(incarnate(1, START_MS + 90), Message::Gossip, &[]);
    swim.handle_datagram(2 * now_ms, id(2), &earlier);
    assert_eq!(swim.foca.identity().incarnation, START_MS + 91);
    // And it is not talked into an incarnation of another that nobody could outrank.
    let current = *swim.foca.identity();
    let claim = Member::alive(incarnate(3, latest + 1));
    swim.handle_datagram(now_ms, id(2), &lie(current, Message::Gossip, &[claim]));
    assert!(!swim.liveness().contains_key(&id(3)));
    let claim = Member::alive(incarnate(3, latest));
    swim.handle_datagram(now_ms, id(2), &lie(current, Message::Gossip, &[claim]));
    assert_eq!(swim.liveness().get(&id(3)), Some(&Liveness::Alive));
}

#[test]
fn what_is_told_of_strangers_is_left_out() {
    let mut swim = victim();
    let current = *swim.foca.identity();
    let strangers: Vec<_> = (10..30)
        .map(|seed| Member::alive(incarnate(seed, 0)))
        .collect();
    swim.handle_datagram(10, id(2), &lie(current, Message::Feed, &strangers));
    assert_eq!(swim.liveness().len(), 1);
    let target = incarnate(9, 0);
    let probe_number = 0;
    let through = Message::PingReq {
        target,
        probe_number,
    };
    while swim.poll_effect().is_some() {}
    swim.handle_datagram(10, id(2), &lie(current, through, &[]));
    assert_eq!(swim.poll_effect(), None, "nothing is sent to a stranger");
}
