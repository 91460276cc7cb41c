//! Circuits: which leg a relayed packet belongs to, and where it goes from there. A leg is one
//! stream of a session with its datagrams; it ends at an address that only this endpoint knows, or
//! goes on as another leg. Knows nothing of what packets hold.

use std::collections::{HashMap, VecDeque};
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use bytes::{BufMut as _, Bytes, BytesMut};
use quinn::udp::RecvMeta;
use tokio::sync::mpsc;

use crate::bounds::{
    DATAGRAM_BYTES_MAX, RELAYED_BYTES_WAITING_MAX, RELAYED_ENDS_MAX, RELAYED_PACKET_BYTES_MAX,
    RELAYED_PACKETS_INBOUND_MAX, RELAYED_PACKETS_WAITING_MAX, RELAYED_PAIRS_MAX,
};
use crate::link::{Link, lock};
use crate::proto::{Grant, LEG_MAX, Service, TAG_BYTES, Tag};

/// The addresses at which relayed connections seem to be: 240.0.0.0/8 is reserved (RFC 1112, 4)
/// and nobody is reached there. They never leave this endpoint.
const PLACE_NET: u8 = 240;
const PLACE_PORT: u16 = 1;

/// Whether `address` is one at which a relayed connection seems to be.
pub(crate) fn is_place(address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = canonical(address) else {
        return false;
    };
    let [net, ..] = address.ip().octets();
    net == PLACE_NET
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What this endpoint carried for others since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relayed {
    /// Pairs of nodes that it relays for now.
    pub pairs: usize,
    /// Packets that it took from one and gave to the other.
    pub packets: u64,
    /// Packets that travelled on streams, since the path takes no datagrams of their size; those
    /// of this node's own relayed sessions as well.
    pub packets_on_streams: u64,
    /// Packets that found no place in a queue, or were too large; of own sessions as well.
    pub packets_lost: u64,
}

#[derive(Debug, Default)]
struct Counts {
    packets: AtomicU64,
    on_streams: AtomicU64,
    lost: AtomicU64,
}

/// One end of a leg: where packets are handed to the other end.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) link: Arc<Link>,
    /// What stands before each packet that goes out.
    tag: Tag,
    /// Packets that go on the stream, with their lengths.
    stream: mpsc::Sender<Bytes>,
    counts: Arc<Counts>,
}

