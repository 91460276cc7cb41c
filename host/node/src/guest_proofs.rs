//! Proofs that guests of this node ask for and have checked: what the hosts of assets show, and what
//! was executed. Signs nothing, and knows not what a guest makes of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ledger::DecodeRecordError;
use proofs::{
    Content, DecodeProofError, DrawError, ExecutionProof, ShownFacts, SpaceProof,
    VerifyExecutionError, VerifyShownError, beacon_of,
};
use runtime::{ProvenExecution, RequestSpaceError, ShownContent, ShownSpace};
use tokio::runtime::Handle;
use tokio::time::timeout;
use types::{AssetId, FabricId, NodeId};

use crate::executions::{Anchor, OrderRefusal, anchored};
use crate::proving::{ProveError, anchor_at, shown_by};
use crate::shared::Shared;

/// How long a proof waits for the block that it is anchored in: whoever made it may have that block a
/// moment earlier.
const ANCHOR_TIME: Duration = Duration::from_secs(2);

/// A block that is not final here.
#[derive(Debug, thiserror::Error)]
#[error("the proof is anchored in block {anchor}, this node is at {height}")]
struct Ahead {
    anchor: u64,
    height: u64,
}

/// Why what a host showed proves nothing.
#[derive(Debug, thiserror::Error)]
enum CheckSpaceError {
    #[error(transparent)]
    Decode(#[from] DecodeProofError),
    #[error(transparent)]
    Ahead(#[from] Ahead),
    #[error("the ledger has no asset {0}")]
    UnknownAsset(AssetId),
    #[error(transparent)]
    Anchor(#[from] ProveError),
    #[error(transparent)]
    State(#[from] DecodeRecordError),
    #[error(transparent)]
    Verify(#[from] VerifyShownError),
}

/// Why the proof of an execution proves nothing.
#[derive(Debug, thiserror::Error)]
enum CheckExecutionError {
    #[error(transparent)]
    Decode(#[from] DecodeProofError),
    #[error("the proof is of fabric {found}, this one is {expected}")]
    OtherFabric { expected: FabricId, found: FabricId },
    #[error(transparent)]
    Verify(#[from] VerifyExecutionError),
    #[error(transparent)]
    Ahead(#[from] Ahead),
    #[error(transparent)]
    State(#[from] DecodeRecordError),
    #[error("node {0} never was a member of this fabric")]
    Stranger(NodeId),
    #[error("block {anchor} draws nobody: {source}")]
    Draw { anchor: u64, source: DrawError },
    #[error("block {anchor} draws other nodes than the proof names")]
    OtherDraw { anchor: u64 },
    #[error("the draw cannot be checked: {0}")]
    Unread(OrderRefusal),
}

/// Has the host of an asset show it.
pub(crate) async fn request_space(
    shared: &Arc<Shared>,
    asset: &str,
) -> Result<Vec<u8>, RequestSpaceError> {
    use RequestSpaceError as E;
    let parsed = asset.parse::<AssetId>();
    let asset = parsed.map_err(|error| E::Invalid(error.to_string()))?;
    let record = shared.state().view.asset(&asset);
    let record = record.map_err(|error| E::Unavailable(error.to_string()))?;
    let host = record.ok_or(E::Absent)?.host;
    let (anchor, answer) = shown_by(shared, host, asset).await.map_err(not_shown)?;
    let proof = SpaceProof {
        asset,
        anchor_height: anchor.height,
        anchor_digest: anchor.digest,
        answer,
    };
    Ok(proof.encode())
}

fn not_shown(error: ProveError) -> RequestSpaceError {
    let text = error.to_string();
    match error {
        ProveError::Artifact(_) | ProveError::Read { .. } | ProveError::NotShown { .. } => {
            RequestSpaceError::NotShown(text)
        }
        ProveError::NoAnchor { .. }
        | ProveError::State(_)
        | ProveError::Away { .. }
        | ProveError::Stopping
        | ProveError::Sign(_) => RequestSpaceError::Unavailable(text),
    }
}

/// Checks what a host showed. For a thread that may block.
pub(crate) fn verify_space(shared: &Shared, proof: &[u8]) -> Result<ShownSpace, String> {
    check_space(shared, proof).map_err(|error| error.to_string())
}

fn check_space(shared: &Shared, proof: &[u8]) -> Result<ShownSpace, CheckSpaceError> {
    let proof = SpaceProof::decode(proof)?;
    let (asset, height) = (proof.asset, proof.anchor_height);
    follow(shared, height)?;
    let anchor = Handle::current().block_on(anchor_at(shared, height))?;
    let (host, space) = {
        let state = shared.state();
        let record = state.view.asset(&asset)?;
        let record = record.ok_or(CheckSpaceError::UnknownAsset(asset))?;
        (record.host, state.view.space_of(&asset)?)
    };
    let commitment = space.commitment(&beacon_of(&anchor.digest), host, &asset);
    proof.verify(&ShownFacts {
        fabric: shared.fabric,
        anchor_digest: anchor.digest,
        commitment,
    })?;
    let content = match commitment.content {
        Content::Kept => Some(ShownContent {
            root: commitment.root.to_string(),
            bytes: commitment.bytes,
        }),
        Content::Filler => None,
    };
    Ok(ShownSpace {
        asset: asset.to_string(),
        host: host.to_string(),
        height,
        content,
    })
}

/// Checks the proof of an execution. For a thread that may block.
pub(crate) fn verify_execution(shared: &Shared, proof: &[u8]) -> Result<ProvenExecution, String> {
    check_execution(shared, proof).map_err(|error| error.to_string())
}

fn check_execution(shared: &Shared, proof: &[u8]) -> Result<ProvenExecution, CheckExecutionError> {
    let proof = ExecutionProof::decode(proof)?;
    let (expected, found) = (shared.fabric, proof.order.fabric);
    if found != expected {
        return Err(CheckExecutionError::OtherFabric { expected, found });
    }
    let agreement = proof.verify()?;
    follow(shared, proof.order.anchor)?;
    let draw_checked = check_draw(shared, &proof)?;
    let texts =
        |nodes: &BTreeSet<NodeId>| -> Vec<String> { nodes.iter().map(NodeId::to_string).collect() };
    let order = &proof.order;
    Ok(ProvenExecution {
        order: order.digest().to_string(),
        workload: order.workload.to_string(),
        component: order.component.to_string(),
        artifact: order.artifact.to_string(),
        export: order.export.to_string(),
        arguments: order.arguments.clone(),
        result: proof.result.clone(),
        height: order.anchor,
        agreed: texts(&agreement.agreeing),
        outvoted: texts(&agreement.outvoted),
        silent: texts(&agreement.silent),
        draw_checked,
    })
}

/// Whether the draw could be checked; it is an error if others are drawn.
fn check_draw(shared: &Shared, proof: &ExecutionProof) -> Result<bool, CheckExecutionError> {
    let members = shared.state().view.members()?;
    let members = members.into_keys().collect();
    let block = match Handle::current().block_on(anchored(shared, proof.order.anchor)) {
        Ok(block) => Some(block),
        Err(OrderRefusal::NoBeacon(_)) => None,
        Err(refusal) => return Err(CheckExecutionError::Unread(refusal)),
    };
    judge_draw(proof, &members, block.as_ref())
}

/// As [`check_draw`], by who is or was a member, and by the block if it is still here. Anybody makes
/// keys that sign receipts, so without the block those who are said to be drawn must at least be
/// members.
fn judge_draw(
    proof: &ExecutionProof,
    members: &BTreeSet<NodeId>,
    block: Option<&Anchor>,
) -> Result<bool, CheckExecutionError> {
    use CheckExecutionError as E;
    if let Some(stranger) = proof.drawn.difference(members).next() {
        return Err(E::Stranger(*stranger));
    }
    let Some(with) = block else {
        return Ok(false);
    };
    let (order, anchor) = (&proof.order, proof.order.anchor);
    let drawn = order.drawn(&with.beacon, &with.members);
    let drawn = drawn.map_err(|source| E::Draw { anchor, source })?;
    match drawn == proof.drawn {
        true => Ok(true),
        false => Err(E::OtherDraw { anchor }),
    }
}

/// Waits until this node has followed the ledger to a block, for a moment.
fn follow(shared: &Shared, anchor: u64) -> Result<(), Ahead> {
    let height = || shared.state().view.height();
    let mut revision = shared.revision.subscribe();
    let came = async {
        let came = revision.wait_for(|_| height() >= anchor);
        // The sender is in `shared`: this ends by the block or by the time.
        let _ = timeout(ANCHOR_TIME, came).await;
    };
    Handle::current().block_on(came);
    match height() {
        height if height < anchor => Err(Ahead { anchor, height }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofs::{ExecutionOrder, Export, ReceiptCertificate};
    use types::{Digest, Name, Replication};

    fn nodes(seeds: &[u8]) -> BTreeSet<NodeId> {
        let node = |seed: &u8| NodeId::from_bytes([*seed; 32]);
        seeds.iter().map(node).collect()
    }

    fn drawn(drawn: BTreeSet<NodeId>) -> ExecutionProof {
        let order = ExecutionOrder {
            fabric: Digest::of(b"fabric"),
            workload: Name::least(),
            generation: 1,
            component: Name::least(),
            artifact: Digest::of(b"artifact"),
            deterministic_seed: 1,
            export: Export::try_from("run".to_owned()).unwrap(),
            arguments: Vec::new(),
            replication: Replication::Of { agree: 2, of: 2 },
            anchor: 9,
            salt: [4; 16],
        };
        ExecutionProof {
            order,
            result: String::new(),
            drawn,
            certificate: ReceiptCertificate {
                receipts: Vec::new(),
            },
        }
    }

    #[test]
    fn only_members_are_believed_to_be_drawn_and_only_whom_the_block_draws() {
        let members = nodes(&[1, 2, 3, 4]);
        let block = Anchor {
            beacon: Digest::of(b"beacon"),
            members: members.clone(),
        };
        let order = drawn(BTreeSet::new()).order;
        let truly = order.drawn(&block.beacon, &members).unwrap();
        let rest = members.difference(&truly).copied().collect();
        let judge = |nodes, block| judge_draw(&drawn(nodes), &members, block);
        assert!(matches!(judge(truly.clone(), Some(&block)), Ok(true)));
        assert!(matches!(
            judge(rest, Some(&block)),
            Err(CheckExecutionError::OtherDraw { anchor: 9 })
        ));
        assert!(matches!(judge(truly, None), Ok(false)), "it is gone");
        for block in [None, Some(&block)] {
            let made_up = judge(nodes(&[1, 7]), block);
            assert!(matches!(made_up, Err(CheckExecutionError::Stranger(_))));
        }
    }
}
