//! Messages that were published, and messages to a handler.

use super::with;
use crate::messaging::{Error, Message, Outcome};

/// Every message published since the last [`reset`](super::reset), in order. Nobody gets them by
/// himself: a test may [`deliver`] them.
#[must_use]
pub fn published() -> Vec<Message> {
    with(|state| state.published.clone())
}

/// Has `handle` handle `message`.
///
/// # Errors
/// What the handler's error says.
pub fn deliver<O: Outcome>(
    handle: impl FnOnce(Message) -> O,
    message: Message,
) -> Result<(), String> {
    handle(message).outcome()
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
pub(crate) fn publish(message: Message) -> Result<(), Error> {
    with(|state| state.published.push(message));
    Ok(())
}
