//! Shows what gossip sees of the members to `orchestrator::Witness` and signs what that decides. Never
//! probes anybody, and decides nothing itself.

use std::sync::Arc;
use std::time::Duration;

use discovery::Liveness;
use ledger::{DecodeRecordError, Genesis, NodeOperation, Operation, View};
use orchestrator::{Holder, Seen, Sights, Witness};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::clock::unix_ms;
use crate::shared::Shared;

/// Pause between looks at what gossip shows, which changes once a second.
const LOOK: Duration = Duration::from_secs(1);
/// How far the next block's time may be behind this node's clock: asked for earlier, nothing would come
/// of it.
const CLOCK_MS: u64 = 500;
/// How long one validator leaves what is to be done to the one before it.
const TURN_MS: u64 = 3_000;
/// Pause before the same is asked for again.
const AGAIN_MS: u64 = 30_000;

/// Whether a node is the only validator, as far as it has followed the ledger: then nobody could say that
/// it is gone.
pub(crate) fn is_alone(view: &View, genesis: &Genesis, node: NodeId) -> bool {
    // State that cannot be read ends the node elsewhere.
    let fabric = view.fabric().ok().flatten();
    let in_office = fabric.map(|fabric| fabric.validators);
    in_office.unwrap_or_else(|| genesis.validators().to_vec()) == [node]
}

/// Runs until `stop`.
pub(crate) async fn witness(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = look(&shared) => {}
    }
}

async fn look(shared: &Shared) {
    let mut witness = Witness::new(shared.node);
    let mut holder = Holder::new(shared.node);
    let mut settler = Settler::default();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // State that cannot be read ends the node elsewhere.
        let Ok(sights) = sights(shared) else { return };
        let now_ms = shared.now_ms();
        let runs = holder.decide(now_ms, &sights);
        shared.runs_singletons.send_if_modified(|before| {
            let changes = *before != runs;
            *before = runs;
            changes
        });
        let decided = witness.decide(now_ms, &sights).map(Operation::Liveness);
        let settles = || settler.decide(shared, &sights).map(Operation::Node);
        let Some(operation) = decided.or_else(settles) else {
            continue;
        };
        let words = operation.to_string();
        match shared.signer.submit(shared, operation).await {
            Ok(signed) => {
                tracing::info!(height = signed.height, "{words}");
                // Else the same would be decided again, on old state.
                let mut revision = shared.revision.subscribe();
                let is_here = |_: &u64| shared.state().view.height() >= signed.height;
                if revision.wait_for(is_here).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::info!(%error, "not done: {words}"),
        }
    }
}

/// Has singletons of nodes that are gone placed elsewhere once that may be. The validator that comes first
/// of those that are there does it; others after a while, as it may be a liar.
#[derive(Debug, Default)]
struct Settler {
    due_since_ms: Option<u64>,
}

impl Settler {
    fn decide(&mut self, shared: &Shared, sights: &Sights) -> Option<NodeOperation> {
        let is_validator = sights.validators.contains(&shared.node);
        let due = || {
            shared
                .state()
                .view
                .may_settle(unix_ms().saturating_sub(CLOCK_MS))
        };
        // State that cannot be read ends the node elsewhere.
        if !is_validator || !due().unwrap_or_default() {
            self.due_since_ms = None;
            return None;
        }
        let now_ms = shared.now_ms();
        let since_ms = *self.due_since_ms.get_or_insert(now_ms);
        let turn_ms = sights.ahead_of(&shared.node) * TURN_MS;
        if now_ms.saturating_sub(since_ms) < turn_ms {
            return None;
        }
        // Another time only if this one does not help.
        self.due_since_ms = Some(now_ms + AGAIN_MS);
        Some(NodeOperation::Settle)
    }
}

fn sights(shared: &Shared) -> Result<Sights, DecodeRecordError> {
    let (validators, absences, is_gone) = {
        let state = shared.state();
        let fabric = state.view.fabric()?;
        let validators = fabric.map(|fabric| fabric.validators).unwrap_or_default();
        let absences = state.view.absences()?;
        let own = absences.get(&shared.node);
        let is_gone = own.is_some_and(|record| record.since(&validators).is_some());
        (validators, absences, is_gone)
    };
    let is_own = |witness: &NodeId| *witness == shared.node;
    let reported = absences.iter().filter(|(_, record)| {
        let mut witnesses = record.reports.iter().map(|report| &report.witness);
        witnesses.any(is_own)
    });
    let others = shared.peers.get().map(|peers| peers.gossip().sights());
    let others = others.iter().flat_map(|others| others.iter());
    Ok(Sights {
        reported: reported.map(|(node, _)| *node).collect(),
        is_reported: absences.contains_key(&shared.node),
        is_gone,
        seen: others
            .map(|(node, sight)| (*node, seen(sight.liveness)))
            .collect(),
        validators,
    })
}

const fn seen(liveness: Liveness) -> Seen {
    match liveness {
        Liveness::Alive => Seen::There,
        Liveness::Unknown | Liveness::Suspect => Seen::Unsure,
        Liveness::Down => Seen::Gone,
    }
}
