//! `hypermesh:assets/cpu`.

use std::time::Duration;

use super::imports::hypermesh::assets::cpu as wit;
use super::millis;
use crate::cpu::{Call, Error, Outcome, Usage};

#[derive(Debug)]
pub(crate) struct Budget(wit::Budget);

#[derive(Debug)]
pub(crate) struct Running(wit::Running);

pub(crate) fn allocate(millicores: u32, term: Duration) -> Result<Budget, Error> {
    let budget = wit::allocate(millicores, millis(term));
    budget.map(Budget).map_err(error)
}

impl Budget {
    pub(crate) fn run(&self, call: &Call) -> Result<Outcome, Error> {
        self.0.run(&lowered(call)).map(outcome).map_err(error)
    }

    pub(crate) fn start(&self, call: &Call) -> Result<Running, Error> {
        self.0.start(&lowered(call)).map(Running).map_err(error)
    }

    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let usage = self.0.usage().map_err(error)?;
        Ok(Usage {
            millicores: usage.millicores,
            calls: usage.calls,
            cpu: Duration::from_micros(usage.cpu_us),
            fuel: usage.fuel,
            left: Duration::from_millis(usage.left_ms),
        })
    }

    pub(crate) fn renew(&self, term: Duration) -> Result<(), Error> {
        self.0.renew(millis(term)).map_err(error)
    }
}

impl Running {
    pub(crate) fn wait(self) -> Result<Outcome, Error> {
        self.0.wait().map(outcome).map_err(error)
    }
}

fn lowered(call: &Call) -> wit::Call {
    wit::Call {
        workload: call.workload.clone(),
        component: call.component.clone(),
        function: call.function.clone(),
        arguments: call.arguments.clone(),
        fuel_max: call.fuel_max,
        wall_ms_max: millis(call.wall_max),
    }
}

fn outcome(outcome: wit::Outcome) -> Outcome {
    Outcome {
        output: outcome.output,
        fuel: outcome.fuel,
        cpu: Duration::from_micros(outcome.cpu_us),
        memory_peak_bytes: outcome.memory_peak_bytes,
        receipt: outcome.receipt,
    }
}

fn error(error: wit::Error) -> Error {
    match error {
        wit::Error::Invalid(text) => Error::Invalid(text),
        wit::Error::Denied(text) => Error::Denied(text),
        wit::Error::Ended => Error::Ended,
        wit::Error::Quota(text) => Error::Quota(text),
        wit::Error::Exhausted(text) => Error::Exhausted(text),
        wit::Error::Busy(text) => Error::Busy(text),
        wit::Error::Lost(text) => Error::Lost(text),
        wit::Error::Unavailable(text) => Error::Unavailable(text),
        wit::Error::Failed(text) => Error::Failed(text),
    }
}
