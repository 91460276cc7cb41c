//! The network as the engine asks for it, over [`Links`](crate::Links): a sender and a receiver
//! for each of its channels, and who the peers are. Never reads a message.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Buf as _, Bytes};
use commonware_actor::{Feedback, Unreliable};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{
    CheckedSender, LimitedSender, Message, PeerSetSubscription, PeerSetUpdate, Provider, Receiver,
    Recipients, TrackedPeers,
};
use commonware_runtime::IoBufs;
use commonware_utils::NZUsize;
use commonware_utils::channel::mpsc;
use commonware_utils::ordered::Set;
use types::NodeId;

use crate::blame::Blamer;
use crate::config::{engine_key, public_key_bytes};
use crate::handle::Shared;
use crate::links::{Channel, Wires};
use crate::sync::StatePeers;

/// One channel's two ends.
pub(crate) type Ends = (LinkSender, LinkReceiver);

/// Channels of blocks and state.
pub(crate) struct Delivery {
    pub(crate) broadcast: Ends,
    pub(crate) backfill: Ends,
    pub(crate) state: StatePeers,
}

/// What the engine asks of a network beside agreement: each part goes to another actor.
pub(crate) fn network(shared: &Arc<Shared>, state: StatePeers) -> (Delivery, PeerSet, Blamer) {
    let wires = &shared.wires;
    let ends = |channel| {
        (
            LinkSender::new(wires, channel),
            LinkReceiver::new(wires, channel),
        )
    };
    let delivery = Delivery {
        broadcast: ends(Channel::Broadcast),
        backfill: ends(Channel::Backfill),
        state,
    };
    let peers = PeerSet::new(shared.clone());
    (delivery, peers, Blamer(wires.clone()))
}

/// Sends on one channel to whoever is connected; what does not fit is dropped.
#[derive(Clone, Debug)]
pub(crate) struct LinkSender {
    wires: Arc<Wires>,
    channel: Channel,
}

impl LinkSender {
    pub(crate) fn new(wires: &Arc<Wires>, channel: Channel) -> Self {
        let wires = wires.clone();
        Self { wires, channel }
    }
}

impl LimitedSender for LinkSender {
    type PublicKey = PublicKey;
    type Checked<'a> = ToPeers<'a>;

    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<ToPeers<'_>, SystemTime> {
        let connected = |peers: Vec<PublicKey>| {
            let peers = peers.iter().map(public_key_bytes);
            peers.filter(|peer| self.wires.reaches(peer)).collect()
        };
        let peers = match recipients {
            Recipients::All => self.wires.peers(),
            Recipients::Some(some) => connected(some),
            Recipients::One(one) => connected(vec![one]),
        };
        Ok(ToPeers {
            sender: self,
            peers,
        })
    }
}

/// A sender that knows to whom.
pub(crate) struct ToPeers<'a> {
    sender: &'a LinkSender,
    peers: BTreeSet<NodeId>,
}

impl CheckedSender for ToPeers<'_> {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.peers.iter().filter_map(engine_key).collect()
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        let mut message: IoBufs = message.into();
        let bytes: Bytes = message.copy_to_bytes(message.remaining());
        let LinkSender { wires, channel } = self.sender;
        let mut taken = self.peers.is_empty();
        for peer in self.peers {
            taken |= wires.send(peer, *channel, bytes.clone(), priority);
        }
        if taken {
            Unreliable::new(Feedback::Ok)
        } else {
            Unreliable::Rejected
        }
    }
}

/// Receives what came in on one channel.
#[derive(Debug)]
pub(crate) struct LinkReceiver {
    wires: Arc<Wires>,
    channel: Channel,
}

impl LinkReceiver {
    pub(crate) fn new(wires: &Arc<Wires>, channel: Channel) -> Self {
        let wires = wires.clone();
        Self { wires, channel }
    }
}

impl Receiver for LinkReceiver {
    type Error = Infallible;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Infallible> {
        loop {
            let Some((peer, bytes)) = self.wires.inbox(self.channel).pop().await else {
                // To the engine an error means a broken network; a stopping one is silent.
                return pending().await;
            };
            if let Some(peer) = engine_key(&peer) {
                return Ok((peer, bytes.into()));
            }
        }
    }

    fn capacity(&self) -> NonZeroUsize {
        let messages = self.wires.inbox(self.channel).messages_max();
        NonZeroUsize::new(messages).unwrap_or(NZUsize!(1))
    }
}

/// Who the peers are: this node and the connected members, validators before the others.
#[derive(Clone)]
pub(crate) struct PeerSet {
    shared: Arc<Shared>,
    inner: Arc<Mutex<Sets>>,
}

impl std::fmt::Debug for PeerSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PeerSet").field(&self.lock()).finish()
    }
}

#[derive(Debug, Default)]
struct Sets {
    /// Grows with every change: the engine takes no older set after a newer one.
    index: u64,
    /// Kept open: to a subscriber a closed channel means that the network is gone.
    subscribers: Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>,
}

impl PeerSet {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            inner: Arc::default(),
        }
    }

    /// Tells the engine of every change, for ever.
    pub(crate) async fn follow(&self) {
        let mut members = self.shared.wires.members.clone();
        let mut office = self.shared.office.subscribe();
        loop {
            tokio::select! {
                biased;
                changed = members.changed() => if changed.is_err() { return pending().await },
                changed = office.changed() => if changed.is_err() { return pending().await },
            }
            members.mark_unchanged();
            office.mark_unchanged();
            let mut sets = self.lock();
            sets.index += 1;
            let update = self.update(sets.index);
            // The engine keeps up with changes of who is connected: they are rare.
            sets.subscribers
                .retain(|subscriber| subscriber.send(update.clone()).is_ok());
        }
    }

    fn peers(&self) -> TrackedPeers<PublicKey> {
        let members = self.shared.wires.members.borrow().clone();
        let (mut primary, secondary): (BTreeSet<_>, BTreeSet<_>) = {
            let office = self.shared.office.borrow();
            members
                .into_iter()
                .partition(|peer| office.validators.contains(peer))
        };
        primary.insert(self.shared.me);
        let set =
            |peers: BTreeSet<NodeId>| Set::from_iter_dedup(peers.iter().filter_map(engine_key));
        TrackedPeers::new(set(primary), set(secondary))
    }

    fn update(&self, index: u64) -> PeerSetUpdate<PublicKey> {
        PeerSetUpdate {
            index,
            latest: self.peers(),
            all: self.peers(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sets> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provider for PeerSet {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, _: u64) -> Option<TrackedPeers<PublicKey>> {
        Some(self.peers())
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut sets = self.lock();
        // The receiver is held here, so the channel is open.
        let _ = sender.send(self.update(sets.index));
        sets.subscribers.push(sender);
        receiver
    }
}
