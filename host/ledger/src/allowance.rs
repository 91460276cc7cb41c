//! Allowances: how much of what others share a principal may hold at once, and what answers for it.
//! Knows no asset in particular.
//!
//! A bond is counted in units that an admin gives out and that nobody can pass on. A lease ties what
//! the asset's policy asks for as long as it holds; a node that fails a challenge forfeits its own.

use serde::{Deserialize, Serialize};
use types::{Amount, AssetType};

use crate::record::Record;

/// What one principal may hold, and its bond. Without a record there is no quota and no bond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceRecord {
    /// Most of each type at once, in the order of [`AssetType::ALL`]; none where only what is there
    /// bounds it.
    pub quota: [Option<Amount>; AssetType::ALL.len()],
    /// What answers for it, in units of the fabric's own.
    pub bond: u64,
}

impl AllowanceRecord {
    /// Most of `asset_type` at once.
    #[must_use]
    pub fn quota_of(&self, asset_type: AssetType) -> Option<Amount> {
        let types = AssetType::ALL.iter().zip(self.quota);
        types
            .filter(|(other, _)| **other == asset_type)
            .find_map(|(_, quota)| quota)
    }
}

impl Record for AllowanceRecord {}
