//! The seam to other nodes: bounded queues of messages between peers, who is connected, and whom
//! the ledger blames. Names no transport and reads no message.
//!
//! [`links`] makes two ends. [`Links`] goes into [`crate::Config`]; whoever carries the messages
//! keeps the [`Carrier`]. Messages may be lost, doubled and reordered between nodes, and a queue
//! that is full drops: everything above asks again. What must hold is that a message comes from
//! the peer that is named as its sender.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ledger::{BLOCK_BYTES_MAX, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX};
use tokio::sync::watch;
use types::NodeId;

use crate::blame::{Blame, Blocklist};
use crate::queue::{Limits, Queue};
use crate::time::Time;

/// Longest message of blocks: a full block, its header, its lengths, a certificate, and framing.
/// A test compares it with what the engine may send.
pub const BLOCK_MESSAGE_BYTES_MAX: usize = BLOCK_BYTES_MAX + (32 << 10);
/// Longest message of votes, certificates and tips: a certificate of a hundred validators fits.
pub const SMALL_MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Longest message of state: four of the largest entries, or the ends of some fifty epochs.
pub const STATE_MESSAGE_BYTES_MAX: usize = 4 * VALUE_BYTES_MAX + (32 << 10);

/// Messages that may wait in one direction of one channel, of all peers together.
const QUEUE_MESSAGES_MAX: usize = 4096;
/// Messages of one peer among them: a peer that floods takes only its own share.
const QUEUE_PEER_MESSAGES_MAX: usize = 512;
/// Bytes that may wait where blocks go by: what one repair asks for at once, if all are full.
const BLOCK_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bytes that may wait where transactions or parts of the state go by: the pool holds no more.
const TRANSACTION_QUEUE_BYTES_MAX: usize = 16 << 20;
/// Bytes that may wait on the other channels.
const SMALL_QUEUE_BYTES_MAX: usize = 8 << 20;
/// One peer may have this part of a queue's bytes, which is at least one message.
const PEER_PART: usize = 4;

const fn limits(bytes: usize) -> Limits {
    Limits {
        messages: QUEUE_MESSAGES_MAX,
        bytes,
        peer_messages: QUEUE_PEER_MESSAGES_MAX,
        peer_bytes: bytes / PEER_PART,
    }
}

/// What a message is about. The numbers are part of the protocol between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// Votes of validators; unused while a fabric has one.
    Votes = 0,
    /// Certificates of rounds, among validators; unused while a fabric has one.
    Certificates = 1,
    /// Questions after certificates, among validators; unused while a fabric has one.
    Resolver = 2,
    /// Questions after final blocks, and the answers.
    Backfill = 3,
    /// Candidate blocks.
    Broadcast = 4,
    /// The last final block of a peer, with its certificate.
    Tip = 5,
    /// A signed transaction on its way to the validators.
    Transactions = 6,
    /// Questions of a node that is far behind after the state, and the answers.
    State = 7,
}

impl Channel {
    /// Every channel, by number.
    pub const ALL: [Self; 8] = [
        Self::Votes,
        Self::Certificates,
        Self::Resolver,
        Self::Backfill,
        Self::Broadcast,
        Self::Tip,
        Self::Transactions,
        Self::State,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Votes => 0,
            Self::Certificates => 1,
            Self::Resolver => 2,
            Self::Backfill => 3,
            Self::Broadcast => 4,
            Self::Tip => 5,
            Self::Transactions => 6,
            Self::State => 7,
        }
    }

    /// The channel of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.number() == number)
    }

    const fn is_about_votes(self) -> bool {
        matches!(self, Self::Votes | Self::Certificates | Self::Resolver)
    }

    /// Longest message on this channel, bytes.
    #[must_use]
    pub const fn message_bytes_max(self) -> usize {
        match self {
            Self::Backfill | Self::Broadcast => BLOCK_MESSAGE_BYTES_MAX,
            Self::State => STATE_MESSAGE_BYTES_MAX,
            Self::Transactions => TRANSACTION_BYTES_MAX,
            Self::Votes | Self::Certificates | Self::Resolver | Self::Tip => {
                SMALL_MESSAGE_BYTES_MAX
            }
        }
    }

    const fn queue_bytes_max(self) -> usize {
        match self {
            Self::Backfill | Self::Broadcast => BLOCK_QUEUE_BYTES_MAX,
            Self::Transactions | Self::State => TRANSACTION_QUEUE_BYTES_MAX,
            Self::Votes | Self::Certificates | Self::Resolver | Self::Tip => SMALL_QUEUE_BYTES_MAX,
        }
    }
}

