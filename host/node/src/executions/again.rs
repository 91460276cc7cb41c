//! Receipts challenged: members that have no part in them run the order again, and each receipt is
//! compared with what they got.

use std::collections::BTreeSet;
use std::sync::Arc;

use proofs::{
    CompareReceiptsError, Difference, ExecutionProof, Receipt, Rerun, VerifyExecutionError,
};
use types::NodeId;

use crate::executions::admission::{anchored, component};
use crate::executions::asking::{Said, Silence, ask_all, patience};
use crate::executions::message::Ask;
use crate::executions::refusal::OrderRefusal;
use crate::shared::Shared;

/// Members that run a challenged order again, as far as there are so many others: two honest ones
/// outvote one that lies.
const AGAIN_NODES: u16 = 3;

/// What became of a challenge.
#[derive(Debug)]
pub(crate) struct Again {
    /// Each receipt of the proof.
    pub(crate) receipts: Vec<Judged>,
    /// Those that ran it again, or did not.
    pub(crate) repeated: Vec<Repeated>,
}

/// One receipt beside the later runs.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) node: NodeId,
    pub(crate) verdict: Verdict,
    /// Who differs, and in what.
    pub(crate) differing: Vec<(NodeId, Vec<Difference>)>,
}

/// What most of those that were drawn say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They got the same.
    Confirmed,
    /// They got something else.
    Refuted,
    /// Neither has more than half of those that were drawn.
    Undecided,
}

/// One later run.
#[derive(Debug)]
pub(crate) struct Repeated {
    pub(crate) node: NodeId,
    pub(crate) said: Result<Receipt, Silence>,
}

/// Why a challenge cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgainError {
    /// There is nothing to challenge.
    #[error("the file proves nothing: {0}")]
    Proof(#[from] VerifyExecutionError),
    /// It cannot be run again.
    #[error("the order cannot be run again: {0}")]
    Refused(OrderRefusal),
    /// Everybody ran it.
    #[error("every member has a receipt in it: nobody is left to run it again")]
    Nobody,
}

/// Has other members run a proven order again.
///
/// # Errors
/// [`AgainError`].
pub(crate) async fn again(
    shared: &Arc<Shared>,
    proof: &ExecutionProof,
) -> Result<Again, AgainError> {
    proof.verify()?;
    let spec = component(shared, &proof.order).map_err(AgainError::Refused)?;
    let claimed: Vec<_> = proof.certificate.receipts.iter().collect();
    let rerun = Rerun {
        order: proof.order.clone(),
        anchor: shared.state().view.height(),
        except: claimed.iter().map(|signed| signed.receipt.node).collect(),
        count: AGAIN_NODES,
    };
    let anchor = anchored(shared, rerun.anchor).await;
    let anchor = anchor.map_err(AgainError::Refused)?;
    let drawn = rerun.drawn(&anchor.beacon, &anchor.members);
    if drawn.is_empty() {
        return Err(AgainError::Nobody);
    }
    let ask = Ask::RunAgain(Box::new(rerun));
    let said = ask_all(shared, &drawn, &ask, patience(&spec), |_| None).await;
    let judged = claimed
        .into_iter()
        .map(|signed| judge(&signed.receipt, &drawn, &said));
    Ok(Again {
        receipts: judged.collect(),
        repeated: repeated(said),
    })
}

fn judge(claimed: &Receipt, drawn: &BTreeSet<NodeId>, said: &Said) -> Judged {
    let (mut same, mut differing) = (0, Vec::new());
    for ran in said.values().flatten() {
        match claimed.compare(&ran.receipt.receipt) {
            Ok(()) => same += 1,
            Err(CompareReceiptsError::Refuted(refutation)) => {
                differing.push((refutation.by, refutation.differences));
            }
            // Says nothing about the claim: as if it had not answered.
            Err(_) => {}
        }
    }
    let most = |count: usize| count * 2 > drawn.len();
    let verdict = if most(same) {
        Verdict::Confirmed
    } else if most(differing.len()) {
        Verdict::Refuted
    } else {
        Verdict::Undecided
    };
    Judged {
        node: claimed.node,
        verdict,
        differing,
    }
}

fn repeated(said: Said) -> Vec<Repeated> {
    let said = said.into_iter();
    said.map(|(node, said)| Repeated {
        node,
        said: said.map(|ran| ran.receipt.receipt),
    })
    .collect()
}
