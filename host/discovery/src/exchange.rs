//! Which records go to whom, so that all members come to have the same ones. Never knows how a
//! message travels, nor what addresses are for.
//!
//! Rules: what is new goes on to a few peers at once; whoever meets a peer, and now and then anyway,
//! tells it which sequence of every record it has (a digest); a digest is answered with the records
//! that are newer here and a wish for those that are newer there; a wish is answered with records;
//! records are answered only by the next digest, if there were more than fit a message. A message
//! with one bad record is refused whole: no honest node passes one on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use types::{FabricId, NodeId};

use crate::record::{DecodeRecordError, Encoded, SignedRecord};
use crate::table::{Records, RefusedRecord, Taken};

/// Largest message: a digest of all records that are kept, or as many records as one may hold.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Records, or wishes, in one message.
const RECORDS_PER_MESSAGE_MAX: usize = 64;

/// Peers to which news goes at once: each passes it on, so a few reach all.
const PUSHED_TO: usize = 4;

/// Pause between digests to one peer by chance; they repair what pushing missed.
const ROUND_MS: u64 = 30_000;

/// Messages that wait to be fetched; the next digests make up for those that find no place.
const SENDINGS_MAX: usize = 256;

/// What travels. Canonical postcard.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Message {
    /// Every record that the sender has, by sequence.
    Digest(Vec<(NodeId, u64)>),
    /// Records.
    Records(Vec<Encoded>),
    /// The records of these nodes are wanted.
    Want(Vec<NodeId>),
}

/// A message to be sent to a peer, on a stream of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// To whom.
    pub to: NodeId,
    /// At most [`MESSAGE_BYTES_MAX`].
    pub message: Vec<u8>,
}

/// What a message brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Nodes whose record is another one now.
    pub news: Vec<NodeId>,
}

/// A message that is refused; nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadMessageError {
    /// Too long.
    #[error("a message about records has at most {MESSAGE_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// Not one message in its one encoding.
    #[error("these bytes are not one message about records")]
    Malformed,
    /// It holds a record that is none.
    #[error(transparent)]
    Record(#[from] DecodeRecordError),
}

/// The records of one node and their exchange with its peers.
#[derive(Debug)]
pub struct Exchange {
    fabric: FabricId,
    node: NodeId,
    records: Records,
    members: BTreeSet<NodeId>,
    peers: BTreeSet<NodeId>,
    rng: ChaCha8Rng,
    sendings: VecDeque<Sending>,
    next_round_ms: u64,
    /// The highest sequence of this node that others have.
    own_elsewhere: u64,
}

impl Exchange {
    /// No records and no peers yet.
    #[must_use]
    pub fn new(fabric: FabricId, node: NodeId, seed: [u8; 32]) -> Self {
        Self {
            fabric,
            node,
            records: Records::default(),
            members: BTreeSet::new(),
            peers: BTreeSet::new(),
            rng: ChaCha8Rng::from_seed(seed),
            sendings: VecDeque::new(),
            next_round_ms: 0,
            own_elsewhere: 0,
        }
    }

    /// The records that are known.
    #[must_use]
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// Who the members are from now on.
    pub fn set_members(&mut self, now_ms: u64, members: BTreeSet<NodeId>) {
        self.members = members;
        self.records.prune(&self.members, now_ms);
    }

    /// A member has a session with this node: both tell what they have.
    pub fn peer_up(&mut self, peer: NodeId) {
        self.peers.insert(peer);
        self.send_digest(peer);
    }

    /// A session is over.
    pub fn peer_down(&mut self, peer: &NodeId) {
        self.peers.remove(peer);
    }

    /// Takes this node's own record, which all others are to have.
    ///
    /// # Errors
    /// [`RefusedRecord`], for instance while this node is no member.
    pub fn publish(&mut self, now_ms: u64, own: SignedRecord) -> Result<Taken, RefusedRecord> {
        let taken = self.records.take(own, &self.members, now_ms)?;
        if taken == Taken::New {
            self.push(&[self.node], None);
        }
        Ok(taken)
    }

    /// What the sequence of this node's next record must exceed: others have one from before a
    /// restart after which the clock was set back.
    #[must_use]
    pub fn own_sequence(&self) -> u64 {
        let here = self.records.sequence(&self.node).unwrap_or(0);
        here.max(self.own_elsewhere)
    }

    /// Whether others have a record of this node that is newer than the one here.
    #[must_use]
    pub fn is_outranked(&self) -> bool {
        let here = self.records.sequence(&self.node).unwrap_or(0);
        self.own_elsewhere > here
    }

