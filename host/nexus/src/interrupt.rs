//! Ctrl-C and polite requests to end, as something that can be awaited.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure, Outcome};

/// From its making on, SIGINT and SIGTERM end nothing by themselves: whoever holds it decides.
pub(crate) struct Interrupt {
    keyboard: Signal,
    terminate: Signal,
    pending: bool,
}

impl Interrupt {
    /// Takes both signals over.
    ///
    /// # Errors
    /// [`Failure`] if the system does not allow it.
    pub(crate) fn new() -> Outcome<Self> {
        let take = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"))
            })
        };
        Ok(Self {
            keyboard: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
            pending: false,
        })
    }

    /// Resolves at the next signal; at once if one came during [`Self::insisting`].
    pub(crate) async fn received(&mut self) {
        if !std::mem::take(&mut self.pending) {
            self.next().await;
        }
    }

    /// Awaits `work`, which should not be cut short: the first signal is kept for
    /// [`Self::received`], only the second one gives up, with nothing as the result.
    pub(crate) async fn insisting<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return Some(result),
                () = self.next() => {
                    if std::mem::replace(&mut self.pending, true) {
                        return None;
                    }
                }
            }
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.keyboard.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
