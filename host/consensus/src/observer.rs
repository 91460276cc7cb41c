//! Watches voting from beside the engine: keeps what `status` shows, and the votes that the
//! engine recalls at a start. Never decides anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use commonware_actor::Feedback;
use commonware_codec::Encode as _;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Activity, Finalization, Vote};
use commonware_consensus::{Epochable as _, Reporter, Viewable as _};

use crate::block::Digest;
use crate::epochs::Epochs;
use crate::execution::Executions;
use crate::handle::Shared;

/// Votes kept for [`Observer::recalled`]: at most three per round, of the last rounds only.
const RECALLED_VOTES_MAX: usize = 8;

/// Sees what the engine reports, in order.
#[derive(Clone)]
pub(crate) struct Observer {
    shared: Arc<Shared>,
    epochs: Epochs,
    executions: Executions,
    recalled: Arc<Mutex<VecDeque<Bytes>>>,
}

impl Observer {
    pub(crate) fn new(shared: Arc<Shared>, epochs: Epochs, executions: Executions) -> Self {
        Self {
            shared,
            epochs,
            executions,
            recalled: Arc::default(),
        }
    }

    /// This validator's last votes from before the start, encoded as on the wire.
    ///
    /// The engine reads them from its journal so as never to contradict them, but does not count
    /// them again: it expects other validators to have moved on. Where they have not, the round
    /// would stand still until its timeout, so the votes are handed to it once more as messages.
    pub(crate) fn recalled(&self) -> Vec<Bytes> {
        self.recalled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn recall(&self, vote: &Vote<Scheme, Digest>) -> Feedback {
        // Until the first round is under way, all votes reported come from the journal.
        if !self.shared.rounds.borrow().voting {
            let mut recalled = self.recalled.lock().unwrap_or_else(PoisonError::into_inner);
            recalled.push_back(vote.encode());
            if recalled.len() > RECALLED_VOTES_MAX {
                recalled.pop_front();
            }
        }
        Feedback::Ok
    }
}

impl Observer {
    /// Tells those whose transactions became final with this certificate. It is in this validator's
    /// journal, and those who signed it have the block on disk and executed it: nothing can undo
    /// it, and a start after a crash goes on from it. That this node stores the block and its state
    /// takes some flushes more.
    fn tell(&self, certificate: &Finalization<Scheme, Digest>) {
        if let Some((height, executed)) = self.executions.find(certificate.proposal.payload) {
            self.shared.pool.tell(height, &executed.outcomes);
        }
    }
}

impl Reporter for Observer {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        self.shared.vigilance.take_report(&self.epochs, &activity);
        match activity {
            Activity::Notarize(vote) => self.recall(&Vote::Notarize(vote)),
            Activity::Nullify(vote) => self.recall(&Vote::Nullify(vote)),
            Activity::Finalize(vote) => self.recall(&Vote::Finalize(vote)),
            Activity::Finalization(certificate) => {
                let (epoch, view) = (certificate.epoch().get(), certificate.view().get());
                self.shared
                    .rounds
                    .send_modify(|rounds| rounds.finalized(epoch, view));
                self.tell(&certificate);
                Feedback::Ok
            }
            Activity::Nullification(certificate) => {
                let (epoch, view) = (certificate.epoch().get(), certificate.view().get());
                self.shared.rounds.send_modify(|rounds| {
                    rounds.ended(epoch, view);
                    rounds.nullified += 1;
                });
                Feedback::Ok
            }
            Activity::ConflictingNotarize(_)
            | Activity::ConflictingFinalize(_)
            | Activity::NullifyFinalize(_)
            | Activity::Notarization(_)
            | Activity::Certification(_) => Feedback::Ok,
        }
    }
}
