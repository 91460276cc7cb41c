//! Shows what gossip sees of the members to `orchestrator::Witness` and signs what that decides. Never
//! probes anybody, and decides nothing itself.

use std::sync::Arc;
use std::time::Duration;

use discovery::Liveness;
use ledger::{DecodeRecordError, Operation};
use orchestrator::{Seen, Sights, Witness};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::shared::Shared;

/// Pause between looks at what gossip shows, which changes once a second.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(crate) async fn witness(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = look(&shared) => {}
    }
}

async fn look(shared: &Shared) {
    let mut witness = Witness::new(shared.node);
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // State that cannot be read ends the node elsewhere.
        let Ok(sights) = sights(shared) else { return };
        let Some(operation) = witness.decide(shared.now_ms(), &sights) else {
            continue;
        };
        let operation = Operation::Liveness(operation);
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

fn sights(shared: &Shared) -> Result<Sights, DecodeRecordError> {
    let (validators, absences) = {
        let state = shared.state();
        let fabric = state.view.fabric()?;
        let validators = fabric.map(|fabric| fabric.validators).unwrap_or_default();
        (validators, state.view.absences()?)
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
