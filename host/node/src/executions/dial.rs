//! The dial: one call run by as many nodes as it says, those that the beacon draws, and what they
//! agree on. This node only asks; whom it asks is not its choice but for what `proofs`'s `order.rs` says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ledger::{FaultOperation, Operation};
use proofs::{
    DrawError, ExecutionOrder, ExecutionProof, Export, ExportError, ORDER_BYTES_MAX, Receipt,
    ReceiptCertificate, VerifyExecutionError,
};
use runtime::InvokeError;
use types::{ComponentSpec, Name, NodeId, Replication};

use crate::executions::admission::{anchored, repeatable};
use crate::executions::asking::{Said, Silence, ask_all, patience};
use crate::executions::message::Ask;
use crate::executions::refusal::{OrderRefusal, Text};
use crate::shared::Shared;

/// How long the rest are waited for once enough agree: whoever answers at about the same time is
/// heard, whoever is slow or gone costs no more than this.
const REST_TIME: Duration = Duration::from_millis(50);

/// A call that several nodes are to run.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) workload: Name,
    pub(crate) component: Name,
    pub(crate) export: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) replication: Replication,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) proof: ExecutionProof,
    /// Every node that was drawn.
    pub(crate) heard: Vec<Heard>,
}

/// What one node said.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) node: NodeId,
    /// Its receipt, and whether it is among those that agree.
    pub(crate) said: Result<(Receipt, bool), Silence>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Nobody could run it.
    #[error("{0}")]
    Refused(OrderRefusal),
    /// The call cannot be made.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    /// Its export has too long a name.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The dial cannot be had here.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// Its arguments are too long.
    #[error(
        "the order has {bytes} bytes, at most {ORDER_BYTES_MAX} are passed on: shorten the arguments"
    )]
    TooLarge { bytes: usize },
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Entropy(getrandom::Error),
    /// Too few agree.
    #[error("{error}{}", listed(heard))]
    NoAgreement {
        error: VerifyExecutionError,
        heard: Vec<Heard>,
    },
}

fn listed(heard: &[Heard]) -> String {
    let line = |heard: &Heard| format!("\n{heard}");
    heard.iter().map(line).collect()
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {}: ", self.node)?;
        match &self.said {
            Ok((Receipt { output, fuel, .. }, _)) => write!(f, "output {output}, fuel {fuel}"),
            Err(silence) => write!(f, "{silence}"),
        }
    }
}

/// Runs a call on as many nodes as its dial says.
///
/// # Errors
/// [`DialError`]; [`DialError::NoAgreement`] names every node that was asked.
pub(crate) async fn dial(shared: &Arc<Shared>, call: Call) -> Result<Dialled, DialError> {
    let (generation, spec) = found(shared, &call).map_err(DialError::Refused)?;
    let order = ordered(shared, call, generation, &spec).await?;
    let anchor = anchored(shared, order.anchor).await;
    let anchor = anchor.map_err(DialError::Refused)?;
    let drawn = order.drawn(&anchor.beacon, &anchor.members)?;
    let ask = Ask::Run(Box::new(order.clone()));
    let said = ask_all(shared, &drawn, &ask, patience(&spec), |said| {
        proof(&order, &drawn, said).is_ok().then_some(REST_TIME)
    });
    let said = said.await;
    match proof(&order, &drawn, &said) {
        Ok((proof, outvoted)) => {
            record(shared, &proof, &outvoted);
            let heard = heard(said, &outvoted);
            Ok(Dialled { proof, heard })
        }
        Err(error) => {
            let heard = heard(said, &BTreeSet::new());
            Err(DialError::NoAgreement { error, heard })
        }
    }
}

/// The component as it is deployed now, if others can repeat its calls.
fn found(shared: &Shared, call: &Call) -> Result<(u64, ComponentSpec), OrderRefusal> {
    let deployment = shared.state().view.deployment(&call.workload);
    let deployment = deployment.map_err(|error| OrderRefusal::Ledger(Text::of(error)))?;
    let unknown = || OrderRefusal::UnknownWorkload(call.workload.clone());
    let deployment = deployment.ok_or_else(unknown)?;
    let mut components = deployment.spec.components.iter();
    let spec = components.find(|spec| spec.name == call.component);
    let unknown = || OrderRefusal::UnknownComponent(call.component.clone());
    let spec = spec.ok_or_else(unknown)?;
    repeatable(spec)?;
    Ok((deployment.generation, spec.clone()))
}

/// The order for a call, anchored at the newest block that this node knows.
async fn ordered(
    shared: &Arc<Shared>,
    call: Call,
    generation: u64,
    spec: &ComponentSpec,
) -> Result<ExecutionOrder, DialError> {
    let deterministic_seed = repeatable(spec).map_err(DialError::Refused)?;
    let of = (&call.workload, generation);
    let replica = shared.executions.prepared.of(shared, of, spec).await;
    let replica = replica.map_err(DialError::Refused)?;
    let (export, arguments) = replica.canonical(&call.export, &call.arguments)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(DialError::Entropy)?;
    let order = ExecutionOrder {
        fabric: shared.fabric,
        workload: call.workload,
        generation,
        component: call.component,
        artifact: spec.artifact,
        deterministic_seed,
        export: Export::try_from(export)?,
        arguments,
        replication: call.replication,
        anchor: shared.state().view.height(),
        salt,
    };
    match order.encode().len() {
        bytes if bytes > ORDER_BYTES_MAX => Err(DialError::TooLarge { bytes }),
        _ => Ok(order),
    }
}

/// What the receipts so far prove, and who is outvoted.
fn proof(
    order: &ExecutionOrder,
    drawn: &BTreeSet<NodeId>,
    said: &Said,
) -> Result<(ExecutionProof, BTreeSet<NodeId>), VerifyExecutionError> {
    let ran = said.values().flatten();
    let certificate = ReceiptCertificate {
        receipts: ran.map(|ran| ran.receipt.clone()).collect(),
    };
    let agreement = certificate.verify(&order.rule(drawn.clone()))?;
    let (node, outvoted) = (agreement.outcome.node, agreement.outvoted);
    let result = said.get(&node).and_then(|said| said.as_ref().ok());
    let proof = ExecutionProof {
        order: order.clone(),
        result: result.map(|ran| ran.result.clone()).unwrap_or_default(),
        drawn: drawn.clone(),
        certificate,
    };
    proof.verify()?;
    Ok((proof, outvoted))
}

/// Has the ledger put on record whose receipts are outvoted. Nobody waits for it: whoever called has
/// the certificate, too.
fn record(shared: &Arc<Shared>, proof: &ExecutionProof, outvoted: &BTreeSet<NodeId>) {
    if outvoted.is_empty() {
        return;
    }
    let order = proof.order.digest();
    for node in outvoted {
        tracing::warn!(%node, %order, "a node's receipt is outvoted by those of the others");
    }
    let fault = Operation::Fault(FaultOperation::Outvoted {
        order: Box::new(proof.order.clone()),
        certificate: proof.certificate.clone(),
    });
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        match shared.signer.submit(&shared, fault).await {
            Ok(signed) => {
                tracing::info!(%order, height = signed.height, "who is outvoted is on record");
            }
            Err(error) => tracing::warn!(%order, "who is outvoted is not on record: {error}"),
        }
    });
}

fn heard(said: Said, outvoted: &BTreeSet<NodeId>) -> Vec<Heard> {
    let said = said.into_iter().map(|(node, said)| {
        let said = said.map(|ran| (ran.receipt.receipt, !outvoted.contains(&node)));
        Heard { node, said }
    });
    said.collect()
}
