//! Assets and their leases: what transactions ask for and what the state says of them. Never knows
//! how anything is measured, nor what happens on a host when a lease ends.
//!
//! A lease ends when ledger time reaches its expiry; no block has to do anything for that. Whatever
//! the rules decide of an asset first forgets the leases of it that ended, so what is free is exact
//! whenever it matters, and what is left behind is bounded by the leases that an asset may have.
//!
//! A host applies blocks in their order and so learns that a lease has ended before it learns of
//! one that takes its place; a host that is cut off ends leases by its own clock, and learns of no
//! new ones.

use serde::{Deserialize, Serialize};
use types::{
    Amount, AssetFacts, AssetId, AssetPolicy, AssetType, Digest, LeaseId, NodeId, Principal,
};

use crate::record::Record;
use crate::space::KeptContent;

/// Most assets that one node hosts: the list of them is one entry.
pub const ASSETS_PER_NODE_MAX: usize = 64;
/// Most leases that the assets of one node may have together: what goes at once when it is evicted.
pub const LEASES_PER_NODE_MAX: u32 = 4_096;
/// Most leases that all assets of a fabric may have together: every node holds them in memory,
/// some 400 bytes each.
pub const LEASES_MAX: u32 = 1_000_000;
/// Most leases of one holder: the list of them is one entry.
pub const LEASES_PER_HOLDER_MAX: usize = 1_024;

/// A change of what is there to be leased. New operations are appended: the order is part of the
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssetOperation {
    /// Says what the signing node measured of something that it has. The asset's id is
    /// [`AssetId::new`] of the node, these facts and the transaction's nonce.
    Register {
        /// What was measured.
        facts: AssetFacts,
        /// Who decides about it.
        owner: Principal,
        /// On what terms it is shared.
        policy: AssetPolicy,
    },
    /// Says what its host measured of it now. What is leased stays so; where that is more than
    /// there is now, no lease is granted or renewed until it fits.
    Remeasure {
        /// Which one.
        asset: AssetId,
        /// What was measured: of the same type.
        facts: AssetFacts,
    },
    /// Shares it on other terms from now on; leases keep their amounts and terms. By its owner.
    Update {
        /// Which one.
        asset: AssetId,
        /// The terms.
        policy: AssetPolicy,
    },
    /// Gives it to another owner. By its owner.
    Transfer {
        /// Which one.
        asset: AssetId,
        /// Who decides about it from now on.
        owner: Principal,
    },
    /// Grants and renews no lease of it. By its owner, its host or an admin.
    Drain {
        /// Which one.
        asset: AssetId,
    },
    /// Ends a drain. By its owner, its host or an admin.
    Resume {
        /// Which one.
        asset: AssetId,
    },
    /// Removes it, once no lease of it is left. By its owner, its host or an admin.
    Retire {
        /// Which one.
        asset: AssetId,
    },
    /// Commits its host to keep a content: from now on it answers for its chunks. Of storage, by the
    /// host.
    Keep {
        /// Which one.
        asset: AssetId,
        /// What is kept.
        content: KeptContent,
    },
    /// Ends a commitment. By the host or the owner, while no challenge is open.
    Forget {
        /// Which one.
        asset: AssetId,
        /// The digest of what is not kept any more.
        root: Digest,
    },
}

impl AssetOperation {
    /// What it is about, in the transaction of that signer and nonce: a registration names the asset.
    #[must_use]
    pub fn subject(&self, signer: &Principal, nonce: u64) -> AssetId {
        match self {
            Self::Register { facts, .. } => AssetId::new(signer, facts, nonce),
            Self::Remeasure { asset, .. }
            | Self::Update { asset, .. }
            | Self::Transfer { asset, .. }
            | Self::Drain { asset }
            | Self::Resume { asset }
            | Self::Retire { asset }
            | Self::Keep { asset, .. }
            | Self::Forget { asset, .. } => *asset,
        }
    }
}

/// A change of who may use what. New operations are appended: the order is part of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseOperation {
    /// Leases a part of an asset. By its owner, or by the holder where the asset's privacy lets it
    /// ask. The lease's id is [`LeaseId::new`] of signer, nonce and asset.
    Grant {
        /// Of this asset.
        asset: AssetId,
        /// To this principal.
        holder: Principal,
        /// So much of it.
        amount: Amount,
        /// For so long from this block's time, milliseconds.
        term_ms: u64,
    },
    /// Lets a lease last longer. By whoever could grant it now.
    Renew {
        /// Which one.
        lease: LeaseId,
        /// It ends so long after this block's time, milliseconds.
        term_ms: u64,
    },
    /// Gives back what is left of a lease. By its holder.
    Release {
        /// Which one.
        lease: LeaseId,
    },
}

