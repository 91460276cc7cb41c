//! Commands: one run of `wasi:cli/run` per call.

use std::pin::pin;
use std::sync::Arc;

use futures::future::poll_fn;
use wasmtime::Store;

use crate::background;
use crate::call::Call;
use crate::errors::CallError;
use crate::host::Host;
use crate::observer::{CallKind, CallOutcome};
use crate::replica::{CommandPre, Driver, Replica};
use types::ComponentKind;

/// What a command ended with; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus(pub u8);

impl Replica {
    /// Runs the command to its end. While the replica is paused, it does not begin.
    ///
    /// Dropping the future stops the guest.
    ///
    /// # Errors
    /// [`CallError`] if it did not end by itself: a breach, a trap, a stop; or if it could not
    /// begin.
    pub async fn run(&self) -> Result<ExitStatus, CallError> {
        let Driver::Command(_) = &self.shared.driver else {
            return Err(self.wrong_kind(ComponentKind::Command));
        };
        let place = self.shared.admission.place_after_pause().await?;
        let call = Call::begin(&self.shared.guest, CallKind::Command, place);
        let meter = Arc::clone(call.meter());
        let background = Arc::clone(&self.shared.guest.background);
        background::drive(Box::pin(self.clone().run_to_end(call)), meter, background).await
    }

    async fn run_to_end(self, call: Call) -> Result<ExitStatus, CallError> {
        let Driver::Command(pre) = &self.shared.driver else {
            return Err(self.wrong_kind(ComponentKind::Command));
        };
        let (store, result) = match call.store() {
            Ok(mut store) => {
                let result = call.drive(pin!(run(pre, &mut store))).await;
                (Some(store), result)
            }
            Err(error) => (None, Err(error)),
        };
        let result = match result {
            Err(CallError::Exit(code)) => Ok(code),
            other => other,
        };
        let outcome = match &result {
            Ok(code) => CallOutcome::Exited(*code),
            Err(error) => CallOutcome::Failed(error.clone()),
        };
        call.end(store, outcome);
        result.map(ExitStatus)
    }
}

async fn run(pre: &CommandPre, store: &mut Store<Host>) -> wasmtime::Result<u8> {
    let result = match pre {
        CommandPre::P2(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            command.wasi_cli_run().call_run(store).await?
        }
        CommandPre::P3(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            let run = store.run_concurrent(async |accessor| {
                let result = command.wasi_cli_run().call_run(accessor).await?;
                // What it does after it has returned its result is part of the run.
                poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
                Ok::<_, wasmtime::Error>(result)
            });
            run.await??
        }
    };
    Ok(u8::from(result.is_err()))
}
