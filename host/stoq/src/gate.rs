//! The gate: which first packets of handshakes QUIC is shown at all, so that a flood of them costs
//! a look at their header and nothing else. Knows addresses and times, not who is behind them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator as _, HashedConnectionIdGenerator};
use tokio::time::Instant;

use crate::bounds::{
    FIRSTS_FOLLOWING, FIRSTS_OF_KNOWN, FIRSTS_OF_SOURCE, FIRSTS_OF_STRANGERS, KNOWN_MAX,
    SOURCES_MAX,
};
use crate::circuit::is_place;
use crate::link::lock;
use crate::proto::Allowance;
use crate::socket::plain;

/// Bytes of the connection ids that this endpoint gives.
const OWN_ID_BYTES: usize = 8;
/// QUIC 1 (RFC 9000), the only version that is spoken.
const VERSION: [u8; 4] = [0, 0, 0, 1];

/// First packets of handshakes since the endpoint began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstPackets {
    /// Those that were taken, each of several of one handshake.
    pub taken: u64,
    /// Those beyond what is allowed: lost, as on a crowded way. Their senders try again.
    pub lost: u64,
}

/// What packets belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A connection, or nothing at all: cheap either way.
    Later,
    /// It begins a handshake.
    First,
    /// It goes on with a handshake, or comes back with proof of its address.
    Following,
}

/// Lets through what the rates allow.
pub(crate) struct Gate {
    ids: HashedConnectionIdGenerator,
    begun: Instant,
    hasher: RandomState,
    state: Mutex<State>,
}

struct State {
    strangers: Allowance,
    following: Allowance,
    /// One per source, or for a few that share it: a table that cannot be filled.
    sources: Vec<Allowance>,
    known: HashMap<SocketAddr, Allowance>,
    /// The known, the oldest first.
    order: VecDeque<SocketAddr>,
    count: FirstPackets,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// The gate of an endpoint whose connection ids are made with `id_key`.
    pub(crate) fn new(id_key: u64) -> Self {
        Self {
            ids: HashedConnectionIdGenerator::from_key(id_key),
            begun: Instant::now(),
            hasher: RandomState::new(),
            state: Mutex::new(State {
                strangers: Allowance::default(),
                following: Allowance::default(),
                sources: vec![Allowance::default(); SOURCES_MAX],
                known: HashMap::new(),
                order: VecDeque::new(),
                count: FirstPackets::default(),
            }),
        }
    }

    /// From now on first packets from exactly there have an allowance of their own: a peer with
    /// a session is or was there.
    pub(crate) fn know(&self, address: SocketAddr) {
        let address = plain(address);
        let state = &mut *lock(&self.state);
        if is_place(address) || state.known.contains_key(&address) {
            return;
        }
        if state.order.len() >= KNOWN_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.known.remove(&oldest);
        }
        state.order.push_back(address);
        state.known.insert(address, Allowance::default());
    }

    /// Whether a peer with a session is or was exactly there.
    pub(crate) fn knows(&self, address: SocketAddr) -> bool {
        lock(&self.state).known.contains_key(&plain(address))
    }

    pub(crate) fn count(&self) -> FirstPackets {
        lock(&self.state).count
    }

    /// Whether what came from `source`, packets of `stride` bytes each, may go on.
    pub(crate) fn admits(&self, source: SocketAddr, bytes: &[u8], stride: usize) -> bool {
        let (mut firsts, mut following) = (0, 0);
        for packet in bytes.chunks(stride.max(1)) {
            match self.kind(packet) {
                Kind::Later => {}
                Kind::First => firsts += 1,
                Kind::Following => following += 1,
            }
        }
        if firsts == 0 && following == 0 {
            return true;
        }
        let source = plain(source);
        let bucket = self.hasher.hash_one(network(source.ip()));
        let now = self.begun.elapsed();
        let state = &mut *lock(&self.state);
        let admitted = state.takes(source, bucket, firsts, now)
            && state.following.take(following, FIRSTS_FOLLOWING, now);
        let counted = u64::from(firsts) + u64::from(following);
        if admitted {
            state.count.taken += counted;
        } else {
            state.count.lost += counted;
        }
        admitted
    }

    /// By the header alone, which all versions of QUIC share (RFC 8999, 5.1).
    fn kind(&self, packet: &[u8]) -> Kind {
        let [first, rest @ ..] = packet else {
            return Kind::Later;
        };
        let Some((version, [id_bytes, rest @ ..])) = rest.split_first_chunk() else {
            return Kind::Later;
        };
        let is_long = first & 0x80 != 0;
        // Packets of an unknown version are answered, too.
        let is_first = *version != VERSION || first & 0x30 == 0;
        if !is_long || !is_first {
            return Kind::Later;
        }
        let id = rest.get(..usize::from(*id_bytes));
        let is_own = id.is_some_and(|id| {
            id.len() == OWN_ID_BYTES && self.ids.validate(&ConnectionId::new(id)).is_ok()
        });
        if is_own { Kind::Following } else { Kind::First }
    }
}

impl State {
    fn takes(&mut self, source: SocketAddr, bucket: u64, count: u32, now: Duration) -> bool {
        if count == 0 {
            return true;
        }
        if let Some(own) = self.known.get_mut(&source)
            && own.take(count, FIRSTS_OF_KNOWN, now)
        {
            return true;
        }
        let sources = u64::try_from(self.sources.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(bucket % sources.max(1)).unwrap_or(0);
        let own = self.sources.get_mut(index);
        own.is_some_and(|own| own.take(count, FIRSTS_OF_SOURCE, now))
            && self.strangers.take(count, FIRSTS_OF_STRANGERS, now)
    }
}

/// What one sender has: an IPv4 address, or a network of IPv6 (RFC 4291, 2.5.4).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
