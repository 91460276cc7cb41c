//! What the node does for the guests of one replica: secrets, and traits that the node implements.
//! Knows no disk and no network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::checkpoint::ReplicaState;
use crate::message::{Message, MessageTooLarge};

/// The services of one replica; what is not there answers guests with an error of its interface.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Values of the secrets that the specification names.
    pub secrets: BTreeMap<String, Secret>,
    /// Where messages of the guests go.
    pub publisher: Option<Arc<dyn Publisher>>,
    /// Where a stateful library's checkpoints are kept; the same for every generation of a replica.
    pub state: Option<Arc<ReplicaState>>,
}

/// Takes messages to their subscribers.
///
/// Called from the threads that run guests: an implementation must not block.
pub trait Publisher: fmt::Debug + Send + Sync + 'static {
    /// Queues `message` for every component that subscribes to its topic, or for none; returns how
    /// many there are.
    ///
    /// # Errors
    /// [`PublishError`] if it is not queued.
    fn publish(&self, message: Message) -> Result<usize, PublishError>;
}

/// A message that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A subscriber is behind.
    #[error("the queue of {subscriber} is full: try again later")]
    QueueFull {
        /// Workload and component.
        subscriber: String,
    },
    /// Larger than any subscriber gets.
    #[error("{0}")]
    TooLarge(#[from] MessageTooLarge),
}

/// A value that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` out of everything printed.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the guest that it belongs to.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
