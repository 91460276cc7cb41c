//! Leased processors as guests of this node use them, whether their host is here or elsewhere. Knows no
//! WIT; signs for a guest and gives it no key.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use orchestrator::ReplicaKey;
use proofs::output_digest;
use runtime::{AssetError, Awaited, Cpu, CpuBudget, CpuCall, CpuCallError, CpuOutcome, CpuUsage};
use types::{Amount, AssetType, Capability, ComponentSpec, Digest, Name, NodeId};

use crate::executions::{
    Answer, Ask, LeasedCall, ORDER_TIME_MAX, OrderRefusal, PREPARE_TIME, RanLeased, Silence,
    ask_node,
};
use crate::memory::asking::{Asking, Held};
use crate::peers::AskMemberError;
use crate::shared::Shared;

/// How long a host has to say what a lease was used for.
const USAGE_TIME: Duration = Duration::from_secs(10);

/// Leased processors for one replica.
struct GuestCpu {
    shared: Arc<Shared>,
    replica: ReplicaKey,
    asking: Arc<Asking>,
}

/// A budget that a guest has.
struct GuestBudget {
    shared: Arc<Shared>,
    workload: Name,
    component: Name,
    /// For the lease, sealed.
    capability: Vec<u8>,
    held: Arc<Held>,
}

/// What a component's replica gets of leased processors, by its grants.
pub(crate) fn of(
    shared: &Arc<Shared>,
    replica: &ReplicaKey,
    spec: &ComponentSpec,
) -> Option<Arc<dyn Cpu>> {
    let millicores = spec.capabilities.iter().find_map(|right| match right {
        Capability::Cpu { millicores } => Some(*millicores),
        _ => None,
    })?;
    let granted = Amount(u64::from(millicores));
    Some(Arc::new(GuestCpu {
        shared: Arc::clone(shared),
        replica: replica.clone(),
        asking: Arc::new(Asking::new(AssetType::Cpu, granted)),
    }))
}

impl std::fmt::Debug for GuestCpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestCpu").field(&self.replica).finish()
    }
}

impl std::fmt::Debug for GuestBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestBudget")
            .field(&self.held.lease.lease)
            .finish()
    }
}

impl Cpu for GuestCpu {
    fn allocate(&self, millicores: u32, term_ms: u64) -> Awaited<Arc<dyn CpuBudget>> {
        let amount = Amount(u64::from(millicores));
        let leased = self.asking.lease(&self.shared, amount, term_ms);
        let shared = Arc::clone(&self.shared);
        let ReplicaKey {
            workload,
            component,
            ..
        } = self.replica.clone();
        async move {
            let held = leased.await?;
            let capability = held.lease.capability()?.sealed().encode().to_vec();
            let budget = GuestBudget {
                shared,
                workload,
                component,
                capability,
                held,
            };
            Ok(Arc::new(budget) as Arc<dyn CpuBudget>)
        }
        .boxed()
    }
}

impl GuestBudget {
    fn call(&self, call: CpuCall) -> Result<LeasedCall, AssetError> {
        let name = |text: String| {
            let name = Name::new(text);
            name.map_err(|error| AssetError::Invalid(error.to_string()))
        };
        if call.fuel_max == 0 || call.wall_ms_max == 0 {
            let text = "a call without fuel or without time does nothing";
            return Err(AssetError::Invalid(text.to_owned()));
        }
        Ok(LeasedCall {
            capability: self.capability.clone(),
            caller: self.workload.clone(),
            caller_component: self.component.clone(),
            workload: name(call.workload)?,
            component: name(call.component)?,
            export: call.function,
            arguments: call.arguments,
            fuel_max: call.fuel_max,
            wall_ms_max: call.wall_ms_max,
        })
    }

    fn ask(&self, ask: Ask, within: Duration) -> BoxFuture<'static, Result<Answer, CpuCallError>> {
        let (shared, host) = (Arc::clone(&self.shared), self.held.lease.host);
        async move {
            match ask_node(&shared, &host, &ask, within).await {
                Ok(Answer::Refused(refusal)) => Err(refused(refusal)),
                Ok(answer) => Ok(answer),
                Err(silence) => Err(silent(silence)),
            }
        }
        .boxed()
    }
}

