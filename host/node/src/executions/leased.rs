//! Calls that guests have run under leases of this node's processors: whether they may, by the ledger, and
//! how they keep within the lease. Never knows how a lease came about.
//!
//! A lease is for time, not for code. What may run is what any order may run: a deterministic component
//! of a live deployment. Beyond that, whoever deployed it must have deployed the component that calls,
//! which must be placed on the node that asks and have the grant. So the node that asks vouches for its
//! own guests and for no others.

use std::num::NonZeroU64;
use std::sync::Arc;

use assets::Refusal;
use ledger::{DecodeRecordError, DesiredState, View};
use proofs::{ExecutionOrder, Export};
use runtime::Within;
use trust::LeaseCapability;
use types::{Capability, ComponentSpec, Millis, Name, NodeId, Replication};

use crate::executions::admission::repeatable;
use crate::executions::message::{LeaseUsage, LeasedCall, RanLeased};
use crate::executions::refusal::{OrderRefusal, Text};
use crate::executions::run::{failure, receipted};
use crate::memory::{CpuTenancy, Opened, admitted};
use crate::shared::Shared;

/// Runs a call under a lease, until that ends.
///
/// # Errors
/// [`OrderRefusal`].
pub(super) async fn run(
    shared: &Arc<Shared>,
    call: &LeasedCall,
    presenter: NodeId,
) -> Result<RanLeased, OrderRefusal> {
    let tenancy = tenancy(shared, &call.capability, presenter).await?;
    let called = called(&shared.state().view, call, &presenter);
    let (generation, spec) = called.map_err(|error| OrderRefusal::Ledger(Text::of(error)))??;
    tokio::select! {
        ran = executed(shared, call, (generation, &spec), &tenancy) => ran,
        () = tenancy.over() => Err(OrderRefusal::NoLease),
    }
}

/// What a lease was used for.
///
/// # Errors
/// [`OrderRefusal`].
pub(super) async fn usage(
    shared: &Shared,
    capability: &[u8],
    presenter: NodeId,
) -> Result<LeaseUsage, OrderRefusal> {
    let tenancy = tenancy(shared, capability, presenter).await?;
    let used = tenancy.used().used();
    Ok(LeaseUsage {
        millicores: tenancy.used().millicores(),
        calls: used.calls,
        cpu_us: micros(used.cpu),
        fuel: used.fuel,
        left_ms: tenancy.left_ms(shared.now_ms()),
    })
}

async fn tenancy(
    shared: &Shared,
    capability: &[u8],
    presenter: NodeId,
) -> Result<Arc<CpuTenancy>, OrderRefusal> {
    let capability = LeaseCapability::decode(capability);
    let capability = capability.map_err(|error| OrderRefusal::Denied(Text::of(error)))?;
    let admitted = admitted(shared, &capability, presenter).await;
    let opened = admitted.map_err(|error| match error.refusal() {
        Refusal::NoLease => OrderRefusal::NoLease,
        Refusal::Denied(text) => OrderRefusal::Denied(text.into()),
        Refusal::Unable(text) => OrderRefusal::Prepare(text.into()),
    })?;
    match opened {
        Opened::Cpu(tenancy) if tenancy.is_over(shared.now_ms()) => Err(OrderRefusal::NoLease),
        Opened::Cpu(tenancy) => Ok(tenancy),
        Opened::Region(_) | Opened::Member(_) | Opened::Link(_) => {
            Err(denied("the lease is not of processors"))
        }
    }
}

fn denied(why: impl std::fmt::Display) -> OrderRefusal {
    OrderRefusal::Denied(Text::of(why))
}

/// The component that is called, and the generation of its workload, if the caller may.
fn called(
    view: &View,
    call: &LeasedCall,
    presenter: &NodeId,
) -> Result<Result<(u64, ComponentSpec), OrderRefusal>, DecodeRecordError> {
    let caller = view.deployment(&call.caller)?;
    let placements = view.placements_of(&call.caller)?;
    let is_placed = placements.iter().any(|placement| {
        placement.component == call.caller_component && placement.node == *presenter
    });
    let granted = |spec: &ComponentSpec| {
        let is_cpu = |right: &Capability| matches!(right, Capability::Cpu { .. });
        spec.name == call.caller_component && spec.capabilities.iter().any(is_cpu)
    };
    let caller = caller.filter(|caller| caller.spec.components.iter().any(granted));
    let Some(caller) = caller.filter(|_| is_placed) else {
        let (workload, component) = (&call.caller, &call.caller_component);
        return Ok(Err(denied(format!(
            "node {} runs no `{component}` of `{workload}` that is granted cpu",
            presenter.short()
        ))));
    };
    let Some(deployment) = view.deployment(&call.workload)? else {
        return Ok(Err(OrderRefusal::UnknownWorkload(call.workload.clone())));
    };
    if deployment.owner != caller.owner {
        return Ok(Err(denied(format!(
            "`{}` was deployed by another principal than `{}`: a component calls what its own principal deployed",
            call.workload, call.caller
        ))));
    }
    if deployment.desired != DesiredState::Running {
        return Ok(Err(OrderRefusal::NotRunning));
    }
    let mut components = deployment.spec.components.iter();
    let spec = components.find(|spec| spec.name == call.component);
    let unknown = || OrderRefusal::UnknownComponent(call.component.clone());
    let spec = spec.ok_or_else(unknown).and_then(|spec| {
        repeatable(spec)?;
        Ok((deployment.generation, spec.clone()))
    });
    Ok(spec)
}

async fn executed(
    shared: &Arc<Shared>,
    call: &LeasedCall,
    (generation, spec): (u64, &ComponentSpec),
    tenancy: &CpuTenancy,
) -> Result<RanLeased, OrderRefusal> {
    let of: (&Name, u64) = (&call.workload, generation);
    let replica = shared.executions.prepared.of(shared, of, spec).await?;
    let fuel_max = NonZeroU64::new(call.fuel_max);
    let within = Within {
        fuel_max: fuel_max.ok_or_else(|| OrderRefusal::Guest(Text::of("it may use no fuel")))?,
        wall_max: Millis::new(call.wall_ms_max),
        share: Arc::clone(tenancy.used()),
    };
    let done = replica.invoke_within(&call.export, call.arguments.clone(), within);
    let (done, cpu) = done.await.map_err(failure)?;
    let export = Export::try_from(done.export.clone());
    let export = export.map_err(|error| OrderRefusal::Invoke(Text::of(error)))?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| OrderRefusal::Prepare(Text::of(error)))?;
    // What the receipt is for: the call in its one form, which this node alone was asked for.
    let order = ExecutionOrder {
        fabric: shared.fabric,
        workload: call.workload.clone(),
        generation,
        component: call.component.clone(),
        artifact: spec.artifact,
        deterministic_seed: repeatable(spec)?,
        export,
        arguments: done.arguments.clone(),
        replication: Replication::One,
        anchor: shared.state().view.height(),
        salt,
    };
    let ran = receipted(shared, &order, done)?;
    let cpu_us = micros(cpu);
    Ok(RanLeased { ran, cpu_us })
}

/// Saturates after half a million years.
fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