/// A message on its way to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// For whom.
    pub peer: NodeId,
    /// On which channel.
    pub channel: Channel,
    /// The message; at most [`Channel::message_bytes_max`].
    pub bytes: Bytes,
    /// Whether it goes before those that are not.
    pub priority: bool,
}

/// Why a message was not taken. It is lost, which every channel tolerates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// The channel's queue, or this peer's share of it, is full.
    #[error("too many messages of this channel wait")]
    Full,
    /// The peer is not in the set of connected members.
    #[error("the sender is not among the connected members")]
    NotAMember,
    /// A message about votes between two nodes that do not both vote.
    #[error("only validators send messages about votes, to each other")]
    NotAVoter,
    /// The peer is blocked: close its sessions.
    #[error("the sender is blocked")]
    Blocked,
    /// No message of this channel is that long; the peer is blocked now.
    #[error("a message of {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What the channel carries.
        bytes_max: usize,
    },
    /// The ledger has stopped.
    #[error("the ledger has stopped")]
    Closed,
}

/// Makes the two ends of a node's links.
#[must_use]
pub fn links() -> (Links, Carrier) {
    links_in(Time::default())
}

/// The same, for a node with a time of its own.
pub(crate) fn links_in(time: Time) -> (Links, Carrier) {
    let (members, members_seen) = watch::channel(BTreeSet::new());
    let (blocklist, blocked) = Blocklist::new(time.clone());
    let wires = Arc::new(Wires {
        time,
        outgoing: Queue::new(limits(BLOCK_QUEUE_BYTES_MAX)),
        inboxes: Channel::ALL.map(|channel| Queue::new(limits(channel.queue_bytes_max()))),
        members: members_seen,
        blocklist,
        heard: Mutex::default(),
        voters: RwLock::default(),
    });
    let carrier = Carrier {
        outbound: Outbound {
            wires: wires.clone(),
        },
        inbound: Inbound {
            wires: wires.clone(),
        },
        members,
        blocked,
    };
    (Links { wires }, carrier)
}

/// The ledger's end. When it goes, the carrier's queues close.
#[derive(Debug)]
pub struct Links {
    pub(crate) wires: Arc<Wires>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.wires.outgoing.close();
        for inbox in &self.wires.inboxes {
            inbox.close();
        }
    }
}

/// The end of whoever carries messages between nodes. Its parts may be moved to where they are
/// used.
#[derive(Debug)]
pub struct Carrier {
    /// What the ledger sends.
    pub outbound: Outbound,
    /// Where what peers send is handed in.
    pub inbound: Inbound,
    /// The members that are connected, without this node. Put a peer in before its first message
    /// is handed in; take it out when its last session is gone.
    pub members: watch::Sender<BTreeSet<NodeId>>,
    /// The peers that the ledger blames, each with why. Their messages are refused and nothing is
    /// sent to them; close their sessions. A block ends by itself.
    pub blocked: watch::Receiver<BTreeMap<NodeId, Blame>>,
}

/// What the ledger sends.
#[derive(Debug)]
pub struct Outbound {
    wires: Arc<Wires>,
}

