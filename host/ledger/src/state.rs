//! How rules read and write state without knowing where it is kept.

use std::collections::BTreeMap;

use crate::key::StateKey;
use crate::record::{self, Record};

/// Largest value of one entry: a deployment of 32 components with their texts fits.
pub const VALUE_BYTES_MAX: usize = 128 * 1024;

/// Entries that the rules need and the caller has not loaded.
///
/// The rules are pure and synchronous, storage is neither: the caller loads the entries (or learns
/// that they are absent) and executes the block again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} state entries are not loaded, `{}` among them", keys.len(), keys.first().map_or_else(String::new, ToString::to_string))]
pub struct NotLoaded {
    /// What to load, at least one.
    pub keys: Vec<StateKey>,
}

/// The state that a block is executed on.
pub trait StateView {
    /// The value at `key`, or `None` if it is known to be absent.
    ///
    /// # Errors
    /// [`NotLoaded`] if the view cannot tell yet.
    fn read(&self, key: &StateKey) -> Result<Option<&[u8]>, NotLoaded>;
}

impl StateView for BTreeMap<StateKey, Vec<u8>> {
    /// A map of the whole state: what is not in it is absent.
    fn read(&self, key: &StateKey) -> Result<Option<&[u8]>, NotLoaded> {
        Ok(self.get(key).map(Vec::as_slice))
    }
}

/// Changes on top of a view, kept only if the transaction that makes them succeeds.
pub(crate) struct Draft<'a, V> {
    view: &'a V,
    committed: BTreeMap<StateKey, Option<Vec<u8>>>,
    pending: BTreeMap<StateKey, Option<Vec<u8>>>,
}

impl<'a, V: StateView> Draft<'a, V> {
    pub(crate) fn new(view: &'a V) -> Self {
        Self {
            view,
            committed: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    pub(crate) fn read<R: Record>(&self, key: &StateKey) -> Result<Option<R>, NotLoaded> {
        let written = self.pending.get(key).or_else(|| self.committed.get(key));
        let bytes = match written {
            Some(value) => value.as_deref(),
            None => self.view.read(key)?,
        };
        Ok(bytes.map(|bytes| record::read_trusted(key, bytes)))
    }

    /// Asks for entries that will be read together, so that they are loaded together.
    pub(crate) fn want(&self, keys: impl IntoIterator<Item = StateKey>) -> Result<(), NotLoaded> {
        let written =
            |key: &StateKey| self.pending.contains_key(key) || self.committed.contains_key(key);
        let missing = keys.into_iter().filter(|key| !written(key));
        let missing = missing.filter_map(|key| self.view.read(&key).err());
        let keys: Vec<StateKey> = missing.flat_map(|missing| missing.keys).collect();
        match keys.is_empty() {
            true => Ok(()),
            false => Err(NotLoaded { keys }),
        }
    }

    pub(crate) fn write<R: Record>(&mut self, key: StateKey, value: &R) {
        let bytes = record::encode(value);
        debug_assert!(
            bytes.len() <= VALUE_BYTES_MAX,
            "{key}: {} bytes",
            bytes.len()
        );
        self.pending.insert(key, Some(bytes));
    }

    pub(crate) fn remove(&mut self, key: StateKey) {
        self.pending.insert(key, None);
    }

    /// Keeps what was written since the last call.
    pub(crate) fn commit(&mut self) {
        self.committed.append(&mut self.pending);
    }

    /// Forgets what was written since the last [`Self::commit`].
    pub(crate) fn roll_back(&mut self) {
        self.pending.clear();
    }

    /// All that was committed.
    pub(crate) fn into_changes(self) -> BTreeMap<StateKey, Option<Vec<u8>>> {
        self.committed
    }
}