impl Leg {
    /// Sends a packet, or loses it.
    pub(crate) fn send(&self, packet: &[u8]) {
        if !self.try_send(packet) {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn try_send(&self, packet: &[u8]) -> bool {
        if packet.len() > RELAYED_PACKET_BYTES_MAX {
            return false;
        }
        let bytes = 1 + TAG_BYTES + packet.len();
        let connection = &self.link.connection;
        if connection.max_datagram_size().unwrap_or(0) < bytes {
            return self.try_send_on_stream(packet);
        }
        let waiting = DATAGRAM_BYTES_MAX.saturating_sub(connection.datagram_send_buffer_space());
        if waiting + bytes > RELAYED_BYTES_WAITING_MAX || !self.is_within_cap(bytes) {
            return false;
        }
        let mut datagram = BytesMut::with_capacity(bytes);
        datagram.put_u8(Service::Relay.number());
        datagram.put_slice(&self.tag.to_bytes());
        datagram.put_slice(packet);
        connection.send_datagram(datagram.freeze()).is_ok()
    }

    fn try_send_on_stream(&self, packet: &[u8]) -> bool {
        let Ok(length) = u16::try_from(packet.len()) else {
            return false;
        };
        let mut framed = BytesMut::with_capacity(2 + packet.len());
        framed.put_u16_le(length);
        framed.put_slice(packet);
        let sent = self.stream.try_send(framed.freeze()).is_ok();
        if sent {
            self.counts.on_streams.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// An operator's cap on the peer holds for what is relayed to it, too. Streams wait for their
    /// turn; packets are lost, as a narrow path would lose them.
    fn is_within_cap(&self, bytes: usize) -> bool {
        match self.link.lane.grant(bytes, false) {
            Grant::Bytes(granted) if granted >= bytes => true,
            Grant::Bytes(granted) => {
                self.link.lane.give_back(granted);
                false
            }
            Grant::After(_) => false,
        }
    }
}

/// Where packets of a leg go.
#[derive(Debug, Clone)]
enum Next {
    /// To this endpoint, as from this address.
    Here(SocketAddr),
    /// To another leg: this node relays.
    Onward(Arc<Leg>),
}

/// All circuits of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Circuits {
    state: Mutex<State>,
    inbox: Mutex<Inbox>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct State {
    /// By connection and by the tag that is heard on it.
    legs: HashMap<(u64, Tag), Next>,
    places: HashMap<SocketAddr, Arc<Leg>>,
    places_given: u32,
    legs_opened: u32,
    pairs: usize,
}

/// Packets that came from relays, for the endpoint to take.
#[derive(Debug, Default)]
struct Inbox {
    packets: VecDeque<(SocketAddr, Bytes)>,
    waker: Option<Waker>,
}

/// A leg that ends here; it is forgotten when this is dropped.
#[derive(Debug)]
pub(crate) struct EndHere {
    circuits: Arc<Circuits>,
    heard: (u64, Tag),
    pub(crate) address: SocketAddr,
}

/// Two legs that are joined here; both are forgotten when this is dropped.
#[derive(Debug)]
pub(crate) struct Pair {
    circuits: Arc<Circuits>,
    heard: [(u64, Tag); 2],
}

impl Circuits {
    /// A number for a leg that this end opens.
    pub(crate) fn next_leg(&self) -> u32 {
        let mut state = lock(&self.state);
        state.legs_opened = state.legs_opened.wrapping_add(1);
        state.legs_opened & LEG_MAX
    }

    /// A leg over `link` that sends with `tag`; what comes out of the receiver goes on its stream.
    pub(crate) fn leg(&self, link: &Arc<Link>, tag: Tag) -> (Arc<Leg>, mpsc::Receiver<Bytes>) {
        let (stream, packets) = mpsc::channel(RELAYED_PACKETS_WAITING_MAX);
        let leg = Leg {
            link: link.clone(),
            tag,
            stream,
            counts: self.counts.clone(),
        };
        (Arc::new(leg), packets)
    }

    /// Ends a leg here, at an address of its own; `None` if there are too many.
    pub(crate) fn end_here(self: &Arc<Self>, leg: Arc<Leg>) -> Option<EndHere> {
        let heard = (leg.link.number, leg.tag.answer());
        let mut state = lock(&self.state);
        if state.places.len() >= RELAYED_ENDS_MAX || state.legs.contains_key(&heard) {
            return None;
        }
        let address = state.next_place();
        state.places.insert(address, leg);
        state.legs.insert(heard, Next::Here(address));
        Some(EndHere {
            circuits: self.clone(),
            heard,
            address,
        })
    }

    /// Joins two legs; `None` if there are too many pairs, or a number is taken.
    pub(crate) fn join(self: &Arc<Self>, legs: [&Arc<Leg>; 2]) -> Option<Pair> {
        let heard = legs.map(|leg| (leg.link.number, leg.tag.answer()));
        let mut state = lock(&self.state);
        let taken = heard.iter().any(|heard| state.legs.contains_key(heard));
        if taken || state.pairs >= RELAYED_PAIRS_MAX {
            return None;
        }
        state.pairs += 1;
        let [first, second] = legs;
        let [from_first, from_second] = heard;
        state.legs.insert(from_first, Next::Onward(second.clone()));
        state.legs.insert(from_second, Next::Onward(first.clone()));
        drop(state);
        Some(Pair {
            circuits: self.clone(),
            heard,
        })
    }

    /// The connection that carries what is sent to `address`, if a relayed one is there.
    pub(crate) fn carrier(&self, address: SocketAddr) -> Option<Arc<Link>> {
        Some(self.at(address)?.link.clone())
    }

    fn at(&self, address: SocketAddr) -> Option<Arc<Leg>> {
        if !is_place(address) {
            return None;
        }
        let state = lock(&self.state);
        state.places.get(&canonical(address)).cloned()
    }

    /// Sends packets of `segment` bytes each to a relayed connection, or loses them.
    pub(crate) fn send(&self, address: SocketAddr, packets: &[u8], segment: Option<usize>) {
        let Some(leg) = self.at(address) else {
            return;
        };
        for packet in packets.chunks(segment.unwrap_or(packets.len()).max(1)) {
            leg.send(packet);
        }
    }

    /// Takes a datagram that came over the connection `link`; whether it belongs to a leg.
    pub(crate) fn take_datagram(&self, link: u64, datagram: &Bytes) -> bool {
        let Some((tag, packet)) = Tag::split(datagram) else {
            return false;
        };
        let next = lock(&self.state).legs.get(&(link, tag)).cloned();
        match next {
            None => return false,
            Some(Next::Here(address)) => self.deliver(address, datagram.slice(TAG_BYTES..)),
            Some(Next::Onward(leg)) => self.forward(&leg, packet),
        }
        true
    }

    /// Hands a packet on to the other leg of a pair.
    pub(crate) fn forward(&self, leg: &Leg, packet: &[u8]) {
        self.counts.packets.fetch_add(1, Ordering::Relaxed);
        leg.send(packet);
    }

    /// Hands a packet to the endpoint, as from `address`.
    pub(crate) fn deliver(&self, address: SocketAddr, packet: Bytes) {
        let mut inbox = lock(&self.inbox);
        if inbox.packets.len() >= RELAYED_PACKETS_INBOUND_MAX {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        inbox.packets.push_back((address, packet));
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Fills `buffers` with packets from relays; how many. If there are none, the task is woken
    /// when there are.
    pub(crate) fn take(
        &self,
        context: &Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let mut inbox = lock(&self.inbox);
        let mut taken = 0;
        let mut places = buffers.iter_mut().zip(metas.iter_mut());
        while !inbox.packets.is_empty() {
            let Some((buffer, meta)) = places.next() else {
                break;
            };
            let Some((address, packet)) = inbox.packets.pop_front() else {
                break;
            };
            // The buffers hold the largest packet of the endpoint; legs carry smaller ones.
            let bytes = packet.len().min(buffer.len());
            for (place, byte) in buffer.iter_mut().zip(packet) {
                *place = byte;
            }
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (address, bytes, bytes);
            taken += 1;
        }
        if taken == 0 {
            match &mut inbox.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
        }
        taken
    }

    /// What was carried so far.
    pub(crate) fn relayed(&self) -> Relayed {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Relayed {
            pairs: lock(&self.state).pairs,
            packets: count(&self.counts.packets),
            packets_on_streams: count(&self.counts.on_streams),
            packets_lost: count(&self.counts.lost),
        }
    }
}

impl State {
    /// An address that no leg has: 16 million follow each other, and far fewer are in use.
    fn next_place(&mut self) -> SocketAddr {
        loop {
            self.places_given = self.places_given.wrapping_add(1);
            let [_, a, b, c] = self.places_given.to_be_bytes();
            let address = SocketAddr::from((Ipv4Addr::new(PLACE_NET, a, b, c), PLACE_PORT));
            if !self.places.contains_key(&address) {
                return address;
            }
        }
    }
}

impl Drop for EndHere {
    fn drop(&mut self) {
        let mut state = lock(&self.circuits.state);
        state.legs.remove(&self.heard);
        state.places.remove(&self.address);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let mut state = lock(&self.circuits.state);
        for heard in &self.heard {
            state.legs.remove(heard);
        }
        state.pairs -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_from_real_addresses() {
        let place = State::default().next_place();
        assert!(is_place(place));
        let SocketAddr::V4(v4) = place else {
            panic!("{place}");
        };
        let mapped = SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()));
        assert!(is_place(mapped));
        for real in ["127.0.0.1:1", "[::1]:1", "239.1.1.1:1", "[fd00::1]:1"] {
            assert!(!is_place(real.parse().unwrap()), "{real}");
        }
    }

    #[test]
    fn what_waits_for_the_endpoint_is_bounded_and_comes_in_order() {
        let circuits = Circuits::default();
        let place = lock(&circuits.state).next_place();
        let packet = |n: usize| Bytes::from(n.to_le_bytes().to_vec());
        for n in 0..RELAYED_PACKETS_INBOUND_MAX + 5 {
            circuits.deliver(place, packet(n));
        }
        assert_eq!(circuits.relayed().packets_lost, 5);
        let context = Context::from_waker(Waker::noop());
        let mut heard = Vec::new();
        loop {
            let mut space = [[0; 64]; 3];
            let mut buffers = space.each_mut().map(|space| IoSliceMut::new(space));
            let mut metas = [RecvMeta::default(); 3];
            let taken = circuits.take(&context, &mut buffers, &mut metas);
            if taken == 0 {
                break;
            }
            for (buffer, meta) in buffers.iter().zip(metas).take(taken) {
                assert_eq!(meta.addr, place);
                heard.push(Bytes::copy_from_slice(&buffer[..meta.len]));
            }
        }
        let sent: Vec<_> = (0..RELAYED_PACKETS_INBOUND_MAX).map(packet).collect();
        assert!(heard == sent);
    }
}
