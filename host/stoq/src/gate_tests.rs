//! Tests of the gate by counts, on a clock that stands still until it is moved.

use super::*;

const KEY: u64 = 7;

fn first(id: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc0, 0, 0, 0, 1, u8::try_from(id.len()).unwrap()];
    packet.extend(id);
    packet.resize(1_200, 0);
    packet
}

fn stranger(number: u32) -> SocketAddr {
    let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
    SocketAddr::from((address, 4_000))
}

fn passed(gate: &Gate, tries: u32, source: impl Fn(u32) -> SocketAddr) -> u32 {
    let packet = first(&[1; 20]);
    let admitted = (0..tries).filter(|number| gate.admits(source(*number), &packet, packet.len()));
    u32::try_from(admitted.count()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_source_spends_its_own_and_leaves_the_rest_to_others() {
    let gate = Gate::new(KEY);
    assert_eq!(
        passed(&gate, 10_000, |_| stranger(1)),
        FIRSTS_OF_SOURCE.burst
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    let again = passed(&gate, 10_000, |_| stranger(1));
    assert_eq!(again, FIRSTS_OF_SOURCE.per_second);
    // Two sources share an allowance by chance, once in a thousand times; all of these do not.
    let others = passed(&gate, 16, |number| stranger(number + 2));
    assert!(others > 0, "others are heard");
}

#[tokio::test(start_paused = true)]
async fn sources_without_end_pass_no_more_than_all_strangers_may_and_the_known_still_do() {
    let gate = Gate::new(KEY);
    gate.know(stranger(0));
    let all = passed(&gate, 100_000, |number| stranger(number + 1));
    assert_eq!(all, FIRSTS_OF_STRANGERS.burst);
    let known = passed(&gate, 1_000, |_| stranger(0));
    assert_eq!(known, FIRSTS_OF_KNOWN.burst);
    tokio::time::advance(Duration::from_secs(1)).await;
    let all = passed(&gate, 100_000, |number| stranger(number + 1));
    assert_eq!(all, FIRSTS_OF_STRANGERS.per_second);
    let count = gate.count();
    let known = u64::from(FIRSTS_OF_KNOWN.burst);
    let strangers = FIRSTS_OF_STRANGERS.burst + FIRSTS_OF_STRANGERS.per_second;
    assert_eq!(count.taken, u64::from(strangers) + known);
    assert_eq!(count.lost, 201_000 - count.taken);
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_with_a_handshake_does_not_compete_with_what_begins_one() {
    let gate = Gate::new(KEY);
    let _ = passed(&gate, 100_000, stranger);
    let own = HashedConnectionIdGenerator::from_key(KEY).generate_cid();
    let packet = first(&own);
    let admitted = (0..100_000).filter(|_| gate.admits(stranger(1), &packet, packet.len()));
    assert_eq!(
        admitted.count(),
        usize::try_from(FIRSTS_FOLLOWING.burst).unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn packets_that_came_in_one_buffer_are_counted_each() {
    let gate = Gate::new(KEY);
    let packet = first(&[1; 8]);
    let eight = packet.repeat(8);
    let buffers = (0..1_000).filter(|_| gate.admits(stranger(1), &eight, packet.len()));
    let most = FIRSTS_OF_SOURCE.burst / 8;
    assert_eq!(buffers.count(), usize::try_from(most).unwrap());
}

#[tokio::test(start_paused = true)]
async fn packets_of_connections_and_noise_always_pass() {
    let gate = Gate::new(KEY);
    let _ = passed(&gate, 100_000, stranger);
    let handshake = [&[0xe0, 0, 0, 0, 1, 20][..], &[1; 100]].concat();
    let noise: [&[u8]; 6] = [
        &[],
        &[0xc0],
        &[0xc0, 0, 0, 0, 1],
        &[0x40; 50],
        &[0; 9],
        &handshake,
    ];
    for packet in noise {
        assert!(gate.admits(stranger(1), packet, packet.len()), "{packet:?}");
    }
    let cut = [0xc0, 0, 0, 0, 1, 255, 1];
    assert!(
        !gate.admits(stranger(1), &cut, cut.len()),
        "it is one of those, if a bad one"
    );
}

#[tokio::test(start_paused = true)]
async fn the_known_are_bounded_and_the_oldest_are_forgotten() {
    let gate = Gate::new(KEY);
    let more = u32::try_from(KNOWN_MAX).unwrap() + 10;
    for number in 0..more {
        gate.know(stranger(number));
        gate.know(stranger(number));
    }
    assert!(!gate.knows(stranger(9)) && gate.knows(stranger(10)));
    assert!(gate.knows(stranger(more - 1)));
    let state = lock(&gate.state);
    assert_eq!(
        (state.known.len(), state.order.len()),
        (KNOWN_MAX, KNOWN_MAX)
    );
}

#[test]
fn a_sender_of_ipv6_has_a_network() {
    let [one, two, other] = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"]
        .map(|text| network(text.parse().unwrap()));
    assert_eq!(one, two);
    assert_ne!(one, other);
}
