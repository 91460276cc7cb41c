//! Workers: one message, one fresh instance. Knows nothing of queues and retries.

use std::pin::pin;
use std::sync::Arc;

use types::ComponentKind;

use crate::background;
use crate::call::Call;
use crate::capability::messaging::{Draft, MessagingCorePre};
use crate::errors::{CallError, clipped};
use crate::host::Host;
use crate::message::Message;
use crate::observer::{CallKind, CallOutcome};
use crate::replica::{Driver, Replica};

impl Replica {
    /// Has a fresh instance handle `message`.
    ///
    /// Dropping the future stops the guest.
    ///
    /// # Errors
    /// [`CallError`] if it was not handled: no place, a breach, a trap, a stop, or
    /// [`CallError::GuestError`] with what the handler answered.
    pub async fn deliver(&self, message: Message) -> Result<(), CallError> {
        let Driver::Worker(_) = &self.shared.driver else {
            return Err(self.wrong_kind(ComponentKind::Worker));
        };
        let place = self.shared.admission.place().await?;
        let call = Call::begin(&self.shared.guest, CallKind::Message, place);
        let meter = Arc::clone(call.meter());
        let background = Arc::clone(&self.shared.guest.background);
        let work = Box::pin(self.clone().deliver_to_end(call, message));
        background::drive(work, meter, background).await
    }

    async fn deliver_to_end(self, call: Call, message: Message) -> Result<(), CallError> {
        let Driver::Worker(pre) = &self.shared.driver else {
            return Err(self.wrong_kind(ComponentKind::Worker));
        };
        let (store, result) = match call.store() {
            Ok(mut store) => {
                let result = call.drive(pin!(handle(pre, &mut store, message))).await;
                (Some(store), result)
            }
            Err(error) => (None, Err(error)),
        };
        let result = result.and_then(|answer| {
            answer.map_err(|code| CallError::GuestError {
                code: clipped(&code),
            })
        });
        let outcome = match &result {
            Ok(()) => CallOutcome::Completed,
            Err(error) => CallOutcome::Failed(error.clone()),
        };
        call.end(store, outcome);
        result
    }
}

/// What the handler answers: nothing, or the text of its error.
async fn handle(
    pre: &MessagingCorePre<Host>,
    store: &mut wasmtime::Store<Host>,
    message: Message,
) -> wasmtime::Result<Result<(), String>> {
    let message = store.data_mut().receive(Draft::received(message))?;
    let worker = pre.instantiate_async(&mut *store).await?;
    let answer = worker
        .wasi_messaging_incoming_handler()
        .call_handle(store, message)
        .await?;
    Ok(answer.map_err(|error| error.to_string()))
}
