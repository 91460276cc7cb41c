//! `hypermesh:assets/cpu`: calls of deployed components under leases of processors, here and elsewhere.
//!
//! *Grant*: `capabilities.cpu = MILLICORES`; without it a component that imports the interface is
//! refused at deploy. *Limits*: what a replica has leased stays within the grant, which the node counts
//! behind [`crate::Cpu`]; its instances have [`BUDGETS_OPEN_MAX`] budgets and [`LEASED_CALLS_MAX`] calls
//! at once; a call has the bounds of its component, and stays within the lease where it runs.
//! *Denial*: the cases of `error`, each with a text that names the bound.
//!
//! A budget and a call that was begun are resources of their instance: they go with it, however that
//! ends. A call keeps its budget until it has ended.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use types::Capability;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::hypermesh::assets::cpu as wit;
use super::{Grant, Package};
use crate::bounds::{BUDGETS_OPEN_MAX, LEASED_CALL_BYTES_MAX, LEASED_CALLS_MAX};
use crate::cpu::{CpuBudget, CpuCall, CpuCallError, CpuOutcome};
use crate::errors::clipped;
use crate::host::Host;
use crate::memory::AssetError;

pub(super) const PACKAGE: Package = Package {
    name: "hypermesh:assets",
    version: "0.1.0",
    interfaces: &["cpu"],
    grant: Some(Grant {
        interfaces: &["cpu"],
        line: "capabilities.cpu = MILLICORES",
        covers: |capability| matches!(capability, Capability::Cpu { .. }),
    }),
    link,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/assets",
        world: "cpu-user",
        imports: { default: async | trappable },
        with: {
            "hypermesh:assets/cpu.budget": super::OpenBudget,
            "hypermesh:assets/cpu.running": super::RunningCall,
        },
    });
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

/// A budget that an instance has.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OpenBudget {
    budget: Arc<dyn CpuBudget>,
    _place: OwnedSemaphorePermit,
}

/// A call that an instance began. Dropping it stops the call.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct RunningCall {
    /// None once its end was told.
    task: Option<Task>,
}

type Ended = Result<CpuOutcome, CpuCallError>;

