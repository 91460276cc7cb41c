//! Transactions on their way to the validators: takes those of peers into the pool, and sends a
//! node's own and passed-on ones until they are final or expired. Never decides what a
//! transaction does.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ledger::SignedTransaction;
use types::NodeId;

use crate::blame::Blame;
use crate::handle::{Role, Shared};
use crate::links::{Channel, Wires};

/// Passes transactions on for one run of the engine.
pub(crate) struct Relay {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wires: Arc<Wires>,
}

impl Relay {
    /// Takes transactions of peers into the pool, for ever. A waiting leader is woken by it.
    pub(crate) async fn take(&self) {
        let inbox = self.wires.inbox(Channel::Transactions);
        while let Some((peer, bytes)) = inbox.pop().await {
            // A peer that was blocked meanwhile must not cost another check of a signature.
            if self.wires.blocklist.holds(&peer) {
                continue;
            }
            match SignedTransaction::decode(&self.shared.fabric, &bytes) {
                Ok(transaction) => {
                    let height = self.shared.tip.borrow().height;
                    if transaction.transaction().expires_at > height {
                        self.shared
                            .pool
                            .offer(transaction, peer, self.wires.time.now());
                    }
                }
                // Whoever passes a transaction on checks it first.
                Err(error) => self
                    .wires
                    .blocklist
                    .block(peer, Blame::InvalidTransaction(error)),
            }
            // A signature was checked: others who share this thread have their turn.
            tokio::task::yield_now().await;
        }
        pending().await
    }

    /// Sends what waits in the pool, again and again with growing pauses, for ever. The pool of a
    /// validator that is alone is emptied by its own blocks.
    pub(crate) async fn send(&self) {
        let mut members = self.wires.members.clone();
        let mut office = self.shared.office.subscribe();
        loop {
            office.mark_unchanged();
            let peers = if self.shared.votes_alone() {
                BTreeSet::new()
            } else {
                self.wires.peers()
            };
            let next = if peers.is_empty() {
                None
            } else {
                self.send_due(&peers)
            };
            let wait = async {
                match next {
                    Some(next) => self.wires.time.sleep_until(next).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = members.changed() => {
                    if changed.is_err() {
                        return pending().await;
                    }
                    // Somebody new may be the one who reaches a validator.
                    if members.borrow_and_update().iter().any(|peer| !peers.contains(peer)) {
                        self.shared.pool.hurry(self.wires.time.now());
                    }
                }
                changed = office.changed() => {
                    if changed.is_err() {
                        return pending().await;
                    }
                    self.shared.pool.hurry(self.wires.time.now());
                }
                () = wait => {}
                () = self.shared.pool.wait_for_arrival(), if !peers.is_empty() => {}
            }
        }
    }

    /// Sends everything that is due and says when the next is.
    fn send_due(&self, peers: &BTreeSet<NodeId>) -> Option<Instant> {
        let in_office = self.shared.office.borrow().validators.clone();
        let validators: BTreeSet<_> = peers.intersection(&in_office).copied().collect();
        let to = if validators.is_empty() && self.shared.role() == Role::Follower {
            peers
        } else {
            &validators
        };
        let (due, next) = self.shared.pool.take_due(self.wires.time.now());
        for (transaction, origin) in due {
            // A validator has told the others itself.
            if origin.is_some_and(|origin| in_office.contains(&origin)) {
                continue;
            }
            let bytes = Bytes::copy_from_slice(transaction.bytes());
            for peer in to.iter().filter(|peer| Some(**peer) != origin) {
                self.wires
                    .send(*peer, Channel::Transactions, bytes.clone(), false);
            }
        }
        next
    }
}
