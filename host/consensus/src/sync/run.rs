//! One run of the engine that takes over the state of peers, into files of its own, and changes to
//! them once everything in them holds. Votes for nothing and shows nothing.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use commonware_consensus::marshal::Identifier;
use commonware_consensus::types::Height;

use super::standing::Standing;
use crate::data_dir::DataDir;
use crate::drive::{Ground, first_end};
use crate::engine::{EngineRuntime, Files, Foundation, Pace};
use crate::epochs::Epochs;
use crate::error::Closed;
use crate::handovers::Handover;
use crate::runs::End;
use crate::start::Job;
use crate::state::read_head;
use crate::time::Time;
use crate::votes;

/// Without a part that holds for so long, this node goes on with what it had.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between looks whether an epoch has ended meanwhile.
const END_LOOK: Duration = Duration::from_millis(100);

impl Job {
    /// Takes over the state at `standing` or above.
    pub(crate) async fn take_over<E: EngineRuntime>(
        &mut self,
        context: E,
        dir: Option<&DataDir>,
        standing: Standing,
    ) -> End {
        let (epochs, handovers) = match self.known(&context, dir).await {
            Ok(known) => known,
            Err(end) => return end,
        };
        let (handovers, generation) = match handovers.begin_generation().await {
            Ok(begun) => begun,
            Err(reason) => return End::failed(reason),
        };
        let before = epochs.latest();
        standing.tell(&epochs);
        // Blocks that are applied on the way belong to no state that anybody has seen.
        self.feed.interrupt().await;
        self.shared.executes.send_replace(true);
        let files = Files {
            generation,
            floor: Some(standing.floor.clone()),
        };
        let ground = self.prepare_ground(&context, files, Pace::Usual, &epochs);
        let Ground {
            exchange,
            peers,
            base,
            actors,
            ..
        } = match ground.await {
            Ok(ground) => ground,
            Err(end) => return end,
        };
        let Self {
            shared,
            stopped,
            queries,
            ..
        } = self;
        let accepted = exchange.accepted();
        let exchange = pin!(exchange.run(&context, &base, &peers, queries, false));
        let time = shared.wires.time.clone();
        let mut ended = standing.handovers.clone();
        let whole = tokio::select! {
            biased;
            _ = stopped => return End::stopped(),
            // What follows the state that was taken over is executed before it counts.
            unknown = shared.rules.reached() => return End::Closed(Closed::Outdated(unknown)),
            end = first_end(&context, actors) => return end,
            () = exchange => return End::stopped(),
            () = follow_ends(&base, &epochs, &time, &mut ended) => return End::stopped(),
            () = no_progress(&time, &accepted) => {
                Err("no peer has sent a part of the state for a minute".to_owned())
            }
            whole = arrived(&base) => whole,
        };
        if let Err(reason) = whole {
            tracing::warn!("the state could not be taken over from peers: {reason}");
            return End::NotTakenOver;
        }
        let through = epochs.latest().saturating_sub(1);
        if let Err(reason) = handovers.adopt(generation, through, &ended).await {
            return End::failed(reason);
        }
        votes::forget(&context, before).await;
        End::TakenOver
    }
}

/// Waits until the state is here, and compares it with what the validators signed: the proofs of
/// its parts do not cover all of the root.
async fn arrived<E: EngineRuntime>(base: &Foundation<E>) -> Result<(), String> {
    let databases = base.stateful.subscribe_databases().await;
    let databases = databases.read().await;
    let head = read_head(&*databases)
        .await
        .map_err(|error| error.to_string())?;
    let head = head.ok_or("the state names no block")?;
    let height = Height::new(head.height);
    let block = base.marshal.get_block(Identifier::Height(height)).await;
    let block = block.ok_or_else(|| format!("the block at height {height} is missing"))?;
    if databases.root() == block.inner().state_root {
        Ok(())
    } else {
        Err(format!(
            "the state at height {height} has another root than its block"
        ))
    }
}

/// Takes the ends of epochs while the state is fetched, so that it can follow the blocks, for ever.
async fn follow_ends<E: EngineRuntime>(
    base: &Foundation<E>,
    epochs: &Epochs,
    time: &Time,
    ended: &mut Vec<(u64, Handover)>,
) {
    loop {
        let epoch = epochs.latest();
        let last = epochs.last(epoch);
        let block = Identifier::Height(Height::new(last));
        let block = base.marshal.get_block(block).await;
        let (Some(block), Some(handover)) = (block, base.handover(last).await) else {
            time.sleep(END_LOOK).await;
            continue;
        };
        let committee = &block.inner().committee;
        if !committee.is_empty() {
            ended.push((epoch, handover));
        }
        epochs.hand_over(epoch, committee);
    }
}

/// Returns once nothing has come for [`PATIENCE`].
async fn no_progress(time: &Time, accepted: &Arc<AtomicU64>) {
    loop {
        let before = accepted.load(Ordering::Relaxed);
        time.sleep(PATIENCE).await;
        if accepted.load(Ordering::Relaxed) == before {
            return;
        }
    }
}
