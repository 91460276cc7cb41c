//! The first poll of a call, on the task that asked for it. Knows no guest.
//!
//! Most requests are answered within it. A task of their own would cost them an allocation, two
//! wake-ups and often a move to another core: as much as all the limits together.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use crate::errors::CallError;

/// A call on its way to its end, wherever it is polled next.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send>>;

/// Polls `work` once: its end, or none if it must be polled on.
///
/// A panic is this call's end and nobody else's, as it would be in a task of its own.
pub(crate) async fn first_poll<T>(work: &mut Work<T>) -> Option<Result<T, CallError>> {
    poll_fn(|context| {
        // The work is not polled again after a panic, so no state of it is seen half changed.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        Poll::Ready(match polled {
            Ok(Poll::Ready(end)) => Some(end),
            Ok(Poll::Pending) => None,
            Err(_) => Some(Err(CallError::Host {
                reason: "a host function panicked".to_owned(),
            })),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_ends_here_or_goes_on_elsewhere() {
        let mut short: Work<u8> = Box::pin(async { Ok(1) });
        assert_eq!(first_poll(&mut short).await, Some(Ok(1)));
        let mut long: Work<u8> = Box::pin(async {
            tokio::task::yield_now().await;
            Ok(2)
        });
        assert_eq!(first_poll(&mut long).await, None);
        assert_eq!(tokio::spawn(long).await.unwrap(), Ok(2));
    }

    #[tokio::test]
    async fn a_panic_ends_the_call_alone() {
        let mut work: Work<u8> = Box::pin(async { panic!("on purpose") });
        let end = first_poll(&mut work).await;
        assert!(matches!(end, Some(Err(CallError::Host { .. }))), "{end:?}");
    }
}
