//! Hands in what this node can prove of validators that contradict themselves. Never looks for it.

use std::sync::Arc;

use ledger::{Evidence, Operation};
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;

/// Runs until `stop`.
pub(crate) async fn accuse(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let evidence = tokio::select! {
            () = stop.cancelled() => return,
            evidence = shared.ledger.evidence() => evidence,
        };
        let Evidence::Contradiction(contradiction) = &evidence;
        let accused = contradiction.validator;
        let known = shared.state().view.convictions();
        if known.is_ok_and(|known| known.contains_key(&accused)) {
            continue;
        }
        let handed_in = tokio::select! {
            () = stop.cancelled() => return,
            end = shared.signer.submit(&shared, Operation::Evidence(evidence)) => end,
        };
        match handed_in {
            Ok(signed) => tracing::warn!(
                validator = %accused,
                height = signed.height,
                "proved that a validator contradicted itself: it loses its vote"
            ),
            // Others have seen it, too.
            Err(error) => tracing::info!(validator = %accused, %error, "evidence was not needed"),
        }
    }
}
