//! What a block concerns, by the keys that it changes.

use std::collections::BTreeSet;

use ledger::StateKey;
use types::Name;

/// Whom changes of the state concern.
pub(super) struct Touched {
    pub(super) standing: bool,
    pub(super) space: bool,
    pub(super) workloads: BTreeSet<Name>,
}

impl Touched {
    pub(super) fn by(changes: &[(StateKey, Option<Vec<u8>>)]) -> Self {
        let mut keys = changes.iter().map(|(key, _)| key);
        Self {
            workloads: keys.clone().filter_map(StateKey::workload).collect(),
            standing: keys.clone().any(StateKey::is_about_standing),
            space: keys.any(StateKey::is_about_space),
        }
    }
}