/// Stops with the handle.
struct Task(JoinHandle<Ended>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

fn told(error: AssetError) -> wit::Error {
    match error {
        AssetError::Invalid(text) => wit::Error::Invalid(clipped(&text)),
        AssetError::Denied(text) => wit::Error::Denied(clipped(&text)),
        AssetError::Ended => wit::Error::Ended,
        AssetError::Quota(text) => wit::Error::Quota(clipped(&text)),
        AssetError::Exhausted(text) => wit::Error::Exhausted(clipped(&text)),
        AssetError::Busy(text) => wit::Error::Busy(clipped(&text)),
        AssetError::Lost(text) => wit::Error::Lost(clipped(&text)),
        AssetError::Unavailable(text) => wit::Error::Unavailable(clipped(&text)),
    }
}

fn answer<T>(result: Result<T, AssetError>) -> Answer<T> {
    Ok(result.map_err(told))
}

fn ended(end: Ended) -> Answer<wit::Outcome> {
    Ok(match end {
        Ok(outcome) => Ok(wit::Outcome {
            output: outcome.output,
            fuel: outcome.fuel,
            cpu_us: outcome.cpu_us,
            memory_peak_bytes: outcome.memory_peak_bytes,
            receipt: outcome.receipt,
        }),
        Err(CpuCallError::Asset(error)) => Err(told(error)),
        Err(CpuCallError::Failed(text)) => Err(wit::Error::Failed(clipped(&text))),
    })
}

/// A call whose texts fit.
fn fitting(call: wit::Call) -> Result<CpuCall, AssetError> {
    let names = [&call.workload, &call.component, &call.function];
    let texts = names.into_iter().chain(&call.arguments);
    // An argument costs more than its text.
    let bytes = texts.map(|text| text.len().saturating_add(1));
    let bytes = bytes.fold(0, usize::saturating_add);
    if bytes > LEASED_CALL_BYTES_MAX {
        let text = format!(
            "the texts of the call have {bytes} bytes, at most {LEASED_CALL_BYTES_MAX} are passed on"
        );
        return Err(AssetError::Invalid(text));
    }
    Ok(CpuCall {
        workload: call.workload,
        component: call.component,
        function: call.function,
        arguments: call.arguments,
        fuel_max: call.fuel_max,
        wall_ms_max: call.wall_ms_max,
    })
}

impl Host {
    fn budget(&mut self, budget: &Resource<OpenBudget>) -> wasmtime::Result<Arc<dyn CpuBudget>> {
        Ok(Arc::clone(&self.table().get(budget)?.budget))
    }

    /// A call, and its place among those that the replica's instances have under way.
    fn leased_call(&self, call: wit::Call) -> Result<(CpuCall, OwnedSemaphorePermit), AssetError> {
        let place = Arc::clone(&self.guest().leased_calls).try_acquire_owned();
        let place = place.map_err(|_| {
            AssetError::Quota(format!(
                "the replica has {LEASED_CALLS_MAX} calls under way, the most at once"
            ))
        })?;
        Ok((fitting(call)?, place))
    }
}

impl wit::HostRunning for Host {
    async fn wait(&mut self, running: Resource<RunningCall>) -> Answer<wit::Outcome> {
        let Some(mut task) = self.table().get_mut(&running)?.task.take() else {
            let text = "the end of this call was told before";
            return answer(Err(AssetError::Invalid(text.to_owned())));
        };
        match (&mut task.0).await {
            Ok(end) => ended(end),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => answer(Err(AssetError::Unavailable(
                "the node is stopping".to_owned(),
            ))),
        }
    }

    async fn drop(&mut self, running: Resource<RunningCall>) -> wasmtime::Result<()> {
        self.table().delete(running)?;
        Ok(())
    }
}

impl wit::HostBudget for Host {
    async fn run(&mut self, budget: Resource<OpenBudget>, call: wit::Call) -> Answer<wit::Outcome> {
        let budget = self.budget(&budget)?;
        match self.leased_call(call) {
            Ok((call, _place)) => ended(budget.run(call).await),
            Err(error) => answer(Err(error)),
        }
    }

    async fn start(
        &mut self,
        budget: Resource<OpenBudget>,
        call: wit::Call,
    ) -> Answer<Resource<RunningCall>> {
        let budget = self.budget(&budget)?;
        let (call, place) = match self.leased_call(call) {
            Ok(fits) => fits,
            Err(error) => return answer(Err(error)),
        };
        let task = tokio::spawn(async move {
            let ended = budget.run(call).await;
            drop((budget, place));
            ended
        });
        let task = Some(Task(task));
        Ok(Ok(self.table().push(RunningCall { task })?))
    }

    async fn remaining(&mut self, budget: Resource<OpenBudget>) -> Answer<u64> {
        let usage = self.budget(&budget)?.usage();
        answer(usage.await.map(|usage| usage.left_ms))
    }

    async fn usage(&mut self, budget: Resource<OpenBudget>) -> Answer<wit::Usage> {
        let usage = self.budget(&budget)?.usage();
        answer(usage.await.map(|usage| wit::Usage {
            millicores: usage.millicores,
            calls: usage.calls,
            cpu_us: usage.cpu_us,
            fuel: usage.fuel,
            left_ms: usage.left_ms,
        }))
    }

    async fn renew(&mut self, budget: Resource<OpenBudget>, term_ms: u64) -> Answer<()> {
        let renewed = self.budget(&budget)?.renew(term_ms);
        answer(renewed.await)
    }

    async fn drop(&mut self, budget: Resource<OpenBudget>) -> wasmtime::Result<()> {
        self.table().delete(budget)?;
        Ok(())
    }
}

impl wit::Host for Host {
    async fn allocate(&mut self, millicores: u32, term_ms: u64) -> Answer<Resource<OpenBudget>> {
        let place = Arc::clone(&self.guest().processors.places).try_acquire_owned();
        let begun = place
            .map_err(|_| {
                AssetError::Quota(format!(
                    "the replica has {BUDGETS_OPEN_MAX} budgets, the most at once"
                ))
            })
            .and_then(|place| {
                let cpu = self.guest().processors.get()?;
                Ok((cpu.allocate(millicores, term_ms), place))
            });
        let (allocated, place) = match begun {
            Ok(begun) => begun,
            Err(error) => return answer(Err(error)),
        };
        match allocated.await {
            Ok(budget) => {
                let open = OpenBudget {
                    budget,
                    _place: place,
                };
                Ok(Ok(self.table().push(open)?))
            }
            Err(error) => answer(Err(error)),
        }
    }
}
