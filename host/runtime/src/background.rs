//! Where calls go that compute for long: threads of low priority, so that a short call that becomes
//! ready is not kept waiting by one that would take every cycle. Knows no guest.
//!
//! Time slices alone bound how long a worker is taken (one slice per computing call), which is many
//! times what a short call needs. The system's own scheduler does better: threads of low priority
//! give way within microseconds and still use every core that is idle.

use std::io;
use std::sync::Arc;
use std::task::Poll;

use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::errors::CallError;
use crate::first_poll::Work;
use crate::meter::Meter;

/// As nice as a thread can be: about a seventieth of the weight of an ordinary one.
const NICENESS: i32 = 19;

/// The threads. Dropping it leaves what still runs to end by itself.
pub(crate) struct Background {
    handle: Handle,
    runtime: Option<Runtime>,
}

/// A call that was handed over; dropping it stops the call.
struct HandedOver<T>(JoinHandle<T>);

impl<T> Drop for HandedOver<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Background {
    /// As many threads as there are cores.
    ///
    /// # Errors
    /// What the system says when it gives no threads.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("guest-background")
            .on_thread_start(|| {
                // A thread may always be made nicer; if not, it competes as an equal.
                if let Err(error) = setpriority_process(None, NICENESS) {
                    tracing::warn!("background threads keep their priority: {error}");
                }
            })
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Dropping a tokio runtime waits, which an async thread must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Drives `call`, whose meter this is, here until it ends or has computed for long, then there.
pub(crate) async fn drive<T: Send + 'static>(
    mut call: Work<T>,
    meter: Arc<Meter>,
    background: Arc<Background>,
) -> Result<T, CallError> {
    let here = std::future::poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(end) => Poll::Ready(Some(end)),
        Poll::Pending if meter.computes_long() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    if let Some(end) = here.await {
        return end;
    }
    let mut there = HandedOver(background.handle.spawn(call));
    match (&mut there.0).await {
        Ok(end) => end,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The threads are gone: so is the runtime that the call belonged to.
        Err(_) => Err(CallError::Stopped),
    }
}
