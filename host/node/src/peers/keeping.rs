//! Sessions that are kept: members are dialled where they are known to be, again and again. Never
//! judges who answers.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use stoq::{Maintained, Target};
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::peers::Peers;
use crate::peers::book::Source;

/// Pause between attempts at the addresses of a ticket.
const ENTRANCE_PAUSE: Duration = Duration::from_secs(2);

/// A session that is kept, and where its peer is dialled.
pub(crate) struct Kept {
    addresses: Vec<SocketAddr>,
    maintained: Maintained,
}

impl Peers {
    /// Keeps a session with a peer from now on, dialled where it is known to be now.
    pub(crate) fn keep_session(&self, peer: NodeId) {
        let known = self.known(&peer);
        let addresses: Vec<_> = known.iter().map(|known| known.address).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = |kept: &Kept| kept.addresses == addresses;
        if kept.get(&peer).is_some_and(is_kept) {
            return;
        }
        let target = Target {
            node: Some(peer),
            addresses: addresses.clone(),
        };
        // A session that is there stays: the new one finds it.
        let maintained = self.endpoint.maintain(target);
        kept.insert(
            peer,
            Kept {
                addresses,
                maintained,
            },
        );
    }

    /// Dials the peers that are remembered; while there are none, the addresses of the ticket.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let known: Vec<_> = self.book().peers().copied().collect();
        for peer in known {
            self.keep_session(peer);
        }
        let entrances = self.book().entrances().to_vec();
        loop {
            if self.sessions().is_empty() && !entrances.is_empty() {
                let target = Target {
                    node: None,
                    addresses: entrances.clone(),
                };
                if let Err(error) = self.endpoint.dial(target).await {
                    tracing::info!("{error}");
                    self.dial_failed(&error);
                }
            }
            let errors: Vec<_> = {
                let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                let kept = kept.values();
                kept.filter_map(|kept| kept.maintained.last_error())
                    .collect()
            };
            for error in errors {
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
