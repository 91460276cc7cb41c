//! Sessions that are kept: members are dialled where they are known to be, again and again. Never
//! judges who answers.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stoq::{DialError, Endpoint, Maintained, Target};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::peers::Peers;
use crate::peers::authority::{BLOCKED, Blocked};
use crate::peers::book::Source;

/// Pause between attempts at the addresses of a ticket.
const ENTRANCE_PAUSE: Duration = Duration::from_secs(2);
/// The same while a blocked peer answers there: somebody else may move in.
const BLOCKED_ENTRANCE_PAUSE: Duration = Duration::from_secs(60);

/// A session that is kept, and where its peer is dialled.
struct Kept {
    addresses: Vec<SocketAddr>,
    /// None while the peer is blocked: it is not dialled.
    maintained: Option<Maintained>,
}

/// The sessions that are kept, by peer.
pub(crate) struct Keeping {
    endpoint: Endpoint,
    blocked: Blocked,
    kept: Mutex<BTreeMap<NodeId, Kept>>,
}

impl Keeping {
    pub(crate) fn new(endpoint: Endpoint, blocked: Blocked) -> Self {
        Self {
            endpoint,
            blocked,
            kept: Mutex::default(),
        }
    }

    /// Keeps a session with a peer from now on, whenever it is not blocked.
    fn keep(&self, peer: NodeId, addresses: Vec<SocketAddr>) {
        let mut kept = self.lock();
        let same = kept
            .get(&peer)
            .is_some_and(|kept| kept.addresses == addresses && kept.maintained.is_some());
        // Whoever is blocked after this look is found in the table by `heed`.
        let is_blocked = self.blocked.borrow().contains_key(&peer);
        if same && !is_blocked {
            return;
        }
        // A session that is there stays: the new one finds it.
        let maintained = (!is_blocked).then(|| self.maintain(peer, &addresses));
        let now = Kept {
            addresses,
            maintained,
        };
        kept.insert(peer, now);
    }

    fn maintain(&self, peer: NodeId, addresses: &[SocketAddr]) -> Maintained {
        self.endpoint.maintain(Target {
            node: Some(peer),
            addresses: addresses.to_vec(),
        })
    }

    /// Ends the sessions of those who are blocked, and dials them only once they are not any more;
    /// until nobody can be blocked.
    pub(crate) async fn heed(self: Arc<Self>) {
        let mut blocked = self.blocked.clone();
        while blocked.changed().await.is_ok() {
            for (peer, kept) in &mut *self.lock() {
                let is_blocked = blocked.borrow().contains_key(peer);
                match &kept.maintained {
                    Some(_) if is_blocked => kept.maintained = None,
                    None if !is_blocked => {
                        kept.maintained = Some(self.maintain(*peer, &kept.addresses));
                    }
                    _ => {}
                }
            }
            let mut sessions = self.endpoint.sessions().into_iter();
            if sessions.any(|info| blocked.borrow().contains_key(&info.peer.id)) {
                self.endpoint.recheck();
            }
        }
    }

    /// Drops those who are `gone`, and says who it was.
    pub(crate) fn forget(&self, gone: impl Fn(&NodeId) -> bool) -> Vec<NodeId> {
        let mut kept = self.lock();
        let dropped = kept.extract_if(.., |peer, _| gone(peer));
        dropped.map(|(peer, _)| peer).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Why dials failed last.
    fn errors(&self) -> Vec<DialError> {
        let kept = self.lock();
        let kept = kept.values().filter_map(|kept| kept.maintained.as_ref());
        kept.filter_map(Maintained::last_error).collect()
    }

    /// The table is whole between any two statements, so a panic elsewhere leaves it sound.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    /// Keeps a session with a peer from now on, dialled where it is known to be now.
    pub(crate) fn keep_session(&self, peer: NodeId) {
        let known = self.known(&peer);
        let addresses = known.iter().map(|known| known.address).collect();
        self.kept.keep(peer, addresses);
    }

    /// Dials the peers that are remembered; while there are none, the addresses of the ticket.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let known: Vec<_> = self.book().peers().copied().collect();
        for peer in known {
            self.keep_session(peer);
        }
        let entrances = self.book().entrances().to_vec();
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            if self.sessions().is_empty() && !entrances.is_empty() && due <= now {
                let target = Target {
                    node: None,
                    addresses: entrances.clone(),
                };
                if let Err(error) = self.endpoint.dial(target).await {
                    tracing::info!("{error}");
                    if matches!(error, DialError::PeerRefused { code: BLOCKED, .. }) {
                        due = now + BLOCKED_ENTRANCE_PAUSE;
                    }
                    self.dial_failed(&error);
                }
            }
            for error in self.kept.errors() {
                self.dial_failed(&error);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ENTRANCE_PAUSE) => {}
            }
        }
    }

    /// Remembers where members are said to be, and dials them there.
    pub(crate) fn learn(&self, source: Source, said: &[(NodeId, Vec<SocketAddr>)]) {
        self.book().learn(source, said);
        for (peer, _) in said {
            if !self.book().of(peer).is_empty() {
                self.keep_session(*peer);
            }
        }
    }
}