/// Something that a node has and others may lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetRecord {
    /// The node that has it and measured it.
    pub host: NodeId,
    /// Who decides about it.
    pub owner: Principal,
    /// What was measured last.
    pub facts: AssetFacts,
    /// On what terms it is shared.
    pub policy: AssetPolicy,
    /// Whether it is drained: no lease of it is granted or renewed.
    pub drained: bool,
    /// Height of the block that registered it.
    pub registered_at: u64,
    /// Ledger time of the block with the last measurement, Unix milliseconds.
    pub measured_ms: u64,
}

impl AssetRecord {
    /// How much of it may be leased in all.
    #[must_use]
    pub fn shared(&self) -> Amount {
        self.policy.share_of(self.facts.capacity())
    }
}

/// What the list of an asset's leases knows of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSlot {
    /// Which one.
    pub lease: LeaseId,
    /// How much it takes.
    pub amount: Amount,
    /// Ledger time at which it ends, Unix milliseconds.
    pub expires_ms: u64,
}

/// The leases of one asset, in the order of their grants; some may have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetLeasesRecord {
    /// At most as many as the asset's policy ever allowed at once.
    pub leases: Vec<LeaseSlot>,
}

impl AssetLeasesRecord {
    /// How much is leased at ledger time `time_ms`.
    #[must_use]
    pub fn leased(&self, time_ms: u64) -> Amount {
        let live = self.leases.iter().filter(|slot| time_ms < slot.expires_ms);
        Amount(live.fold(0, |sum, slot| sum.saturating_add(slot.amount.0)))
    }
}

/// The right to a part of an asset for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Of this asset.
    pub asset: AssetId,
    /// Whose right it is.
    pub holder: Principal,
    /// To how much.
    pub amount: Amount,
    /// Ledger time of the grant, Unix milliseconds.
    pub granted_ms: u64,
    /// Ledger time at which it ends, Unix milliseconds: at this very time it is over.
    pub expires_ms: u64,
}

impl LeaseRecord {
    /// Whether it holds at ledger time `time_ms`.
    #[must_use]
    pub const fn is_live(&self, time_ms: u64) -> bool {
        time_ms < self.expires_ms
    }
}

/// What the list of a holder's leases knows of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLease {
    /// Which one.
    pub lease: LeaseId,
    /// What it is a lease of.
    pub asset_type: AssetType,
    /// How much it counts against the holder's quota.
    pub amount: Amount,
    /// What of the holder's bond answers for it.
    pub bond: u64,
    /// Ledger time at which it ends, Unix milliseconds.
    pub expires_ms: u64,
}

/// The leases of one holder; some may have ended, or gone with their assets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderLeasesRecord {
    /// At most [`LEASES_PER_HOLDER_MAX`].
    pub leases: Vec<HeldLease>,
}

impl HolderLeasesRecord {
    /// How much of `asset_type` is held at ledger time `time_ms`.
    #[must_use]
    pub fn held(&self, asset_type: AssetType, time_ms: u64) -> Amount {
        let live = self.leases.iter().filter(|held| time_ms < held.expires_ms);
        let ours = live.filter(|held| held.asset_type == asset_type);
        Amount(ours.fold(0, |sum, held| sum.saturating_add(held.amount.0)))
    }

    /// How much of the holder's bond answers for leases at ledger time `time_ms`.
    #[must_use]
    pub fn bonded(&self, time_ms: u64) -> u64 {
        let live = self.leases.iter().filter(|held| time_ms < held.expires_ms);
        live.fold(0, |sum, held| sum.saturating_add(held.bond))
    }
}

/// The assets of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAssetsRecord {
    /// In the order of their registration; at most [`ASSETS_PER_NODE_MAX`].
    pub assets: Vec<AssetId>,
    /// Leases that they may have together; at most [`LEASES_PER_NODE_MAX`].
    pub leases_max: u32,
}

/// The assets of all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetTotalsRecord {
    /// How many.
    pub assets: u32,
    /// Leases that they may have together; at most [`LEASES_MAX`].
    pub leases_max: u32,
}

impl Record for AssetRecord {}
impl Record for AssetLeasesRecord {}
impl Record for LeaseRecord {}
impl Record for HolderLeasesRecord {}
impl Record for NodeAssetsRecord {}
impl Record for AssetTotalsRecord {}
