//! Records of guests: what a workload writes down where everyone can see and prove it. What
//! transactions ask for and what the state says of them; never knows who runs a guest.

use serde::{Deserialize, Serialize};
use types::{Name, NodeId};

use crate::record::Record;

/// Largest value: what is large belongs in a store, and its digest here.
pub const RECORD_VALUE_BYTES_MAX: usize = 4_096;
/// Most bytes of keys and values of all guests of a fabric: every node holds them in memory.
pub const RECORDS_BYTES_MAX: u64 = 256 << 20;
/// Longest life of a record that expires, in blocks: a list of what is due is kept until then.
pub const RECORD_LIFE_BLOCKS_MAX: u64 = 1 << 24;
/// Records that may be due in one block: bounds what it frees, and the list of them.
pub const RECORDS_DUE_PER_BLOCK_MAX: usize = 256;
/// How many later blocks a record may move to where its own has no room to free it.
pub const RECORD_DUE_SEARCH_BLOCKS: u64 = 8;
/// Blocks of a window in which the changes of one node are counted.
pub const RECORD_WINDOW_BLOCKS: u64 = 64;
/// Most changes of one node in a window. They cost nothing, so this is what keeps a guest in a loop
/// from filling blocks; a node waits for one before it signs the next, so that a fabric without
/// load stays below by itself.
pub const RECORD_CHANGES_PER_WINDOW_MAX: u32 = 256;

/// The name of a record within its workload: 1 to 128 visible ASCII characters, no spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordKey(String);

/// A text that cannot name a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record's key is 1 to {} visible ASCII characters without spaces, not {text:?}",
    RecordKey::BYTES_MAX
)]
pub struct RecordKeyError {
    text: String,
}

impl RecordKey {
    /// Longest key: a digest with its algorithm and a prefix fits, and the index of a workload's
    /// records stays one entry.
    pub const BYTES_MAX: usize = 128;

    /// Checks `text`.
    ///
    /// # Errors
    /// [`RecordKeyError`] if it cannot be a key.
    pub fn new(text: impl Into<String>) -> Result<Self, RecordKeyError> {
        let text = text.into();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=Self::BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(RecordKeyError {
                text: text.chars().take(80).collect(),
            })
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RecordKey {
    type Error = RecordKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<RecordKey> for String {
    fn from(key: RecordKey) -> Self {
        key.0
    }
}

impl std::fmt::Display for RecordKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A change of a workload's records. Signed by the node that hosts the replica which asks for it:
/// keys never enter a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordOperation {
    /// Whose records.
    pub workload: Name,
    /// Which of its components asks.
    pub component: Name,
    /// Which replica of that.
    pub index: u16,
    /// What it asks for.
    pub change: RecordChange,
}

/// What becomes of one record. New changes are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordChange {
    /// Writes it.
    Put {
        /// Its key.
        key: RecordKey,
        /// Its value; at most [`RECORD_VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
        /// Height of the block that frees it; none keeps it as long as the workload.
        expires_at: Option<u64>,
        /// Refuses to replace one that is there.
        only_new: bool,
    },
    /// Frees it.
    Delete {
        /// Its key.
        key: RecordKey,
    },
}

impl RecordChange {
    /// The record that it is about.
    #[must_use]
    pub const fn key(&self) -> &RecordKey {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// One record of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRecord {
    /// What was written.
    pub value: Vec<u8>,
    /// Height of the block that wrote it.
    pub written_at: u64,
    /// Ledger time of that block, Unix milliseconds.
    pub written_ms: u64,
    /// The node that signed for the guest.
    pub by: NodeId,
    /// Height of the block that frees it: at most [`RECORD_DUE_SEARCH_BLOCKS`] later than was
    /// asked for.
    pub expires_at: Option<u64>,
}

/// What the index knows of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordFacts {
    /// Bytes of key and value.
    pub bytes: u32,
    /// Height of the block that frees it.
    pub expires_at: Option<u64>,
}

/// The records of one workload, so that they can be counted and freed with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRecordsRecord {
    /// By key; at most as many as the manifest grants.
    pub records: Vec<(RecordKey, RecordFacts)>,
}

/// The records of all workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordTotalsRecord {
    /// How many.
    pub records: u32,
    /// Bytes of their keys and values; at most [`RECORDS_BYTES_MAX`].
    pub bytes: u64,
}

/// What one block has to free.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsDueRecord {
    /// Workload and key; at most [`RECORDS_DUE_PER_BLOCK_MAX`].
    pub due: Vec<(Name, RecordKey)>,
}

/// How often one node changed records of late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRateRecord {
    /// Which window of [`RECORD_WINDOW_BLOCKS`]: the height by its length.
    pub window: u64,
    /// Changes in it, refused ones not counted.
    pub changes: u32,
}

impl Record for GuestRecord {}
impl Record for GuestRecordsRecord {}
impl Record for RecordTotalsRecord {}
impl Record for RecordsDueRecord {}
impl Record for RecordRateRecord {}
