//! Answers challenges of this node's assets as soon as the ledger shows them. Challenges nobody itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::{DecodeRecordError, Operation, SpaceOperation};
use tokio_util::sync::CancellationToken;
use types::AssetId;

use crate::proving::{self, ProveError};
use crate::shared::Shared;

/// Pause before a try that failed is made again: answers count for ten seconds.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub(crate) async fn answer_challenges(shared: Arc<Shared>, stop: CancellationToken) {
    let mut revision = shared.revision.subscribe();
    // The height of the last challenge of each asset that was answered, or cannot be.
    let mut done = BTreeMap::new();
    loop {
        revision.mark_unchanged();
        let mut again = false;
        // State that cannot be read ends the node elsewhere.
        for (asset, asked_at) in open(&shared).unwrap_or_default() {
            if done.get(&asset) == Some(&asked_at) {
                continue;
            }
            match answer(&shared, asset, asked_at).await {
                Ok(height) => {
                    tracing::info!(asset = %asset.short(), height, "answered a challenge");
                    done.insert(asset, asked_at);
                }
                Err(error) if error.is_lost() => {
                    tracing::error!(asset = %asset.short(), "a challenge will fail: {error}");
                    done.insert(asset, asked_at);
                }
                Err(error) => {
                    tracing::warn!(asset = %asset.short(), "a challenge waits: {error}");
                    again = true;
                }
            }
        }
        let retry = async {
            match again {
                true => tokio::time::sleep(RETRY_PAUSE).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = retry => {}
            changed = revision.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// The challenges of this node's assets, with the height of the block that asks.
fn open(shared: &Shared) -> Result<Vec<(AssetId, u64)>, DecodeRecordError> {
    let state = shared.state();
    let mut found = Vec::new();
    for asset in state.view.assets_of(&shared.node)? {
        if let Some(open) = state.view.space_of(&asset)?.open {
            found.push((asset, open.height));
        }
    }
    Ok(found)
}

async fn answer(shared: &Arc<Shared>, asset: AssetId, asked_at: u64) -> Result<u64, ProveError> {
    let anchor = proving::anchor_at(shared, asked_at).await?;
    let answer = Box::new(proving::answer(shared, asset, anchor).await?);
    let operation = Operation::Space(SpaceOperation::Answer { asset, answer });
    let signed = shared.signer.submit(shared, operation).await?;
    Ok(signed.height)
}
