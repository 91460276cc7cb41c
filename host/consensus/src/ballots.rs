//! The channels of agreement as one epoch sees them: every message carries its epoch in front, so
//! that the engine of one epoch never hears another's. What comes early is kept until its engine
//! runs; who speaks of later epochs is ahead of this node. Never reads what follows the epoch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use commonware_actor::{Feedback, Unreliable};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{CheckedSender, LimitedSender, Message, Receiver, Recipients};
use commonware_runtime::IoBufs;
use tokio::sync::watch;
use types::NodeId;

use crate::config::{engine_key, public_key_bytes};
use crate::epochs::Epochs;
use crate::evidence::Vigilance;
use crate::handle::Shared;
use crate::links::{Channel, Wires};
use crate::network::{LinkReceiver, LinkSender, ToPeers};

/// Messages of the next epoch kept per channel: what some rounds of a hundred validators send.
const EARLY_MESSAGES_MAX: usize = 1024;
/// Messages of one peer among them.
const EARLY_PEER_MESSAGES_MAX: usize = 64;

/// A message of `epoch`, as it goes by.
pub(crate) fn of_epoch(epoch: u64, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(size_of::<u64>() + message.len());
    bytes.put_u64(epoch);
    bytes.put_slice(message);
    bytes.freeze()
}

/// Peers that spoke of later epochs than this node is in, and of which; whether it is true shows
/// when they are asked for what lies between.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    spoke: Mutex<Spoke>,
    /// Changes when a peer speaks of a later epoch than before.
    pub(crate) arrived: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Spoke {
    peers: BTreeMap<NodeId, u64>,
    /// The last announcement of each connected peer that could not be checked yet, with its epoch.
    announced: BTreeMap<NodeId, (u64, Bytes)>,
}

impl Ahead {
    /// Remembers what a peer spoke of.
    pub(crate) fn add(&self, peer: NodeId, epoch: u64) {
        let known = self.lock().peers.insert(peer, epoch);
        if known.is_none_or(|known| known < epoch) {
            self.arrived.send_replace(());
        }
    }

    /// The same of a peer whose announcement waits until its epoch is known: it may not be repeated.
    pub(crate) fn announced(&self, peer: NodeId, epoch: u64, announcement: Bytes) {
        self.lock().announced.insert(peer, (epoch, announcement));
        self.add(peer, epoch);
    }

    /// The announcements of `epoch` and before, which can be checked now.
    pub(crate) fn due(&self, epoch: u64) -> Vec<(NodeId, Bytes)> {
        let mut spoke = self.lock();
        let due = spoke.announced.extract_if(.., |_, (of, _)| *of <= epoch);
        due.map(|(peer, (_, announcement))| (peer, announcement))
            .collect()
    }

    /// Those who spoke of more than `epoch`.
    pub(crate) fn of(&self, epoch: u64) -> Vec<NodeId> {
        let peers = &mut self.lock().peers;
        peers.retain(|_, theirs| *theirs > epoch);
        peers.keys().copied().collect()
    }

    /// What each spoke of last.
    pub(crate) fn all(&self) -> Vec<(NodeId, u64)> {
        let peers = &self.lock().peers;
        peers.iter().map(|(peer, epoch)| (*peer, *epoch)).collect()
    }

    /// Forgets those who are not present.
    pub(crate) fn retain(&self, present: &BTreeSet<NodeId>) {
        let mut spoke = self.lock();
        spoke.peers.retain(|peer, _| present.contains(peer));
        spoke.announced.retain(|peer, _| present.contains(peer));
    }

    /// The tables are whole between any two statements, so a panic elsewhere leaves them sound.
    fn lock(&self) -> MutexGuard<'_, Spoke> {
        self.spoke.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages that came before their epoch, of one channel.
#[derive(Debug, Default)]
struct Early {
    epoch: u64,
    messages: VecDeque<(NodeId, Bytes)>,
}

/// The channels of agreement through all epochs of a run.
#[derive(Debug)]
pub(crate) struct Ballots {
    wires: Arc<Wires>,
    ahead: Arc<Ahead>,
    vigilance: Arc<Vigilance>,
    epochs: Epochs,
    early: [Arc<Mutex<Early>>; 3],
}

/// One channel's two ends in one epoch.
pub(crate) type Ends = (EpochSender, EpochReceiver);

/// What one epoch's engine sends and receives on.
pub(crate) struct Agreement {
    pub(crate) votes: Ends,
    pub(crate) certificates: Ends,
    pub(crate) resolver: Ends,
}

impl Ballots {
    pub(crate) fn over(shared: &Shared, epochs: &Epochs) -> Self {
        Self {
            wires: shared.wires.clone(),
            ahead: shared.ahead.clone(),
            vigilance: shared.vigilance.clone(),
            epochs: epochs.clone(),
            early: Default::default(),
        }
    }

