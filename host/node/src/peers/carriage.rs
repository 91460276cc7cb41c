//! Carries the ledger's messages over sessions. Reads none of them; what a session cannot take at
//! once is dropped, which the ledger tolerates.
//!
//! Each peer gets two streams from this node: one for small messages, one for blocks, so that a
//! block never stands in the way of a vote. A message is its channel (1 byte), its length (4 bytes,
//! little endian), its bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut as _, Bytes, BytesMut};
use consensus::{Blame, Carrier, Channel, DeliverError, Inbound, Outbound, Outgoing};
use stoq::{InboundStream, OpenOptions, RecvStream, Service, Session};
use tokio::sync::{mpsc, watch};
use types::NodeId;

use crate::peers::authority::is_stranger;

/// Version of the carriage on the wire.
pub(crate) const VERSION: u16 = 1;

/// Messages that may wait for one stream of one peer. Blocks are few and large, the rest small.
const SMALL_QUEUE_MAX: usize = 1_024;
const BLOCK_QUEUE_MAX: usize = 64;

/// Strangers that are given the ledger at once: newcomers, and members that were away.
const STRANGERS_MAX: usize = 64;

/// Transactions that a stranger may send while its session lasts: a newcomer has one, a member that
/// was away a few. Members are bounded by the ledger's pool.
const STRANGER_TRANSACTIONS_MAX: u32 = 16;

const HEADER_BYTES: usize = 5;

/// The peers that messages go to and come from.
#[derive(Debug)]
pub(crate) struct Carriage {
    members: watch::Sender<BTreeSet<NodeId>>,
    inbound: Inbound,
    peers: Mutex<HashMap<NodeId, Queues>>,
}

/// What waits for one peer's streams.
#[derive(Debug)]
struct Queues {
    small: mpsc::Sender<Outgoing>,
    blocks: mpsc::Sender<Outgoing>,
    is_stranger: bool,
    /// Transactions that came from it while it was a stranger.
    transactions: u32,
}

impl Carriage {
    /// Begins to carry. What the ledger blames peers for is seen in the second part of the result.
    pub(crate) fn start(carrier: Carrier) -> (Arc<Self>, watch::Receiver<BTreeMap<NodeId, Blame>>) {
        let Carrier {
            outbound,
            inbound,
            members,
            blocked,
        } = carrier;
        let carriage = Arc::new(Self {
            members,
            inbound,
            peers: Mutex::default(),
        });
        tokio::spawn(distribute(Arc::clone(&carriage), outbound));
        (carriage, blocked)
    }

    /// A peer has a session. Messages go to it until it is removed. Adding it again does nothing
    /// while its streams can be written.
    pub(crate) fn add(&self, session: &Session, is_stranger: bool) {
        let peer = session.peer().id;
        let (small, small_out) = mpsc::channel(SMALL_QUEUE_MAX);
        let (blocks, blocks_out) = mpsc::channel(BLOCK_QUEUE_MAX);
        let queues = Queues {
            small,
            blocks,
            is_stranger,
            transactions: 0,
        };
        {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            let is_writable = |queues: &Queues| !queues.small.is_closed();
            if peers.get(&peer).is_some_and(is_writable) {
                return;
            }
            let strangers = peers.values().filter(|queues| queues.is_stranger).count();
            if is_stranger && strangers >= STRANGERS_MAX && !peers.contains_key(&peer) {
                tracing::info!(peer = %peer.short(), "too many strangers read the ledger");
                return;
            }
            peers.insert(peer, queues);
        }
        self.members.send_modify(|members| {
            members.insert(peer);
        });
        tokio::spawn(write(session.clone(), small_out));
        tokio::spawn(write(session.clone(), blocks_out));
    }

