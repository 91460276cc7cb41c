//! Messages between components: what one holds and how large it may be. Knows no queue.

use bytes::Bytes;
use types::Topic;

use crate::bounds::MESSAGE_BYTES_MAX;

/// What a pair of metadata counts beside its text, so that many empty ones are not free.
const PAIR_BYTES: usize = 64;

/// A message as the node passes it on. Clones share the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is addressed to.
    pub topic: Topic,
    /// The format of its data.
    pub content_type: Option<String>,
    /// Decoration that the node does not look at.
    pub metadata: Vec<(String, String)>,
    /// The message itself.
    pub data: Bytes,
}

/// A message above the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a message of {bytes} bytes: at most {MESSAGE_BYTES_MAX} are passed on; store it and send where it is"
)]
pub struct MessageTooLarge {
    /// Its size, data and all the rest.
    pub bytes: usize,
}

impl Message {
    /// What it counts towards bounds: data, content type and metadata.
    #[must_use]
    pub fn bytes(&self) -> usize {
        counted(
            self.content_type.as_deref(),
            &self.metadata,
            self.data.len(),
        )
    }

    /// Whether it is within the bound.
    ///
    /// # Errors
    /// [`MessageTooLarge`] says by how much it is not.
    pub fn check(&self) -> Result<(), MessageTooLarge> {
        let bytes = self.bytes();
        if bytes > MESSAGE_BYTES_MAX {
            Err(MessageTooLarge { bytes })
        } else {
            Ok(())
        }
    }
}

/// The size of a message's parts together.
pub(crate) fn counted(
    content_type: Option<&str>,
    metadata: &[(String, String)],
    data: usize,
) -> usize {
    let pairs = metadata.iter();
    let pairs: usize = pairs
        .map(|(key, value)| PAIR_BYTES + key.len() + value.len())
        .sum();
    data + content_type.map_or(0, str::len) + pairs
}
