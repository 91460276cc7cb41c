//! Notices that this node is too far behind, and lets a peer prove where the fabric stands. Never
//! takes a peer's word.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::Genesis;
use types::NodeId;

use super::asking::Asking;
use super::messages::{Answer, Page, Question};
use super::standing::{Climb, Standing, StandingError};
use crate::blame::Blame;
use crate::epochs::Epochs;
use crate::handle::Shared;
use crate::links::Channel;

/// How long a peer that could not prove what it announced is not asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(20);
/// Peers that were asked of late and proved nothing before what was missed is executed after all.
/// The first to announce may be the one that lies.
const ASKED_BEFORE_EXECUTING: usize = 3;

/// Watches for one run of the engine.
pub(crate) struct Behind<'a> {
    shared: &'a Arc<Shared>,
    epochs: &'a Epochs,
    asking: &'a Asking,
    genesis: &'a Genesis,
}

impl<'a> Behind<'a> {
    pub(crate) const fn of(
        shared: &'a Arc<Shared>,
        epochs: &'a Epochs,
        asking: &'a Asking,
        genesis: &'a Genesis,
    ) -> Self {
        Self {
            shared,
            epochs,
            asking,
            genesis,
        }
    }

    /// Returns once a peer has proven that this node is too far behind, not before `rest` is over.
    /// What it missed is not executed meanwhile, unless peers that are asked prove nothing.
    pub(crate) async fn watch(self, rest: Duration) -> Standing {
        let wires = &self.shared.wires;
        let mut heard = self.shared.heard.subscribe();
        let mut ahead = self.shared.ahead.arrived.subscribe();
        let (mut members, mut blocked) = (wires.members.clone(), wires.blocklist.watch());
        self.shared.executes.send_replace(!rest.is_zero());
        wires.time.sleep(rest).await;
        let mut asked = BTreeMap::new();
        loop {
            let now = wires.time.now();
            asked.retain(|_, until: &mut Instant| *until > now);
            if let Some(peer) = self.someone_above(&asked) {
                asked.insert(peer, now + ASKED_AGAIN);
                if let Some(standing) = self.proven_by(peer).await {
                    return standing;
                }
                if asked.len() >= ASKED_BEFORE_EXECUTING || self.someone_above(&asked).is_none() {
                    self.shared.executes.send_replace(true);
                }
                continue;
            }
            let again = async {
                match asked.values().min() {
                    Some(until) => wires.time.sleep_until(*until).await,
                    None => pending().await,
                }
            };
            let come_or_gone = async {
                // Nobody carries messages to a node that is alone.
                if members.changed().await.is_err() {
                    pending().await
                }
            };
            // The other senders are in `shared`.
            tokio::select! {
                biased;
                _ = heard.changed() => {}
                _ = ahead.changed() => {}
                () = come_or_gone => {}
                _ = blocked.changed() => {}
                () = again => {}
            }
        }
    }

    /// Where the fabric stands, if `peer` proves that it is too far above this node.
    async fn proven_by(&self, peer: NodeId) -> Option<Standing> {
        match self.climb(peer).await {
            Ok(standing) => {
                let standing =
                    standing.filter(|standing| self.shared.is_too_far(standing.height))?;
                tracing::info!(
                    height = standing.height,
                    behind = standing
                        .height
                        .saturating_sub(self.shared.tip.borrow().height),
                    "too far behind: the state is taken over from peers"
                );
                Some(standing)
            }
            Err(error) => {
                let blame = Blame::FalseStanding(error.to_string());
                self.shared.wires.blocklist.block(peer, blame);
                None
            }
        }
    }

    /// A connected peer that says it is that far ahead.
    fn someone_above(&self, asked: &BTreeMap<NodeId, Instant>) -> Option<NodeId> {
        let spoke = self.shared.ahead.all();
        let spoke = spoke.into_iter();
        let spoke = spoke.map(|(peer, epoch)| (peer, self.epochs.base(epoch)));
        let proved = self.shared.heard.borrow().heights();
        let proved = proved.into_iter();
        let proved = proved.map(|(peer, height)| (peer, self.epochs.end_before(height)));
        let above = spoke.chain(proved).filter(|(peer, height)| {
            self.shared.is_too_far(*height)
                && !asked.contains_key(peer)
                && self.shared.wires.reaches(peer)
        });
        above
            .max_by_key(|(_, height)| *height)
            .map(|(peer, _)| peer)
    }

    /// Asks one peer for everything between this node's last epoch and its own.
    async fn climb(&self, peer: NodeId) -> Result<Option<Standing>, StandingError> {
        let mut climb = {
            let known = self.shared.handovers.borrow();
            Climb::above(self.genesis, &known)?
        };
        let mut index = u64::try_from(self.shared.handovers.borrow().len()).unwrap_or(u64::MAX);
        loop {
            let answer = self.asking.ask(peer, Question::Standing(index)).await;
            let Some(Answer::Standing(bytes)) = answer else {
                return Ok(None);
            };
            let Ok(Page { handovers, end }) = Page::decode(bytes) else {
                let blame = Blame::Malformed {
                    channel: Channel::State,
                };
                self.shared.wires.blocklist.block(peer, blame);
                return Ok(None);
            };
            if handovers.is_empty() && end.is_none() {
                return Ok(None);
            }
            for handover in handovers {
                climb.take(handover)?;
                index += 1;
                // Signatures were checked: others who share this thread have their turn.
                tokio::task::yield_now().await;
            }
            if let Some(end) = end {
                return climb.top(end).map(Some);
            }
        }
    }
}