    /// A peer's last session is gone.
    pub(crate) fn remove(&self, peer: &NodeId) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.remove(peer);
        drop(peers);
        self.members.send_modify(|members| {
            members.remove(peer);
        });
    }

    /// Whether a peer may send one more transaction.
    fn may_submit(&self, peer: &NodeId) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queues) = peers.get_mut(peer) else {
            return false;
        };
        queues.transactions = queues.transactions.saturating_add(1);
        !queues.is_stranger || queues.transactions <= STRANGER_TRANSACTIONS_MAX
    }

    /// A peer's standing may have changed.
    pub(crate) fn rank(&self, peer: &NodeId, is_stranger: bool) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queues) = peers.get_mut(peer) {
            queues.is_stranger = is_stranger;
        }
    }

    /// The peers that messages go to.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.keys().copied().collect()
    }

    /// Reads one stream of a peer to its end.
    pub(crate) async fn read(&self, stream: InboundStream) {
        let from = stream.session.peer();
        // A stream may be here before the news of its session.
        self.add(&stream.session, is_stranger(&from));
        let peer = from.id;
        if let Err(error) = self.read_messages(peer, stream.recv).await {
            tracing::debug!(peer = %peer.short(), "{error}");
            if matches!(
                error,
                ReadMessagesError::Refused(DeliverError::Blocked | DeliverError::TooLong { .. })
            ) {
                stream.session.close(&error.to_string());
            }
        }
    }

    async fn read_messages(
        &self,
        peer: NodeId,
        mut stream: RecvStream,
    ) -> Result<(), ReadMessagesError> {
        loop {
            let mut header = [0; HEADER_BYTES];
            stream.read_exact(&mut header).await?;
            let [number, length @ ..] = header;
            let channel = Channel::from_number(number);
            let channel = channel.ok_or(ReadMessagesError::Channel(number))?;
            let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
            if length > channel.message_bytes_max() {
                return Err(DeliverError::TooLong {
                    bytes: length,
                    bytes_max: channel.message_bytes_max(),
                }
                .into());
            }
            if channel == Channel::Transactions && !self.may_submit(&peer) {
                return Err(ReadMessagesError::Strangers);
            }
            let mut message = BytesMut::zeroed(length);
            stream.read_exact(&mut message).await?;
            match self.inbound.deliver(peer, channel, message.freeze()) {
                Ok(()) | Err(DeliverError::Full | DeliverError::NotAVoter) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The end of a stream of messages.
#[derive(Debug, thiserror::Error)]
enum ReadMessagesError {
    #[error("the stream of messages ended: {0}")]
    Stream(#[from] stoq::ReadError),
    #[error("a stranger sends more than {STRANGER_TRANSACTIONS_MAX} transactions")]
    Strangers,
    #[error("channel {0} is not known here")]
    Channel(u8),
    #[error(transparent)]
    Refused(#[from] DeliverError),
}

/// Gives each message to its peer's stream until the ledger stops.
async fn distribute(carriage: Arc<Carriage>, mut outbound: Outbound) {
    while let Some(message) = outbound.next().await {
        let peers = carriage
            .peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(queues) = peers.get(&message.peer) else {
            continue;
        };
        let queue = match message.channel {
            Channel::Backfill | Channel::Broadcast => &queues.blocks,
            _ => &queues.small,
        };
        // Full or gone: dropped, as the ledger expects of a slow peer.
        let _ = queue.try_send(message);
    }
}

/// Writes one peer's messages until the peer is removed or the session ends.
async fn write(session: Session, mut messages: mpsc::Receiver<Outgoing>) {
    let peer = session.peer().id;
    // Opened with the first message: a peer that is never written to costs no stream.
    let mut stream = None;
    while let Some(message) = messages.recv().await {
        let open = match stream.take() {
            Some(open) => open,
            None => match session
                .open(Service::Consensus, OpenOptions::default())
                .await
            {
                Ok((send, _replies)) => send,
                Err(error) => {
                    tracing::debug!(peer = %peer.short(), "{error}");
                    return;
                }
            },
        };
        let mut send = open;
        match send.write_chunk(frame(&message)).await {
            Ok(()) => stream = Some(send),
            // The peer gave the stream up, or the session is over, which the next one shows.
            Err(error) => tracing::debug!(peer = %peer.short(), "{error}"),
        }
    }
}

fn frame(message: &Outgoing) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + message.bytes.len());
    frame.put_u8(message.channel.number());
    frame.put_u32_le(u32::try_from(message.bytes.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&message.bytes);
    frame.freeze()
}
