//! A bounded queue of messages in which no peer can take the room of the others. Never reads a
//! message.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use types::NodeId;

/// What a queue may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) peer_messages: usize,
    pub(crate) peer_bytes: usize,
}

/// A queue with one reader.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    limits: Limits,
    inner: Mutex<Inner<T>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Inner<T> {
    urgent: VecDeque<Entry<T>>,
    ordinary: VecDeque<Entry<T>>,
    total: Share,
    shares: HashMap<NodeId, Share>,
    closed: bool,
}

#[derive(Debug)]
struct Entry<T> {
    peer: NodeId,
    bytes: usize,
    message: T,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    messages: usize,
    bytes: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        let inner = Inner {
            urgent: VecDeque::new(),
            ordinary: VecDeque::new(),
            total: Share::default(),
            shares: HashMap::new(),
            closed: false,
        };
        Self {
            limits,
            inner: Mutex::new(inner),
            arrived: Notify::new(),
        }
    }

    /// Takes a message of or for `peer` that counts `bytes`, and says whether it did: a queue
    /// that is full, or of which this peer has its share, drops it.
    pub(crate) fn push(&self, peer: NodeId, bytes: usize, message: T, urgent: bool) -> bool {
        let Limits {
            messages,
            bytes: bytes_max,
            peer_messages,
            peer_bytes,
        } = self.limits;
        let mut inner = self.lock();
        let share = inner.shares.get(&peer).copied().unwrap_or_default();
        let full = inner.total.messages >= messages
            || inner.total.bytes.saturating_add(bytes) > bytes_max
            || share.messages >= peer_messages
            || share.bytes.saturating_add(bytes) > peer_bytes;
        if full || inner.closed {
            return false;
        }
        inner.total.add(bytes);
        inner.shares.entry(peer).or_default().add(bytes);
        let entry = Entry {
            peer,
            bytes,
            message,
        };
        if urgent {
            inner.urgent.push_back(entry);
        } else {
            inner.ordinary.push_back(entry);
        }
        drop(inner);
        self.arrived.notify_one();
        true
    }

    /// The next message and whose it is, once there is one; `None` when the queue is closed.
    pub(crate) async fn pop(&self) -> Option<(NodeId, T)> {
        loop {
            if let Some(taken) = self.take() {
                return taken;
            }
            // A message that came since has left its mark, so the wait returns at once.
            self.arrived.notified().await;
        }
    }

    /// Drops what waits and takes nothing more.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.urgent.clear();
        inner.ordinary.clear();
        inner.shares.clear();
        drop(inner);
        self.arrived.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Messages that may wait: what stands behind this queue should hold as many.
    pub(crate) const fn messages_max(&self) -> usize {
        self.limits.messages
    }

    /// Outer `None`: nothing waits. Inner `None`: nothing ever will.
    fn take(&self) -> Option<Option<(NodeId, T)>> {
        let mut inner = self.lock();
        if inner.closed {
            return Some(None);
        }
        let entry = inner.urgent.pop_front();
        let Entry {
            peer,
            bytes,
            message,
        } = entry.or_else(|| inner.ordinary.pop_front())?;
        inner.total.remove(bytes);
        if let Some(share) = inner.shares.get_mut(&peer) {
            share.remove(bytes);
            if share.messages == 0 {
                inner.shares.remove(&peer);
            }
        }
        Some(Some((peer, message)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    const fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    const fn remove(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    #[tokio::test]
    async fn a_peer_that_floods_leaves_room_for_others() {
        let queue = Queue::new(Limits {
            messages: 8,
            bytes: 800,
            peer_messages: 4,
            peer_bytes: 300,
        });
        let flood = (0..10).filter(|index| queue.push(node(1), 1, *index, false));
        assert_eq!(flood.count(), 4);
        assert!(queue.push(node(2), 300, 20, false));
        assert!(!queue.push(node(2), 1, 21, false));
        assert!(queue.push(node(3), 300, 30, false));
        assert!(!queue.push(node(4), 300, 40, false), "all bytes are taken");
        let mut popped = Vec::new();
        for _ in 0..6 {
            popped.push(queue.pop().await.unwrap().1);
        }
        assert_eq!(popped, [0, 1, 2, 3, 20, 30]);
        assert!(queue.push(node(1), 1, 50, false), "room comes back");
    }
}