impl CpuBudget for GuestBudget {
    fn run(&self, call: CpuCall) -> BoxFuture<'static, Result<CpuOutcome, CpuCallError>> {
        let call = match self.call(call) {
            Ok(call) => call,
            Err(error) => return std::future::ready(Err(error.into())).boxed(),
        };
        // The binary may have to be fetched and compiled first, and others' debts be paid.
        let within = Duration::from_millis(call.wall_ms_max).saturating_add(PREPARE_TIME);
        let called = (call.workload.clone(), call.component.clone());
        let asked = self.ask(Ask::RunLeased(Box::new(call)), within.min(ORDER_TIME_MAX));
        let (shared, held) = (Arc::clone(&self.shared), Arc::clone(&self.held));
        async move {
            let Answer::RanLeased(ran) = asked.await? else {
                return Err(odd("something else than it was asked").into());
            };
            let binary = binary(&shared, &called)?;
            let host = held.lease.host;
            judged(*ran, &shared, host, binary).map_err(CpuCallError::Asset)
        }
        .boxed()
    }

    fn usage(&self) -> Awaited<CpuUsage> {
        let asked = self.ask(Ask::UsageOf(self.capability.clone()), USAGE_TIME);
        async move {
            match asked.await {
                Ok(Answer::Usage(usage)) => Ok(CpuUsage {
                    millicores: usage.millicores,
                    calls: usage.calls,
                    cpu_us: usage.cpu_us,
                    fuel: usage.fuel,
                    left_ms: usage.left_ms,
                }),
                Ok(_) => Err(odd("something else than it was asked")),
                Err(CpuCallError::Asset(error)) => Err(error),
                Err(CpuCallError::Failed(text)) => Err(AssetError::Unavailable(text)),
            }
        }
        .boxed()
    }

    fn renew(&self, term_ms: u64) -> Awaited<()> {
        let renewed = self.held.renew(term_ms);
        let usage = self.ask(Ask::UsageOf(self.capability.clone()), USAGE_TIME);
        async move {
            renewed.await?;
            // The host may have ended the lease by its own clock before it heard of it.
            match usage.await {
                Err(CpuCallError::Asset(error)) => Err(error),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

/// The binary that this node's own view of the ledger names.
fn binary(
    shared: &Shared,
    (workload, component): &(Name, Name),
) -> Result<Option<Digest>, AssetError> {
    let deployment = shared.state().view.deployment(workload);
    let deployment = deployment.map_err(|error| AssetError::Unavailable(error.to_string()))?;
    Ok(deployment.and_then(|deployment| {
        let mut components = deployment.spec.components.iter();
        let spec = components.find(|spec| spec.name == *component);
        spec.map(|spec| spec.artifact)
    }))
}

/// Takes what a host signed for, with the output that it signed for.
fn judged(
    leased: RanLeased,
    shared: &Shared,
    host: NodeId,
    binary: Option<Digest>,
) -> Result<CpuOutcome, AssetError> {
    let RanLeased { ran, cpu_us } = leased;
    let receipt = &ran.receipt.receipt;
    if (receipt.node, receipt.fabric) != (host, shared.fabric) || ran.receipt.verify().is_err() {
        return Err(odd("with a receipt that it did not sign"));
    }
    if receipt.output != output_digest(&ran.result) {
        return Err(odd("with a receipt of another output"));
    }
    if binary.is_some_and(|binary| receipt.component != binary) {
        return Err(odd("for another binary than is deployed now"));
    }
    Ok(CpuOutcome {
        fuel: receipt.fuel,
        cpu_us,
        memory_peak_bytes: receipt.memory_peak_bytes,
        receipt: ran.receipt.encode(),
        output: ran.result,
    })
}

/// An answer that is none: a host that is not as it should be.
fn odd(what: &str) -> AssetError {
    AssetError::Lost(format!("the lease's host answered {what}"))
}

fn silent(silence: Silence) -> CpuCallError {
    let text = silence.to_string();
    CpuCallError::Asset(match silence {
        Silence::Refused(refusal) => return refused(refusal),
        Silence::Alone | Silence::Unheard(AskMemberError::NoSession) => {
            AssetError::Unavailable(text)
        }
        _ => AssetError::Lost(text),
    })
}

fn refused(refusal: OrderRefusal) -> CpuCallError {
    use OrderRefusal as R;
    let text = refusal.to_string();
    CpuCallError::Asset(match refusal {
        R::Guest(_) | R::ResultTooLarge { .. } | R::Late => return CpuCallError::Failed(text),
        R::Busy => AssetError::Busy(text),
        R::NoLease => AssetError::Ended,
        R::Denied(_)
        | R::UnknownWorkload(_)
        | R::UnknownComponent(_)
        | R::NotDeterministic
        | R::NotCallable(_)
        | R::Secrets
        | R::Stateful => AssetError::Denied(text),
        R::Invoke(_) | R::NotCanonical | R::Malformed(_) => AssetError::Invalid(text),
        _ => AssetError::Unavailable(text),
    })
}