impl Outbound {
    /// The next message, urgent ones first; `None` once the ledger has stopped. Hand it to the
    /// peer's session, and drop it where that cannot take it: waiting here would hold up others.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Outgoing> {
        let next = self.wires.outgoing.pop().await;
        next.map(|(peer, (channel, bytes, priority))| Outgoing {
            peer,
            channel,
            bytes,
            priority,
        })
    }
}

/// Where messages of peers are handed in.
#[derive(Clone, Debug)]
pub struct Inbound {
    wires: Arc<Wires>,
}

impl Inbound {
    /// Hands in a message that `peer`, whose identity is proven, sent. Never waits.
    ///
    /// # Errors
    /// [`DeliverError`]; the message is lost then.
    pub fn deliver(
        &self,
        peer: NodeId,
        channel: Channel,
        bytes: Bytes,
    ) -> Result<(), DeliverError> {
        let wires = &self.wires;
        if wires.blocklist.holds(&peer) {
            return Err(DeliverError::Blocked);
        }
        if !wires.members.borrow().contains(&peer) {
            return Err(DeliverError::NotAMember);
        }
        if channel.is_about_votes() && !wires.may_vote(&peer) {
            return Err(DeliverError::NotAVoter);
        }
        let (length, bytes_max) = (bytes.len(), channel.message_bytes_max());
        if length > bytes_max {
            wires.blocklist.block(
                peer,
                Blame::TooLong {
                    channel,
                    bytes: length,
                },
            );
            return Err(DeliverError::TooLong {
                bytes: length,
                bytes_max,
            });
        }
        wires.note_heard(peer);
        let inbox = wires.inbox(channel);
        if inbox.is_closed() {
            return Err(DeliverError::Closed);
        }
        let taken = inbox.push(peer, length, bytes, false);
        taken.then_some(()).ok_or(DeliverError::Full)
    }
}

/// What both ends share.
#[derive(Debug)]
pub(crate) struct Wires {
    /// The node's time.
    pub(crate) time: Time,
    outgoing: Queue<(Channel, Bytes, bool)>,
    inboxes: [Queue<Bytes>; Channel::ALL.len()],
    pub(crate) members: watch::Receiver<BTreeSet<NodeId>>,
    pub(crate) blocklist: Blocklist,
    /// When each connected peer's last message came.
    heard: Mutex<BTreeMap<NodeId, Instant>>,
    /// Who may vote with this node; nobody, if it does not vote.
    voters: RwLock<BTreeSet<NodeId>>,
}

impl Wires {
    /// Says who may vote with this node from now on.
    pub(crate) fn let_vote(&self, voters: BTreeSet<NodeId>) {
        *self.voters.write().unwrap_or_else(PoisonError::into_inner) = voters;
    }

    /// Whether this node wants the votes of a peer.
    pub(crate) fn may_vote(&self, peer: &NodeId) -> bool {
        let voters = self.voters.read().unwrap_or_else(PoisonError::into_inner);
        voters.contains(peer)
    }

    /// The queue of what came in on `channel`.
    pub(crate) fn inbox(&self, channel: Channel) -> &Queue<Bytes> {
        let [
            votes,
            certificates,
            resolver,
            backfill,
            broadcast,
            tip,
            transactions,
            state,
        ] = &self.inboxes;
        match channel {
            Channel::Votes => votes,
            Channel::Certificates => certificates,
            Channel::Resolver => resolver,
            Channel::Backfill => backfill,
            Channel::Broadcast => broadcast,
            Channel::Tip => tip,
            Channel::Transactions => transactions,
            Channel::State => state,
        }
    }