    /// The channels of `epoch`. The receivers of the epoch before must be gone.
    pub(crate) fn of(&self, epoch: u64) -> Agreement {
        let [votes, certificates, resolver] = &self.early;
        Agreement {
            votes: self.ends(epoch, Channel::Votes, votes),
            certificates: self.ends(epoch, Channel::Certificates, certificates),
            resolver: self.ends(epoch, Channel::Resolver, resolver),
        }
    }

    fn ends(&self, epoch: u64, channel: Channel, early: &Arc<Mutex<Early>>) -> Ends {
        let sender = EpochSender {
            inner: LinkSender::new(&self.wires, channel),
            epoch,
        };
        let receiver = EpochReceiver {
            inner: LinkReceiver::new(&self.wires, channel),
            epoch,
            early: early.clone(),
            ahead: self.ahead.clone(),
            vigilance: (channel == Channel::Votes).then(|| self.vigilance.clone()),
            epochs: self.epochs.clone(),
        };
        (sender, receiver)
    }
}

/// Sends in one epoch.
#[derive(Clone, Debug)]
pub(crate) struct EpochSender {
    inner: LinkSender,
    epoch: u64,
}

impl LimitedSender for EpochSender {
    type PublicKey = PublicKey;
    type Checked<'a> = InEpoch<'a>;

    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<InEpoch<'_>, SystemTime> {
        let epoch = self.epoch;
        let peers = self.inner.check(recipients)?;
        Ok(InEpoch { peers, epoch })
    }
}

/// A sender that knows to whom.
pub(crate) struct InEpoch<'a> {
    peers: ToPeers<'a>,
    epoch: u64,
}

impl CheckedSender for InEpoch<'_> {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.peers.recipients()
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        let mut message: IoBufs = message.into();
        let bytes = message.copy_to_bytes(message.remaining());
        self.peers.send(of_epoch(self.epoch, &bytes), priority)
    }
}

/// Receives what is of one epoch.
#[derive(Debug)]
pub(crate) struct EpochReceiver {
    inner: LinkReceiver,
    epoch: u64,
    early: Arc<Mutex<Early>>,
    ahead: Arc<Ahead>,
    /// Who looks at votes, where they go by.
    vigilance: Option<Arc<Vigilance>>,
    epochs: Epochs,
}

impl EpochReceiver {
    /// Hands a message of this epoch on, once its votes were looked at.
    fn hand_on(&self, peer: PublicKey, message: Bytes) -> Message<PublicKey> {
        if let Some(vigilance) = &self.vigilance {
            vigilance.take_vote(&self.epochs, &public_key_bytes(&peer), message.clone());
        }
        (peer, message.into())
    }

    /// The next message that came before this engine ran.
    fn kept(&self) -> Option<(PublicKey, Bytes)> {
        let mut early = self.lock();
        if early.epoch != self.epoch {
            return None;
        }
        let (peer, message) = early.messages.pop_front()?;
        Some((engine_key(&peer)?, message))
    }

    /// Keeps what the next engine will want.
    fn keep(&self, epoch: u64, peer: NodeId, message: Bytes) {
        if epoch != self.epoch.saturating_add(1) {
            return;
        }
        let mut early = self.lock();
        if early.epoch != epoch {
            *early = Early {
                epoch,
                messages: VecDeque::new(),
            };
        }
        let of_peer = |(from, _): &&(NodeId, Bytes)| *from == peer;
        if early.messages.len() < EARLY_MESSAGES_MAX
            && early.messages.iter().filter(of_peer).count() < EARLY_PEER_MESSAGES_MAX
        {
            early.messages.push_back((peer, message));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Early> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver for EpochReceiver {
    type Error = Infallible;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Infallible> {
        if let Some((peer, message)) = self.kept() {
            return Ok(self.hand_on(peer, message));
        }
        loop {
            let (peer, message) = self.inner.recv().await?;
            let mut bytes: Bytes = message.into();
            // What is too short is of no epoch: the engine blames its sender.
            let Ok(epoch) = bytes.try_get_u64() else {
                return Ok((peer, bytes.into()));
            };
            match epoch.cmp(&self.epoch) {
                std::cmp::Ordering::Equal => return Ok(self.hand_on(peer, bytes)),
                // Of an epoch that is over.
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Greater => {
                    let node = public_key_bytes(&peer);
                    self.keep(epoch, node, bytes);
                    self.ahead.add(node, epoch);
                }
            }
        }
    }

    fn capacity(&self) -> NonZeroUsize {
        self.inner.capacity()
    }
}
