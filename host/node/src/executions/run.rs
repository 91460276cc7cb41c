//! One run of an order on this node, and the receipt for it. Decides by the ledger alone whether it
//! may run.

use std::sync::Arc;

use proofs::{
    EngineMode, EngineProfile, ExecutionOrder, RESULT_BYTES_MAX, Receipt, Rerun, SignedReceipt,
    output_digest,
};
use runtime::{CallError, Invocation, InvokeError, deterministic_engine};
use types::ComponentSpec;

use crate::executions::admission::{component, recent};
use crate::executions::message::Ran;
use crate::executions::refusal::{OrderRefusal, Text};
use crate::shared::Shared;

/// Runs an order that draws this node.
///
/// # Errors
/// [`OrderRefusal`].
pub(super) async fn run(shared: &Arc<Shared>, order: &ExecutionOrder) -> Result<Ran, OrderRefusal> {
    let anchor = recent(shared, order.anchor).await?;
    let spec = component(shared, order)?;
    let drawn = order.drawn(&anchor.beacon, &anchor.members);
    let drawn = drawn.map_err(|error| OrderRefusal::Draw(Text::of(error)))?;
    if !drawn.contains(&shared.node) {
        let anchor = order.anchor;
        return Err(OrderRefusal::NotDrawn { anchor });
    }
    executed(shared, order, &spec).await
}

/// Runs an order again that a later block draws this node for. The order may be old: its deployment
/// must be there still.
///
/// # Errors
/// [`OrderRefusal`].
pub(super) async fn run_again(shared: &Arc<Shared>, rerun: &Rerun) -> Result<Ran, OrderRefusal> {
    let anchor = recent(shared, rerun.anchor).await?;
    let spec = component(shared, &rerun.order)?;
    let drawn = rerun.drawn(&anchor.beacon, &anchor.members);
    if !drawn.contains(&shared.node) {
        let anchor = rerun.anchor;
        return Err(OrderRefusal::NotDrawn { anchor });
    }
    executed(shared, &rerun.order, &spec).await
}

async fn executed(
    shared: &Arc<Shared>,
    order: &ExecutionOrder,
    spec: &ComponentSpec,
) -> Result<Ran, OrderRefusal> {
    let of = (&order.workload, order.generation);
    let replica = shared.executions.prepared.of(shared, of, spec).await?;
    let export = order.export.to_string();
    let canonical = replica.canonical(&export, &order.arguments);
    let canonical = canonical.map_err(|error| OrderRefusal::Invoke(Text::of(error)))?;
    if canonical != (export.clone(), order.arguments.clone()) {
        return Err(OrderRefusal::NotCanonical);
    }
    let called = replica.invoke_apart(&export, order.arguments.clone());
    let done = called.await.map_err(failure)?;
    receipted(shared, order, done)
}

/// What this node states of a call that it ran for an order.
///
/// # Errors
/// [`OrderRefusal::ResultTooLarge`].
pub(super) fn receipted(
    shared: &Shared,
    order: &ExecutionOrder,
    done: Invocation,
) -> Result<Ran, OrderRefusal> {
    let (bytes, max) = (done.result.len() as u64, RESULT_BYTES_MAX as u64);
    if bytes > max {
        return Err(OrderRefusal::ResultTooLarge { bytes, max });
    }
    let mut result = done.result;
    let mut receipt = Receipt {
        fabric: order.fabric,
        node: shared.node,
        order: order.digest(),
        component: order.artifact,
        export: order.export.clone(),
        input: order.input(),
        output: output_digest(&result),
        // A deterministic replica always has a budget.
        fuel: done.fuel_used.unwrap_or_default(),
        memory_peak_bytes: done.memory_peak_bytes,
        profile: EngineProfile {
            mode: EngineMode::Deterministic,
            engine: deterministic_engine(),
        },
    };
    (shared.executions.stated)(&mut receipt, &mut result);
    let signature = shared.signer.key().sign(&receipt.signing_bytes());
    let receipt = SignedReceipt { receipt, signature };
    Ok(Ran { receipt, result })
}

pub(super) fn failure(error: InvokeError) -> OrderRefusal {
    match error {
        InvokeError::Call(CallError::QueueFull { .. } | CallError::QueueTimeout { .. }) => {
            OrderRefusal::Busy
        }
        InvokeError::Call(error) => OrderRefusal::Guest(Text::of(error)),
        error => OrderRefusal::Invoke(Text::of(error)),
    }
}