    /// Remembers that a connected peer sent something.
    fn note_heard(&self, peer: NodeId) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.insert(peer, self.time.now()).is_none() {
            // Peers that went away make room when another one comes.
            let members = self.members.borrow();
            heard.retain(|peer, _| members.contains(peer));
        }
    }

    /// How long a peer that was heard before has been silent.
    pub(crate) fn silent_for(&self, peer: &NodeId) -> Option<Duration> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let last = heard.get(peer)?;
        Some(self.time.now().saturating_duration_since(*last))
    }

    /// Sends if there is room, and says whether there was.
    pub(crate) fn send(
        &self,
        peer: NodeId,
        channel: Channel,
        bytes: Bytes,
        priority: bool,
    ) -> bool {
        debug_assert!(bytes.len() <= channel.message_bytes_max());
        let length = bytes.len();
        self.outgoing
            .push(peer, length, (channel, bytes, priority), priority)
    }

    /// Whether `peer` is connected and not blocked.
    pub(crate) fn reaches(&self, peer: &NodeId) -> bool {
        self.members.borrow().contains(peer) && !self.blocklist.holds(peer)
    }

    /// The connected members that are not blocked.
    pub(crate) fn peers(&self) -> BTreeSet<NodeId> {
        let members = self.members.borrow().clone();
        members
            .into_iter()
            .filter(|peer| !self.blocklist.holds(peer))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use commonware_consensus::marshal::{max_payload_size, standard::Standard};
    use commonware_consensus::simplex::scheme::ed25519::Scheme;

    use super::*;

    /// What the engine may send must pass, or a fabric with a full block stands still.
    #[test]
    fn the_longest_message_of_the_engine_fits() {
        let engine = max_payload_size::<Standard<crate::block::Block>, Scheme>(100, &());
        for channel in [Channel::Backfill, Channel::Broadcast] {
            assert!(engine <= channel.message_bytes_max(), "{engine}");
            assert!(channel.message_bytes_max() <= channel.queue_bytes_max() / PEER_PART);
        }
    }

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    /// Nodes of different releases must agree about them.
    #[test]
    fn channels_have_these_numbers() {
        let numbers: Vec<_> = Channel::ALL
            .iter()
            .map(|channel| channel.number())
            .collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
        for channel in Channel::ALL {
            assert_eq!(Channel::from_number(channel.number()), Some(channel));
        }
        assert_eq!(Channel::from_number(8), None);
    }

    #[tokio::test]
    async fn only_members_are_heard_and_a_long_message_blocks_its_sender() {
        let (links, carrier) = links();
        let deliver = |peer, bytes: usize| {
            let bytes = vec![0; bytes].into();
            carrier.inbound.deliver(peer, Channel::Tip, bytes)
        };
        assert_eq!(deliver(node(1), 1), Err(DeliverError::NotAMember));
        carrier.members.send_replace([node(1), node(2)].into());
        assert_eq!(deliver(node(1), 1), Ok(()));
        assert_eq!(
            links.wires.inbox(Channel::Tip).pop().await.unwrap().0,
            node(1)
        );
        let long = SMALL_MESSAGE_BYTES_MAX + 1;
        assert!(matches!(
            deliver(node(1), long),
            Err(DeliverError::TooLong { .. })
        ));
        assert_eq!(deliver(node(1), 1), Err(DeliverError::Blocked));
        assert!(carrier.blocked.borrow().contains_key(&node(1)));
        assert_eq!(links.wires.peers(), [node(2)].into());
        drop(links);
        assert_eq!(deliver(node(2), 1), Err(DeliverError::Closed));
    }

    #[tokio::test]
    async fn urgent_messages_overtake_and_a_stopped_ledger_ends_the_queue() {
        let (links, mut carrier) = links();
        let send = |byte: u8, priority| {
            let bytes = Bytes::from(vec![byte]);
            assert!(links.wires.send(node(1), Channel::Tip, bytes, priority));
        };
        send(1, false);
        send(2, true);
        send(3, false);
        let mut order = Vec::new();
        for _ in 0..3 {
            order.extend_from_slice(&carrier.outbound.next().await.unwrap().bytes);
        }
        assert_eq!(order, [2, 1, 3]);
        drop(links);
        assert_eq!(carrier.outbound.next().await, None);
    }
}
