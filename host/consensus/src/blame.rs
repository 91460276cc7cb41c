//! Peers that did what no honest node does: who they are, why, and until when they are shunned.
//! Never decides what is honest.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::BlockedSubscription;
use commonware_utils::NZUsize;
use commonware_utils::channel::ring;
use commonware_utils::ordered::Set;
use ledger::DecodeTransactionError;
use tokio::sync::{Notify, watch};
use types::{FabricId, NodeId};

use crate::config::{engine_key, public_key_bytes};
use crate::links::Channel;
use crate::time::Time;

/// How long a peer is shunned: long enough that its lies cost this node next to nothing, short
/// enough that a node which was repaired comes back without anybody's help.
pub const PEER_BLOCKED_FOR: Duration = Duration::from_secs(10 * 60);
/// A peer that is blocked again and again is told of once, and then at most so often.
const BLAME_TOLD_EVERY: Duration = Duration::from_secs(10 * 60);
/// Peers remembered as blocked; beyond this the one whose block ends first is let go.
const BLOCKED_PEERS_MAX: usize = 1024;

/// Why a peer is shunned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blame {
    /// It follows another ledger.
    #[error("it belongs to fabric {theirs}, this node to {ours}")]
    OtherFabric {
        /// Its fabric.
        theirs: FabricId,
        /// This node's.
        ours: FabricId,
    },
    /// It announced a block that the validators did not make final, or not at that height.
    #[error("it announced height {height} with a certificate that does not hold")]
    FalseTip {
        /// The height that it announced.
        height: u64,
    },
    /// It answered a question with a block or a certificate that is not valid.
    #[error("it sent a block or a certificate that is not valid")]
    InvalidAnswer,
    /// It showed ends of epochs that do not hold.
    #[error("it showed an end of an epoch that does not hold: {0}")]
    FalseStanding(String),
    /// It sent a part of the state that does not belong to the state it was asked for.
    #[error("it sent a part of the state that is not valid")]
    FalseState,
    /// It passed on a transaction that no node may pass on.
    #[error("it passed on a transaction that is not valid: {0}")]
    InvalidTransaction(DecodeTransactionError),
    /// Its message cannot be read.
    #[error("it sent a message on {channel:?} that cannot be read")]
    Malformed {
        /// The channel.
        channel: Channel,
    },
    /// Its message is longer than any may be.
    #[error("it sent {bytes} bytes on {channel:?}")]
    TooLong {
        /// The channel.
        channel: Channel,
        /// The message's length.
        bytes: usize,
    },
}

/// Who is shunned now.
#[derive(Debug)]
pub(crate) struct Blocklist {
    time: Time,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    /// Who was told of, for the log; as bounded as the list itself.
    reported: BTreeMap<NodeId, Reported>,
    until: BTreeMap<NodeId, Instant>,
    told: watch::Sender<BTreeMap<NodeId, Blame>>,
    engine: Vec<ring::Sender<Set<PublicKey>>>,
}

/// What the log was told about a peer.
#[derive(Debug)]
struct Reported {
    at: Instant,
    /// How often it was blamed since.
    since: u64,
}

impl Blocklist {
    pub(crate) fn new(time: Time) -> (Self, watch::Receiver<BTreeMap<NodeId, Blame>>) {
        let (told, blocked) = watch::channel(BTreeMap::new());
        let inner = Inner {
            reported: BTreeMap::new(),
            until: BTreeMap::new(),
            told,
            engine: Vec::new(),
        };
        let list = Self {
            time,
            inner: Mutex::new(inner),
            changed: Notify::new(),
        };
        (list, blocked)
    }

    pub(crate) fn holds(&self, peer: &NodeId) -> bool {
        self.lock().until.contains_key(peer)
    }

    /// Shuns `peer` for [`PEER_BLOCKED_FOR`] from now.
    pub(crate) fn block(&self, peer: NodeId, blame: Blame) {
        let mut inner = self.lock();
        let now = self.time.now();
        match inner.report(peer, now) {
            Some(0) => tracing::warn!(%peer, %blame, "a peer is blocked"),
            Some(since) => tracing::warn!(
                %peer,
                %blame,
                "a peer is blocked, and was blamed {since} times since this was told last"
            ),
            None => tracing::debug!(%peer, %blame, "a peer is blocked"),
        }
        inner.until.insert(peer, now + PEER_BLOCKED_FOR);
        let mut dropped = None;
        if inner.until.len() > BLOCKED_PEERS_MAX {
            let first = inner.until.iter().min_by_key(|(_, until)| **until);
            dropped = first.map(|(peer, _)| *peer);
        }
        if let Some(dropped) = &dropped {
            inner.until.remove(dropped);
        }
        inner.told.send_modify(|told| {
            told.insert(peer, blame);
            if let Some(dropped) = dropped {
                told.remove(&dropped);
            }
        });
        inner.tell_engine();
        drop(inner);
        self.changed.notify_one();
    }

