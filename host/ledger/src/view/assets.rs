//! Reads of assets, leases, and of what proofs of operations on them need.

use types::{AssetId, LeaseId, NodeId, Principal};

use super::View;
use crate::allowance::AllowanceRecord;
use crate::anchor::AnchorRecord;
use crate::asset::{
    AssetLeasesRecord, AssetRecord, HolderLeasesRecord, LeaseRecord, NodeAssetsRecord,
};
use crate::fault::FaultRecord;
use crate::key::StateKey;
use crate::record::DecodeRecordError;
use crate::space::SpaceRecord;

impl View {
    /// One asset.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn asset(&self, asset: &AssetId) -> Result<Option<AssetRecord>, DecodeRecordError> {
        self.read(&StateKey::asset(asset))
    }

    /// All assets, in id order.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn assets(&self) -> Result<Vec<(AssetId, AssetRecord)>, DecodeRecordError> {
        self.keyed("asset/", |text| text.parse().ok())
    }

    /// The assets that one node hosts, in the order of their registration.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote the list.
    pub fn assets_of(&self, host: &NodeId) -> Result<Vec<AssetId>, DecodeRecordError> {
        let hosted: Option<NodeAssetsRecord> = self.read(&StateKey::node_assets(host))?;
        Ok(hosted.unwrap_or_default().assets)
    }

    /// A lease that holds now.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn lease(&self, lease: &LeaseId) -> Result<Option<LeaseRecord>, DecodeRecordError> {
        let found: Option<LeaseRecord> = self.read(&StateKey::lease(lease))?;
        Ok(found.filter(|lease| lease.is_live(self.time_ms)))
    }

    /// The leases of one asset that hold now, in the order of their grants.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote them.
    pub fn leases_of(&self, asset: &AssetId) -> Result<AssetLeasesRecord, DecodeRecordError> {
        let found: Option<AssetLeasesRecord> = self.read(&StateKey::asset_leases(asset))?;
        let mut found = found.unwrap_or_default();
        found.leases.retain(|slot| self.time_ms < slot.expires_ms);
        Ok(found)
    }

    /// The leases that one principal holds now, in the order of their grants.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote one.
    pub fn leases_held(
        &self,
        holder: &Principal,
    ) -> Result<Vec<(LeaseId, LeaseRecord)>, DecodeRecordError> {
        let held: Option<HolderLeasesRecord> = self.read(&StateKey::holder_leases(holder))?;
        let held = held.unwrap_or_default().leases.into_iter();
        held.filter_map(|held| {
            let id = held.lease;
            Some(self.lease(&id).transpose()?.map(|lease| (id, lease)))
        })
        .collect()
    }

    /// What the host of an asset keeps, and how it stands with challenges.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn space_of(&self, asset: &AssetId) -> Result<SpaceRecord, DecodeRecordError> {
        let space = self.read(&StateKey::asset_space(asset))?;
        Ok(space.unwrap_or_default())
    }

    /// What a principal may hold at once, and its bond.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn allowance(&self, principal: &Principal) -> Result<AllowanceRecord, DecodeRecordError> {
        let allowance = self.read(&StateKey::allowance(principal))?;
        Ok(allowance.unwrap_or_default())
    }

    /// The block at `height`, if the state remembers it: one of the last [`crate::ANCHORS`] before the
    /// last one.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn anchor(&self, height: u64) -> Result<Option<AnchorRecord>, DecodeRecordError> {
        let found: Option<AnchorRecord> = self.read(&StateKey::anchor(height))?;
        Ok(found.filter(|anchor| anchor.height == height))
    }

    /// The youngest block that operations can be anchored in; none before the first block.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn newest_anchor(&self) -> Result<Option<AnchorRecord>, DecodeRecordError> {
        match self.height.checked_sub(1) {
            Some(height) => self.anchor(height),
            None => Ok(None),
        }
    }

    /// What is on record against a node.
    ///
    /// # Errors
    /// [`DecodeRecordError`] if a newer release wrote it.
    pub fn fault(&self, node: &NodeId) -> Result<FaultRecord, DecodeRecordError> {
        Ok(self.read(&StateKey::fault(node))?.unwrap_or_default())
    }
}
