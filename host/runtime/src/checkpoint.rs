//! Checkpoints: what a stateful library gave the host to keep, and who may write it. Knows no
//! file and no guest.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use types::Digest;

/// A library's state after a call.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Calls that led to it, since the workload was deployed.
    pub sequence: u64,
    /// The component that wrote it; its successor may read it, too.
    pub artifact: Digest,
    /// What `checkpoint` returned.
    pub state: Vec<u8>,
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("sequence", &self.sequence)
            .field("artifact", &self.artifact)
            .field("bytes", &self.state.len())
            .finish()
    }
}

/// A checkpoint that could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct CheckpointError {
    /// Which one, and why.
    pub reason: String,
}

/// Keeps the latest checkpoint of one replica. Called on threads that may block.
pub trait Checkpoints: Send + Sync + 'static {
    /// The latest checkpoint; none if there never was one.
    ///
    /// # Errors
    /// [`CheckpointError`] if there is one that cannot be read or is damaged.
    fn load(&self) -> Result<Option<Checkpoint>, CheckpointError>;

    /// Puts `checkpoint` in place of the latest one. Returns once it survives a crash of the
    /// machine.
    ///
    /// # Errors
    /// [`CheckpointError`]: then either this or the one before is the latest.
    fn store(&self, checkpoint: &Checkpoint) -> Result<(), CheckpointError>;
}

/// The latest checkpoint without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointMark {
    /// Calls that led to it.
    pub sequence: u64,
    /// Its size.
    pub bytes: u64,
}

/// The state of one replica, whichever generation of it runs. The last generation that took over
/// writes it; calls of others are refused, so that no two instances ever continue the same state.
pub struct ReplicaState {
    checkpoints: Arc<dyn Checkpoints>,
    /// Counts generations that took over. Held while a call changes the state.
    owner: Arc<AsyncMutex<u64>>,
    mark: Mutex<Option<CheckpointMark>>,
}

impl fmt::Debug for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaState")
            .field("mark", &self.mark())
            .finish_non_exhaustive()
    }
}

/// The right to change a state, until it is dropped.
pub(crate) type StateTurn = OwnedMutexGuard<u64>;

impl ReplicaState {
    /// A state that is kept by `checkpoints`.
    #[must_use]
    pub fn new(checkpoints: Arc<dyn Checkpoints>) -> Self {
        Self {
            checkpoints,
            owner: Arc::default(),
            mark: Mutex::new(None),
        }
    }

    /// The latest checkpoint, once a replica has looked for one.
    #[must_use]
    pub fn mark(&self) -> Option<CheckpointMark> {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody changes the state.
    pub(crate) async fn turn(&self) -> StateTurn {
        Arc::clone(&self.owner).lock_owned().await
    }

    pub(crate) async fn load(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        let checkpoints = Arc::clone(&self.checkpoints);
        let loaded = blocking(move || checkpoints.load()).await?;
        self.set_mark(loaded.as_ref());
        Ok(loaded)
    }

    pub(crate) async fn store(&self, checkpoint: Checkpoint) -> Result<(), CheckpointError> {
        let checkpoints = Arc::clone(&self.checkpoints);
        let stored = blocking(move || checkpoints.store(&checkpoint).map(|()| checkpoint)).await?;
        self.set_mark(Some(&stored));
        Ok(())
    }

    fn set_mark(&self, checkpoint: Option<&Checkpoint>) {
        let mark = checkpoint.map(|checkpoint| CheckpointMark {
            sequence: checkpoint.sequence,
            bytes: checkpoint.state.len() as u64,
        });
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CheckpointError> + Send + 'static,
) -> Result<T, CheckpointError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| {
        let reason = format!("the task that keeps checkpoints ended: {error}");
        Err(CheckpointError { reason })
    })
}
