//! The fixed bounds of every endpoint and session, each with its reason. None can be set.

use std::time::Duration;

use crate::proto::Rate;

/// Most live sessions of one endpoint. An idle one costs tens of kilobytes; what is planned for
/// is a hundred thousand.
pub const SESSIONS_MAX: usize = 100_000;

/// Handshakes that are under way at once, from the first packet to the hello. Each costs a
/// signature and a key exchange, so more would only make all of them late.
pub const HANDSHAKES_MAX: usize = 256;

/// From this many handshakes on, newcomers prove their address first: one round trip more, and
/// forged source addresses cost nothing any more.
pub const HANDSHAKES_UNPROVEN_MAX: usize = 64;

/// Of [`HANDSHAKES_MAX`], those that only peers with a session now or of late may have: strangers
/// that hold all other places do not keep members out.
pub const HANDSHAKES_OF_KNOWN: usize = 64;

/// Handshakes of strangers that begin. The TLS of each takes up to 150 us of the threads that serve
/// sessions: 6 % of one core, and never more than 2 ms in a row. Others wait in their place, those
/// in the last one for half a second.
pub const STARTS_OF_STRANGERS: Rate = Rate {
    per_second: 400,
    burst: 16,
};

/// First packets of handshakes, of which a client hello takes two, from all strangers together.
/// Before TLS each costs about 10 us, for its keys and the request to prove the address: 1 % of one
/// core. The burst is what hundreds of nodes send when they all come back at once.
pub const FIRSTS_OF_STRANGERS: Rate = Rate {
    per_second: 1_000,
    burst: 1_024,
};

/// First packets from one IPv4 address or one network of IPv6 with 64 bits: a tenth of what
/// strangers have, so one sender keeps nobody out; the burst is a site whose nodes all come back.
pub const FIRSTS_OF_SOURCE: Rate = Rate {
    per_second: 100,
    burst: 512,
};

/// First packets from the address and port of a peer that has or had a session: some attempts at
/// once, and one every second for as long as they fail.
pub const FIRSTS_OF_KNOWN: Rate = Rate {
    per_second: 8,
    burst: 32,
};

/// Packets that go on with a handshake: a dialler sends about three, [`HANDSHAKES_MAX`] are under
/// way. They bear an id that this endpoint gave, so senders under forged addresses have none; if
/// somebody repeats one, it costs some percent of one core.
pub const FIRSTS_FOLLOWING: Rate = Rate {
    per_second: 4_000,
    burst: 2_048,
};

/// Allowances of sources, 16 bytes each. More sources than that share some.
pub const SOURCES_MAX: usize = 1_024;

/// Addresses with an allowance of their own, about a hundred bytes each; the oldest are forgotten.
pub const KNOWN_MAX: usize = 4_096;

/// Bytes that wait for one connection that is not accepted yet: two packets of a client hello
/// with a post-quantum key share, and early data.
pub const INCOMING_BYTES_MAX: u64 = 64 << 10;

/// Bytes that wait for all connections that are not accepted yet.
pub const INCOMING_BYTES_TOTAL: u64 = 8 << 20;

/// Time for one handshake with hello, on either end: four round trips to the far side of the
/// earth, with one lost packet.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// Pause before the next address of a target is tried beside the ones before (RFC 8305).
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);

/// Addresses of one target that are tried: more are a mistake or an attack on others.
pub const DIAL_ADDRESSES_MAX: usize = 16;

/// How long a refused connection is kept so that the other end can read why.
pub const REFUSAL_LINGER: Duration = Duration::from_millis(500);

/// Silence after which a session is dead. NATs forget a mapping after 30 s or more.
pub const IDLE_TIME: Duration = Duration::from_secs(30);

/// Pause between packets of an idle session: three may be lost before it is dead, and NATs keep
/// their mapping.
pub const KEEP_ALIVE: Duration = Duration::from_secs(9);

/// How long a connection that lost to another of the same two nodes still serves its streams.
pub const RETIRED_TIME: Duration = Duration::from_secs(5);

/// How long a dial that lost to a connection in the other direction waits for that one.
pub const SURVIVOR_TIME: Duration = Duration::from_secs(2);

/// Streams of one peer at once, of all services.
pub const STREAMS_PER_PEER_MAX: u32 = 352;

/// Streams that a peer may open at first. QUIC keeps a place for each, used or not: all of them
/// would be 18 KiB more for every idle session. Half of these in use open the rest.
pub const STREAMS_PER_PEER_FIRST: u32 = 32;

/// Time for the header of a stream after the stream began. It comes with the first bytes.
pub const HEADER_TIME: Duration = Duration::from_secs(5);

/// Longest wait for a stream when the peer allows no more at the moment.
pub const OPEN_TIME: Duration = Duration::from_secs(30);

/// Inbound streams that wait for the one who serves them, per service. Then peers are told that
/// the service is busy.
pub const INBOUND_STREAMS_MAX: usize = 1_024;

/// Streams and datagrams of one peer that are taken in a row before others have their turn: what a
/// peer that floods puts before the next request of a quiet one.
pub const INBOUND_TURN: u32 = 2;

/// Inbound datagrams that wait for the one who serves them, per service. Then the newest is lost.
pub const INBOUND_DATAGRAMS_MAX: usize = 1_024;

/// Bytes of datagrams of one session that wait to be sent or taken.
pub const DATAGRAM_BYTES_MAX: usize = 1 << 20;

/// Bytes of one stream that the peer may send before they are read.
pub const STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// Bytes of all streams of one peer that are held before they are read.
pub const SESSION_WINDOW_BYTES: u32 = 32 << 20;

/// Bytes of all streams to one peer that are held until the peer has them.
pub const SEND_WINDOW_BYTES: u64 = 32 << 20;

