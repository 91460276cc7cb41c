//! From epoch to epoch: one engine votes in each, if this node is in office; when the last block of
//! an epoch is final, its proof is kept, the engine goes and the next one takes over. Never decides
//! who votes.

use std::sync::Arc;
use std::time::Duration;

use commonware_consensus::marshal::Identifier;
use commonware_consensus::types::Height;
use commonware_cryptography::Digestible as _;
use commonware_runtime::Handle;

use crate::ballots::Ballots;
use crate::blame::Blamer;
use crate::drive::CAUSE_GRACE;
use crate::engine::{EngineRuntime, Foundation, Parts, Term, agree};
use crate::epochs::Epochs;
use crate::handle::{Office, Shared};
use crate::handovers::{Handover, Handovers};
use crate::votes::{self, Notes};

/// Pause between looks for the certificate of an epoch's last block.
const CERTIFICATE_LOOK: Duration = Duration::from_millis(50);

/// Goes from epoch to epoch for one run of the engine.
pub(crate) struct Terms<'a, E: EngineRuntime> {
    context: &'a E,
    shared: Arc<Shared>,
    parts: &'a Parts,
    base: &'a Foundation<E>,
    ballots: Ballots,
    blocker: Blamer,
}

impl<'a, E: EngineRuntime> Terms<'a, E> {
    pub(crate) fn new(
        context: &'a E,
        shared: &Arc<Shared>,
        parts: &'a Parts,
        base: &'a Foundation<E>,
        blocker: Blamer,
    ) -> Self {
        Self {
            context,
            shared: shared.clone(),
            parts,
            base,
            ballots: Ballots::over(shared, &parts.epochs),
            blocker,
        }
    }

    /// Runs until an engine ends by itself, and says why.
    pub(crate) async fn run(self, mut handovers: Handovers<E>) -> String {
        loop {
            let epochs = &self.parts.epochs;
            let (epoch, last) = (epochs.latest(), epochs.last(epochs.latest()));
            take_office(&self.shared, epochs);
            let voter = if self.is_over(last).await {
                // It was final before this start: nobody votes in it any more.
                None
            } else {
                match self.vote(epoch).await {
                    Ok(voter) => voter,
                    Err(reason) => return reason,
                }
            };
            if let Some(reason) = self.serve_out(voter, last).await {
                return reason;
            }
            handovers = match self.hand_over(handovers, epoch, last).await {
                Ok(handovers) => handovers,
                Err(reason) => return reason,
            };
        }
    }

    async fn is_over(&self, last: u64) -> bool {
        let finalization = self.base.marshal.get_finalization(Height::new(last));
        finalization.await.is_some()
    }

    /// The engine of `epoch`, if this node votes in it.
    async fn vote(&self, epoch: u64) -> Result<Option<Handle<()>>, String> {
        let committee = self.parts.epochs.committee(epoch);
        if !committee.votes {
            return Ok(None);
        }
        let base = match epoch.checked_sub(1) {
            None => self.base.genesis.digest(),
            Some(before) => {
                let height = Height::new(self.parts.epochs.last(before));
                let block = self.base.marshal.get_block(Identifier::Height(height));
                let block = block.await;
                block
                    .ok_or_else(|| format!("the block at height {height} is missing"))?
                    .digest()
            }
        };
        let time = self.shared.wires.time.clone();
        let notes = Notes::open(self.context, epoch, time).await;
        let notes = notes.map_err(|error| format!("the notes on votes do not open: {error}"))?;
        let term = Term {
            epoch,
            committee,
            base,
            notes: Arc::new(notes),
        };
        let ballots = self.ballots.of(epoch);
        let blocker = self.blocker.clone();
        let voter = agree(self.context, self.parts, self.base, &term, ballots, blocker);
        Ok(Some(voter))
    }

    /// Waits until the block at `last` is final and applied; an engine that ends before is a
    /// failure. The engine goes with the epoch.
    async fn serve_out(&self, voter: Option<Handle<()>>, last: u64) -> Option<String> {
        let mut tip = self.shared.tip.subscribe();
        let over = async {
            // The sender is in `shared`.
            let _ = tip.wait_for(|tip| tip.height >= last).await;
        };
        let Some(mut voter) = voter else {
            over.await;
            return None;
        };
        tokio::select! {
            biased;
            () = over => {
                voter.abort();
                // Its receivers must be gone before the next ones listen.
                let _ = voter.await;
                None
            }
            end = &mut voter => {
                // The cause may be another actor's.
                self.context.sleep(CAUSE_GRACE).await;
                let end = end.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string());
                Some(format!("the agreement actor is gone: {end}"))
            }
        }
    }

    /// Keeps the proof of the end of `epoch` and lets the next one begin.
    async fn hand_over(
        &self,
        handovers: Handovers<E>,
        epoch: u64,
        last: u64,
    ) -> Result<Handovers<E>, String> {
        let height = Height::new(last);
        let block = self
            .base
            .marshal
            .get_block(Identifier::Height(height))
            .await;
        let block = block.ok_or_else(|| format!("the block at height {last} is missing"))?;
        let committee = block.inner().committee.clone();
        let proof = if committee.is_empty() {
            None
        } else {
            Some(self.proof(last).await)
        };
        if let Some(proof) = &proof {
            self.shared
                .handovers
                .send_modify(|proven| proven.push(proof.clone()));
            tracing::info!(
                epoch = epoch.saturating_add(1),
                validators = committee.len(),
                "other validators take over"
            );
        }
        let handovers = handovers.keep(epoch, proof).await?;
        self.parts.epochs.hand_over(epoch, &committee);
        votes::forget(self.context, epoch).await;
        Ok(handovers)
    }

    /// The block at `last`, which is here, with its certificate. No block above it can stand for it,
    /// as those are of the next epoch.
    async fn proof(&self, last: u64) -> Handover {
        loop {
            if let Some(proof) = self.base.handover(last).await {
                return proof;
            }
            self.context.sleep(CERTIFICATE_LOOK).await;
        }
    }
}

/// Says who is in office in the last epoch that is known.
pub(crate) fn take_office(shared: &Shared, epochs: &Epochs) {
    let epoch = epochs.latest();
    let committee = epochs.committee(epoch);
    let validators = committee.validators.clone();
    let next = {
        let office = shared.office.borrow();
        let next = office.next.clone().filter(|_| office.epoch == epoch);
        next.filter(|next| *next != validators)
    };
    shared.install(Office {
        epoch,
        validators,
        votes: committee.votes,
        next,
        opens_above: epochs.begins_with_change(epoch).then(|| epochs.base(epoch)),
    });
    shared.rounds.send_modify(|rounds| rounds.ended(epoch, 0));
}
