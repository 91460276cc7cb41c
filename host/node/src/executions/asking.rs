//! Members asked to run one order, all at once, and their answers judged one by one. Compares no two
//! of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use proofs::{ExecutionOrder, output_digest};
use tokio::time::Instant;
use types::{ComponentSpec, Digest, FabricId, NodeId};

use crate::executions::message::{Answer, Ask, Ran};
use crate::executions::refusal::OrderRefusal;
use crate::executions::{PREPARE_TIME, answer};
use crate::peers::AskMemberError;
use crate::shared::Shared;

/// Why a member that was asked has no receipt here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silence {
    /// It refused, or the guest failed.
    #[error("{0}")]
    Refused(OrderRefusal),
    /// It gave no answer.
    #[error("{0}")]
    Unheard(#[from] AskMemberError),
    /// This node speaks to no others.
    #[error("this node has no way to other nodes: start it with --stoq")]
    Alone,
    /// Its receipt is not good for this order.
    #[error("its receipt is {0}")]
    Unfit(&'static str),
    /// The others had agreed before.
    #[error("had not answered when it was decided")]
    Undecided,
}

/// What each of those that were asked said.
pub(crate) type Said = BTreeMap<NodeId, Result<Ran, Silence>>;

/// How long those that are asked have.
pub(super) fn patience(spec: &ComponentSpec) -> Duration {
    let limits = &spec.limits;
    limits.wall_time.duration() + limits.queue_time.duration() + PREPARE_TIME
}

/// Asks `nodes`, for `within` at most. After each answer `enough` says how long the rest are still
/// waited for, if no longer than that.
pub(super) async fn ask_all(
    shared: &Arc<Shared>,
    nodes: &BTreeSet<NodeId>,
    ask: &Ask,
    within: Duration,
    mut enough: impl FnMut(&Said) -> Option<Duration>,
) -> Said {
    let mut until = Instant::now() + within;
    let asked = nodes.iter().map(|node| async {
        let said = ask_one(shared, node, ask, within).await;
        (*node, said)
    });
    // Dropping it closes the streams that are left, which stops what runs there.
    let mut asked: FuturesUnordered<_> = asked.collect();
    let (mut said, mut decided) = (Said::new(), false);
    while let Ok(Some((node, one))) = tokio::time::timeout_at(until, asked.next()).await {
        said.insert(node, one);
        if let Some(grace) = enough(&said).filter(|_| !decided) {
            decided = true;
            until = until.min(Instant::now() + grace);
        }
    }
    for node in nodes {
        said.entry(*node).or_insert_with(|| {
            Err(match decided {
                true => Silence::Undecided,
                false => Silence::Unheard(AskMemberError::Late),
            })
        });
    }
    said
}

async fn ask_one(
    shared: &Arc<Shared>,
    node: &NodeId,
    ask: &Ask,
    within: Duration,
) -> Result<Ran, Silence> {
    let answer = ask_node(shared, node, ask, within).await?;
    let order = match ask {
        Ask::Run(order) => order,
        Ask::RunAgain(rerun) => &rerun.order,
        Ask::RunLeased(_) | Ask::UsageOf(_) => return Err(Silence::Unfit("for no order")),
    };
    match answer {
        Answer::Ran(ran) => judged(*ran, node, order),
        Answer::Refused(refusal) => Err(Silence::Refused(refusal)),
        Answer::RanLeased(_) | Answer::Usage(_) => Err(Silence::Unfit("for no order")),
    }
}

/// Asks one node, which may be this one, for `within` at most. Dropping the future stops what runs.
///
/// # Errors
/// [`Silence`], if there is no answer.
pub(crate) async fn ask_node(
    shared: &Arc<Shared>,
    node: &NodeId,
    ask: &Ask,
    within: Duration,
) -> Result<Answer, Silence> {
    if *node != shared.node {
        let peers = shared.peers.get().ok_or(Silence::Alone)?;
        return Ok(peers.ask(node, ask, within).await?);
    }
    let place = shared.executions.place(*node).map_err(Silence::Refused)?;
    // Apart: what it takes to run something is large.
    let answered = Box::pin(answer(shared, ask.clone(), place));
    let answered = tokio::time::timeout(within, answered).await;
    Ok(answered.map_err(|_| AskMemberError::Late)?)
}

/// Takes what a node signed for this order, with the result that it signed for.
fn judged(ran: Ran, node: &NodeId, order: &ExecutionOrder) -> Result<Ran, Silence> {
    let receipt = &ran.receipt.receipt;
    let about: (NodeId, FabricId, Digest) = (receipt.node, receipt.fabric, receipt.order);
    if about != (*node, order.fabric, order.digest()) {
        return Err(Silence::Unfit("not its own for this order"));
    }
    if receipt.output != output_digest(&ran.result) {
        return Err(Silence::Unfit("of another result than it sent"));
    }
    if ran.receipt.verify().is_err() {
        return Err(Silence::Unfit("not signed by it"));
    }
    Ok(ran)
}
