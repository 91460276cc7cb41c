//! Leased processors of one thread: every lease is granted at once, and calls are answered by what the
//! test says, when they are begun.

use std::cell::Cell;
use std::time::Duration;

use super::memory::check_term;
use super::with;
use crate::cpu::{Call, Error, Outcome, Usage};

/// How long every lease says that it lasts.
const LEFT: Duration = Duration::from_secs(3600);

/// Answers calls.
pub(super) type OnCall = Box<dyn FnMut(&Call) -> Result<String, Error>>;

/// Answers every call under a [`Budget`](crate::cpu::Budget) from now on: with its output, or an error.
pub fn on_cpu_call(answer: impl FnMut(&Call) -> Result<String, Error> + 'static) {
    with(|state| state.on_cpu_call = Some(Box::new(answer)));
}

#[derive(Debug)]
pub(crate) struct Budget {
    millicores: u32,
    calls: Cell<u64>,
}

#[derive(Debug)]
pub(crate) struct Running(Result<Outcome, Error>);

pub(crate) fn allocate(millicores: u32, term: Duration) -> Result<Budget, Error> {
    check_term(term).map_err(Error::Invalid)?;
    if millicores == 0 {
        return Err(Error::Invalid("a lease of nothing".to_owned()));
    }
    let calls = Cell::default();
    Ok(Budget { millicores, calls })
}

impl Budget {
    pub(crate) fn run(&self, call: &Call) -> Result<Outcome, Error> {
        self.calls.set(self.calls.get() + 1);
        // Taken out while it runs: it may use the mock itself.
        let Some(mut answer) = with(|state| state.on_cpu_call.take()) else {
            let problem = "nothing answers: tell the mock what does, with `mock::on_cpu_call`";
            return Err(Error::Denied(problem.to_owned()));
        };
        let answered = answer(call);
        with(|state| {
            state.on_cpu_call.get_or_insert(answer);
        });
        let outcome = |output| Outcome {
            output,
            ..Outcome::default()
        };
        answered.map(outcome)
    }

    pub(crate) fn start(&self, call: &Call) -> Result<Running, Error> {
        Ok(Running(self.run(call)))
    }

    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        Ok(Usage {
            millicores: self.millicores,
            calls: self.calls.get(),
            cpu: Duration::ZERO,
            fuel: 0,
            left: LEFT,
        })
    }

    pub(crate) fn renew(&self, term: Duration) -> Result<(), Error> {
        check_term(term).map_err(Error::Invalid)
    }
}

impl Running {
    pub(crate) fn wait(self) -> Result<Outcome, Error> {
        self.0
    }
}
