//! The network of a committee of one: no peers, nothing sent, nothing received but this
//! validator's own votes of before. The adapter over STOQ will implement the same traits; the
//! engine cannot tell the two apart.

use std::convert::Infallible;
use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use commonware_actor::{Feedback, Unreliable};
use commonware_cryptography::ed25519::PublicKey;
use commonware_glue::stateful::db::AttachableResolver;
use commonware_p2p::{
    BlockedSubscription, Blocker, CheckedSender, LimitedSender, Message, PeerSetSubscription,
    PeerSetUpdate, Provider, Receiver, Recipients, TrackedPeers,
};
use commonware_runtime::{IoBuf, IoBufs};
use commonware_storage::qmdb::sync::{Request, Source, source};
use commonware_utils::NZUsize;
use commonware_utils::channel::{mpsc, ring};
use commonware_utils::ordered::Set;
use tokio::sync::mpsc as own;

use crate::application::Runtime;
use crate::block::Digest;
use crate::state::{Databases, Db, Family, Operation};

/// Everything the engine asks of a network: one pair of ends for each of its channels, who the
/// peers are, and whom to shun.
pub(crate) struct Network<S, R, P, B> {
    pub(crate) agreement: Agreement<S, R>,
    pub(crate) delivery: Delivery<S, R>,
    pub(crate) peers: P,
    pub(crate) blocker: B,
}

/// Channels of voting; votes and certificates go first when a link is full.
pub(crate) struct Agreement<S, R> {
    pub(crate) votes: (S, R),
    pub(crate) certificates: (S, R),
    pub(crate) resolver: (S, R),
}

/// Channels of blocks.
pub(crate) struct Delivery<S, R> {
    pub(crate) broadcast: (S, R),
    pub(crate) backfill: (S, R),
}

/// The network of a validator that is its fabric's only one.
pub(crate) type SoleNetwork = Network<NoRecipients, Loopback, SolePeerSet, NobodyToBlock>;

impl SoleNetwork {
    /// The network in which `me` is the whole committee; what is put into the sender arrives as
    /// a vote of its own.
    pub(crate) fn sole(me: PublicKey) -> (Self, own::Sender<IoBuf>) {
        let channel = || {
            (
                NoRecipients,
                Loopback {
                    me: me.clone(),
                    messages: None,
                },
            )
        };
        let (sender, messages) = own::channel(1);
        let votes = Loopback {
            me: me.clone(),
            messages: Some(messages),
        };
        let network = Self {
            agreement: Agreement {
                votes: (NoRecipients, votes),
                certificates: channel(),
                resolver: channel(),
            },
            delivery: Delivery {
                broadcast: channel(),
                backfill: channel(),
            },
            peers: SolePeerSet {
                me: me.clone(),
                subscribers: Arc::default(),
            },
            blocker: NobodyToBlock {
                subscribers: Arc::default(),
            },
        };
        (network, sender)
    }
}

/// A sender with nobody to send to: it reports that it reached no one, which is the truth.
#[derive(Clone, Debug)]
pub(crate) struct NoRecipients;

impl LimitedSender for NoRecipients {
    type PublicKey = PublicKey;
    type Checked<'a> = Self;

    fn check(&mut self, _: Recipients<PublicKey>) -> Result<Self, SystemTime> {
        Ok(Self)
    }
}

impl CheckedSender for NoRecipients {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        Vec::new()
    }

    fn send(self, _: impl Into<IoBufs> + Send, _: bool) -> Unreliable<Feedback> {
        Unreliable::new(Feedback::Ok)
    }
}

/// A receiver that nobody but this validator itself can reach.
#[derive(Debug)]
pub(crate) struct Loopback {
    me: PublicKey,
    messages: Option<own::Receiver<IoBuf>>,
}

impl Receiver for Loopback {
    type Error = Infallible;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Infallible> {
        if let Some(messages) = &mut self.messages {
            if let Some(message) = messages.recv().await {
                return Ok((self.me.clone(), message));
            }
            self.messages = None;
        }
        pending().await
    }

    fn capacity(&self) -> NonZeroUsize {
        NZUsize!(1)
    }
}

/// The peer set that holds this validator only and never changes.
#[derive(Clone, Debug)]
pub(crate) struct SolePeerSet {
    me: PublicKey,
    /// Kept open: to a subscriber a closed channel means that the network is gone.
    subscribers: Arc<Mutex<Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>>>,
}

impl SolePeerSet {
    fn peers(&self) -> TrackedPeers<PublicKey> {
        TrackedPeers::primary(Set::from_iter_dedup([self.me.clone()]))
    }
}

impl Provider for SolePeerSet {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, _: u64) -> Option<TrackedPeers<PublicKey>> {
        Some(self.peers())
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let update = PeerSetUpdate {
            index: 0,
            latest: self.peers(),
            all: self.peers(),
        };
        // The receiver is held here, so the channel is open.
        let _ = sender.send(update);
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| !subscriber.is_closed());
        subscribers.push(sender);
        receiver
    }
}

/// A blocker with nobody to block.
#[derive(Clone, Debug)]
pub(crate) struct NobodyToBlock {
    /// Kept open, as in [`SolePeerSet`].
    subscribers: Arc<Mutex<Vec<ring::Sender<Set<PublicKey>>>>>,
}

impl Blocker for NobodyToBlock {
    type PublicKey = PublicKey;

    fn block(&mut self, peer: PublicKey) -> Feedback {
        tracing::error!(%peer, "the engine blames a peer, but this validator has none");
        Feedback::Ok
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        let (sender, receiver) = ring::channel(NZUsize!(1));
        sender.send_lossy(Set::default());
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| !subscriber.is_closed());
        subscribers.push(sender);
        receiver
    }
}

/// The source of state for a newcomer where there is nobody to ask. A validator that founded its
/// fabric never asks. (The engine's own source carries operations of one fixed size only, and
/// ours vary; the source for joiners is our own, over STOQ.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoStatePeers;

/// The answer of [`NoStatePeers`].
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this validator has no peer that could serve state")]
pub(crate) struct NobodyServes;

impl Source for NoStatePeers {
    type Family = Family;
    type Digest = Digest;
    type Op = Operation;
    type Error = NobodyServes;

    async fn serve(&self, _: Request<Family>) -> source::Result<Self> {
        Err(NobodyServes)
    }
}

impl<E: Runtime> AttachableResolver<Db<E>> for NoStatePeers {
    async fn attach_database(&self, _: Databases<E>) {}
}