    /// Takes a message of a member.
    ///
    /// # Errors
    /// [`ReadMessageError`]: the peer is broken or lies.
    pub fn handle_message(
        &mut self,
        now_ms: u64,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<Heard, ReadMessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ReadMessageError::TooLong(bytes.len()));
        }
        let malformed = |_| ReadMessageError::Malformed;
        let message: Message = postcard::from_bytes(bytes).map_err(malformed)?;
        if postcard::to_allocvec(&message).map_err(malformed)? != bytes {
            return Err(ReadMessageError::Malformed);
        }
        match message {
            Message::Digest(entries) => self.answer_digest(from, &entries),
            Message::Want(nodes) => self.send_records(from, nodes),
            Message::Records(records) => return self.take_records(now_ms, from, records),
        }
        Ok(Heard::default())
    }

    /// Does what is due. To be called when [`Exchange::next_timeout`] has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if now_ms < self.next_round_ms {
            return;
        }
        self.next_round_ms = now_ms.saturating_add(ROUND_MS);
        self.records.prune(&self.members, now_ms);
        let peer = self.some_peers(1, None).pop();
        if let Some(peer) = peer {
            self.send_digest(peer);
        }
    }

    /// When something is due next, Unix milliseconds.
    #[must_use]
    pub const fn next_timeout(&self) -> u64 {
        self.next_round_ms
    }

    /// The next message to be sent.
    pub fn poll_sending(&mut self) -> Option<Sending> {
        self.sendings.pop_front()
    }

    fn answer_digest(&mut self, from: NodeId, entries: &[(NodeId, u64)]) {
        let theirs: BTreeMap<NodeId, u64> = entries.iter().copied().collect();
        let is_newer_here = |signed: &&SignedRecord| {
            let there = theirs.get(&signed.node());
            there.is_none_or(|sequence| *sequence < signed.record().sequence)
        };
        let newer = self.records.iter().filter(is_newer_here);
        let newer: Vec<NodeId> = newer.map(SignedRecord::node).collect();
        if !newer.is_empty() {
            self.send_records(from, newer);
        }
        let wanted = theirs.iter().filter(|(node, sequence)| {
            let here = self.records.sequence(node).unwrap_or(0);
            self.members.contains(*node) && here < **sequence
        });
        let wanted: Vec<NodeId> = wanted
            .map(|(node, _)| *node)
            .take(RECORDS_PER_MESSAGE_MAX)
            .collect();
        if !wanted.is_empty() {
            self.send(from, &Message::Want(wanted));
        }
    }

    fn send_records(&mut self, to: NodeId, nodes: Vec<NodeId>) {
        let found = nodes.iter().filter_map(|node| self.records.of(node));
        let records: Vec<Encoded> = found
            .take(RECORDS_PER_MESSAGE_MAX)
            .map(SignedRecord::encoded)
            .collect();
        if !records.is_empty() {
            self.send(to, &Message::Records(records));
        }
    }

    fn take_records(
        &mut self,
        now_ms: u64,
        from: NodeId,
        records: Vec<Encoded>,
    ) -> Result<Heard, ReadMessageError> {
        let is_full = records.len() >= RECORDS_PER_MESSAGE_MAX;
        let mut checked = Vec::with_capacity(records.len().min(RECORDS_PER_MESSAGE_MAX));
        for record in records.into_iter().take(RECORDS_PER_MESSAGE_MAX) {
            // A signature costs far more to check than to send.
            let known = self.records.sequence(record.node());
            if known.is_none_or(|known| known < record.sequence()) {
                checked.push(record.checked(&self.fabric)?);
            }
        }
        let mut news = Vec::new();
        for signed in checked {
            let (node, sequence) = (signed.node(), signed.record().sequence);
            if node == self.node {
                self.own_elsewhere = self.own_elsewhere.max(sequence);
                continue;
            }
            match self.records.take(signed, &self.members, now_ms) {
                Ok(Taken::New) => news.push(node),
                Ok(Taken::Known) => {}
                Err(refused) => {
                    tracing::debug!(node = %node.short(), "a record is not taken: {refused}");
                }
            }
        }
        if !news.is_empty() {
            self.push(&news, Some(from));
            if is_full {
                self.send_digest(from);
            }
        }
        Ok(Heard { news })
    }

    /// Sends news to a few peers.
    fn push(&mut self, news: &[NodeId], except: Option<NodeId>) {
        for peer in self.some_peers(PUSHED_TO, except) {
            let others = news.iter().copied().filter(|node| *node != peer);
            self.send_records(peer, others.collect());
        }
    }

    fn send_digest(&mut self, to: NodeId) {
        let records = self.records.iter();
        let entries = records.map(|signed| (signed.node(), signed.record().sequence));
        let digest = Message::Digest(entries.collect());
        self.send(to, &digest);
    }

    fn send(&mut self, to: NodeId, message: &Message) {
        if self.sendings.len() >= SENDINGS_MAX {
            return;
        }
        // Writing to memory does not fail, and every field has an encoding.
        if let Ok(message) = postcard::to_allocvec(message) {
            self.sendings.push_back(Sending { to, message });
        }
    }

    /// Some peers by chance, each at most once.
    fn some_peers(&mut self, count: usize, except: Option<NodeId>) -> Vec<NodeId> {
        let all = self.peers.iter().copied();
        let mut left: Vec<NodeId> = all.filter(|peer| Some(*peer) != except).collect();
        let mut chosen = Vec::new();
        while chosen.len() < count && !left.is_empty() {
            let among = u64::try_from(left.len()).unwrap_or(u64::MAX);
            let at = usize::try_from(self.rng.next_u64() % among).unwrap_or(0);
            chosen.push(left.swap_remove(at));
        }
        chosen
    }
}