    pub(crate) fn watch(&self) -> watch::Receiver<BTreeMap<NodeId, Blame>> {
        self.lock().told.subscribe()
    }

    /// Lets peers go whose time is over, for ever.
    pub(crate) async fn expire(&self) {
        loop {
            let next = self.release(self.time.now());
            let wait = async {
                match next {
                    Some(next) => self.time.sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = wait => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Lets go whoever's block has ended at `now`, and says when the next one ends.
    fn release(&self, now: Instant) -> Option<Instant> {
        let mut inner = self.lock();
        let before = inner.until.len();
        inner.until.retain(|_, until| *until > now);
        if inner.until.len() < before {
            let Inner { until, told, .. } = &mut *inner;
            told.send_modify(|told| told.retain(|peer, _| until.contains_key(peer)));
            inner.tell_engine();
        }
        inner.until.values().min().copied()
    }

    /// The blocked set for the engine, now and whenever it changes.
    pub(crate) fn subscribe(&self) -> BlockedSubscription<PublicKey> {
        let (sender, receiver) = ring::channel(NZUsize!(1));
        let mut inner = self.lock();
        inner.engine.push(sender);
        inner.tell_engine();
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether the log is to be told that `peer` is blamed, and how often it was since the last time.
    fn report(&mut self, peer: NodeId, now: Instant) -> Option<u64> {
        if let Some(known) = self.reported.get_mut(&peer) {
            if now < known.at + BLAME_TOLD_EVERY {
                known.since += 1;
                return None;
            }
            known.at = now;
            return Some(std::mem::take(&mut known.since));
        }
        if self.reported.len() >= BLOCKED_PEERS_MAX {
            let oldest = self.reported.iter().min_by_key(|(_, told)| told.at);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.reported.remove(&oldest);
            }
        }
        let first = Reported { at: now, since: 0 };
        self.reported.insert(peer, first);
        Some(0)
    }

    fn tell_engine(&mut self) {
        self.engine.retain(|subscriber| !subscriber.is_closed());
        if self.engine.is_empty() {
            return;
        }
        let blocked = Set::from_iter_dedup(self.until.keys().filter_map(engine_key));
        for subscriber in &mut self.engine {
            subscriber.send_lossy(blocked.clone());
        }
    }
}

/// The engine's way to blame.
#[derive(Clone, Debug)]
pub(crate) struct Blamer(pub(crate) std::sync::Arc<crate::links::Wires>);

impl commonware_p2p::Blocker for Blamer {
    type PublicKey = PublicKey;

    fn block(&mut self, peer: PublicKey) -> commonware_actor::Feedback {
        self.0
            .blocklist
            .block(public_key_bytes(&peer), Blame::InvalidAnswer);
        commonware_actor::Feedback::Ok
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        self.0.blocklist.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    #[test]
    fn a_block_ends_and_says_so() {
        let (list, told) = Blocklist::new(Time::default());
        list.block(node(1), Blame::InvalidAnswer);
        let end = list.release(Instant::now()).unwrap();
        assert!(list.holds(&node(1)));
        assert_eq!(told.borrow().get(&node(1)), Some(&Blame::InvalidAnswer));
        assert_eq!(list.release(end), None);
        assert!(!list.holds(&node(1)));
        assert!(told.borrow().is_empty());
    }

    #[test]
    fn a_peer_is_told_of_once_and_then_with_a_count() {
        let (list, _told) = Blocklist::new(Time::default());
        let mut inner = list.lock();
        let begun = Instant::now();
        assert_eq!(inner.report(node(1), begun), Some(0));
        for second in 1..600 {
            let now = begun + Duration::from_secs(second);
            assert_eq!(inner.report(node(1), now), None);
        }
        assert_eq!(inner.report(node(2), begun), Some(0));
        let later = begun + BLAME_TOLD_EVERY;
        assert_eq!(inner.report(node(1), later), Some(599));
        assert_eq!(inner.report(node(1), later), None);
        let later = later + BLAME_TOLD_EVERY;
        assert_eq!(inner.report(node(1), later), Some(1));
        let count = u64::try_from(BLOCKED_PEERS_MAX).unwrap();
        for number in 0..2 * count {
            inner.report(node(number), later);
        }
        assert_eq!(inner.reported.len(), BLOCKED_PEERS_MAX);
    }

    #[test]
    fn the_list_is_bounded_and_lets_the_oldest_go() {
        let (list, told) = Blocklist::new(Time::default());
        let count = u64::try_from(BLOCKED_PEERS_MAX).unwrap() + 1;
        for number in 0..count {
            list.block(node(number), Blame::InvalidAnswer);
        }
        assert!(!list.holds(&node(0)));
        assert!(list.holds(&node(count - 1)));
        assert_eq!(told.borrow().len(), BLOCKED_PEERS_MAX);
    }
}