/// Largest stream header or reply: a few numbers and a short text.
pub const HEADER_BYTES_MAX: usize = 512;

/// Largest frame about the session itself: the largest is a certificate chain.
pub const CONTROL_BYTES_MAX: usize = 24 << 10;

/// Certificates in a chain, and their bytes: a node shows one of about a kilobyte.
pub const CHAIN_CERTIFICATES_MAX: usize = 4;
/// Bytes of all certificates of a chain.
pub const CHAIN_BYTES_MAX: usize = 16 << 10;

/// Longest text of a refusal.
pub const REFUSAL_TEXT_BYTES_MAX: usize = 256;

/// New certificates that a peer may show within [`RENEWALS_TIME`]: one a day is usual, and each
/// costs a signature check.
pub const RENEWALS_MAX: u32 = 16;
/// The time for which [`RENEWALS_MAX`] counts.
pub const RENEWALS_TIME: Duration = Duration::from_secs(600);

/// Events that wait for a slow listener; then it misses the oldest and is told so.
pub const EVENTS_MAX: usize = 1_024;

/// First pause of a reconnection, and the largest.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Longest pause: a node that comes back is found within half a minute.
pub const BACKOFF_LAST: Duration = Duration::from_secs(30);

/// Buffers of the UDP socket. With the default of 208 KiB a burst of one round trip is lost
/// within the machine; 4 MiB lose none.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Largest packet that is tried on a path; what goes through is found out packet by packet.
/// quinn hands the system up to ten packets at once and UDP takes 65,507 bytes: beyond this they
/// vanish. Loopback and networks with jumbo frames carry twice as much with it.
pub const PACKET_BYTES_MAX: u16 = 6_500;

/// The size that every path of the Internet carries (RFC 9000, 14).
pub const PACKET_BYTES_FIRST: u16 = 1_200;

/// Largest window of a session, whatever its tier: what a peer that stalls can make this node
/// hold in each direction.
pub const SESSION_WINDOW_BYTES_MAX: u32 = 64 << 20;

/// Readings in a row that must agree before a tier changes.
pub const TIER_READINGS: u32 = 3;
/// Time over which they must agree.
pub const TIER_TIME: Duration = Duration::from_secs(5);
/// Pause between readings: three of them take [`TIER_TIME`].
pub const TIER_INTERVAL: Duration = Duration::from_millis(2_500);

/// Bits per second from which a path has shown something, though more was not asked of it: what
/// keeps sessions alive and the ledger going is far below.
pub const MEASURED_BITS_MIN: u64 = 1_000_000;
/// Packets that the loss of a path is reckoned of: enough for a few in a million to show. Beyond it,
/// those before count half.
pub const MEASURED_PACKETS_MAX: u64 = 1 << 20;

/// Tickets that are given after a handshake: a client takes one per resumption, and one may be
/// lost with a connection that ends at once.
pub const TICKETS_PER_HANDSHAKE: usize = 2;
/// Tickets given to all peers that are remembered: each holds a certificate chain.
pub const TICKETS_GIVEN_MAX: usize = 4_096;
/// Nodes of which tickets are kept.
pub const TICKETS_KEPT_NODES_MAX: usize = 1_024;

/// Largest request that travels with the first packets. More would wait for the peer's first
/// acknowledgement anyway.
pub const EARLY_BYTES_MAX: usize = 8 << 10;

/// Largest packet that is relayed: what every path carries, and no more, so that it fits into a
/// packet of the session with the relay on most paths.
pub const RELAYED_PACKET_BYTES_MAX: usize = PACKET_BYTES_FIRST as usize;

/// Pairs of nodes that one node relays for. A pair costs two streams and up to
/// [`RELAYED_PACKETS_WAITING_MAX`] packets each way.
pub const RELAYED_PAIRS_MAX: usize = 256;

/// Relayed connections that one node is an end of, under way ones as well.
pub const RELAYED_ENDS_MAX: usize = 1_024;

/// Bytes of relayed datagrams that wait for one session. Beyond this they are lost, as in any
/// router; datagrams of the node's own still have room.
pub const RELAYED_BYTES_WAITING_MAX: usize = 256 << 10;

/// Packets of one leg that wait for its stream, on paths whose datagrams are too small. Then the
/// newest is lost.
pub const RELAYED_PACKETS_WAITING_MAX: usize = 128;

/// Packets from relays that wait for the endpoint. Then the newest is lost.
pub const RELAYED_PACKETS_INBOUND_MAX: usize = 1_024;

/// Time for a relay to say that it carries, or not: two round trips to the far side of the earth,
/// with one lost packet.
pub const RELAY_OPEN_TIME: Duration = Duration::from_secs(3);

/// Pause before relays are asked beside a target's own addresses. A direct way is nearly always
/// found within it, and is better.
pub const RELAY_DELAY: Duration = Duration::from_secs(1);

/// Relays that are asked for one target, one after the other.
pub const RELAYS_ASKED_MAX: usize = 3;

/// Targets for which relays are remembered.
pub const RELAYS_KNOWN_MAX: usize = 1_024;

/// Pause between looks whether both ends of a pair still may: rights change rarely.
pub const RELAY_LOOK_PAUSE: Duration = Duration::from_secs(1);

/// How long a leg is kept after its connection has ended, so that the other end hears of it.
pub const RELAY_LINGER: Duration = Duration::from_millis(500);

/// First pause before a kept session tries to do without the relay; it doubles.
pub const RELAY_UPGRADE_FIRST: Duration = Duration::from_secs(2);
/// Longest of these pauses: each attempt costs a handshake at every address.
pub const RELAY_UPGRADE_LAST: Duration = Duration::from_secs(60);
