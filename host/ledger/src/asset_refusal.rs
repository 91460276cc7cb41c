//! Why an operation on an asset or a lease changed nothing.

use serde::{Deserialize, Serialize};
use types::{Amount, AssetId, AssetPolicy, AssetType, LeaseId, NodeId, Principal, Privacy};

/// Why an operation on an asset or a lease changed nothing. New reasons are appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AssetRefusal {
    /// Never registered, or gone.
    #[error("there is no asset {}", .0.short())]
    UnknownAsset(AssetId),
    /// Only who decides about an asset may do this.
    #[error("asset {} belongs to {}", asset.short(), owner.short())]
    NotOwner {
        /// Which one.
        asset: AssetId,
        /// Who may.
        owner: Principal,
    },
    /// Only who has an asset can measure it.
    #[error("asset {} is hosted by node {}: no other measures it", asset.short(), host.short())]
    NotHost {
        /// Which one.
        asset: AssetId,
        /// Who may.
        host: NodeId,
    },
    /// An asset stays what it is.
    #[error("asset {} cannot become {found}", asset.short())]
    Type {
        /// Which one.
        asset: AssetId,
        /// What was measured.
        found: AssetType,
    },
    /// Terms that no asset is shared on.
    #[error("the asset cannot be shared so: {0}")]
    Policy(String),
    /// Leases are in the way.
    #[error("asset {} has {leases} leases: wait until they end, or drain it", asset.short())]
    Leased {
        /// Which one.
        asset: AssetId,
        /// So many hold.
        leases: u32,
    },
    /// More is leased than would be shared.
    #[error(
        "{} of asset {} are leased, and {} would be shared",
        leased.of(asset.asset_type()), asset.short(), shared.of(asset.asset_type())
    )]
    Share {
        /// Which one.
        asset: AssetId,
        /// So much is leased.
        leased: Amount,
        /// So much would be shared in all.
        shared: Amount,
    },
    /// It goes out of use.
    #[error("asset {} is drained: it grants and renews no lease", .0.short())]
    Drained(AssetId),
    /// The owner shares it with others.
    #[error("asset {} is {privacy}: {} may have no lease of it so", asset.short(), holder.short())]
    Privacy {
        /// Which one.
        asset: AssetId,
        /// How it is shared.
        privacy: Privacy,
        /// For whom the lease was to be.
        holder: Principal,
    },
    /// There is not so much left.
    #[error(
        "{} of asset {} were asked for, {} are free",
        amount.of(asset.asset_type()), asset.short(), free.of(asset.asset_type())
    )]
    Free {
        /// Which one.
        asset: AssetId,
        /// What was asked for.
        amount: Amount,
        /// What is left.
        free: Amount,
    },
    /// It has as many leases as it may.
    #[error("asset {} has {max} leases, as many as its owner allows at once", asset.short())]
    Concurrency {
        /// Which one.
        asset: AssetId,
        /// The bound.
        max: u16,
    },
    /// Too short, or longer than the owner allows.
    #[error(
        "a lease of asset {} lasts {} to {max_ms} ms, not {term_ms}",
        asset.short(), AssetPolicy::TERM_MS_MIN
    )]
    Term {
        /// Of which asset.
        asset: AssetId,
        /// The wish.
        term_ms: u64,
        /// The bound.
        max_ms: u64,
    },
    /// Never granted, given back, or gone with its asset.
    #[error("there is no {}", .0.short())]
    UnknownLease(LeaseId),
    /// Its time is over.
    #[error("{} ended at {expires_ms} ms of ledger time", lease.short())]
    Over {
        /// Which one.
        lease: LeaseId,
        /// When it ended, Unix milliseconds.
        expires_ms: u64,
    },
    /// Only who has a lease gives it back.
    #[error("{} is held by {}", lease.short(), holder.short())]
    NotHolder {
        /// Which one.
        lease: LeaseId,
        /// Who may.
        holder: Principal,
    },
    /// A renewal takes nothing away.
    #[error("{} holds until {expires_ms} ms of ledger time already", lease.short())]
    NotLonger {
        /// Which one.
        lease: LeaseId,
        /// When it ends, Unix milliseconds.
        expires_ms: u64,
    },
    /// What is there once is registered once.
    #[error("the node has registered this already, as asset {}: retire that first", .0.short())]
    Registered(AssetId),
    /// A device or a deployment stays the one that was registered.
    #[error("asset {} is another device or deployment than was measured", .0.short())]
    OtherThing(AssetId),
}

impl AssetRefusal {
    /// The reason for programs: stable, in kebab case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownAsset(_) => "unknown-asset",
            Self::NotOwner { .. } => "not-asset-owner",
            Self::NotHost { .. } => "not-asset-host",
            Self::Type { .. } => "asset-type",
            Self::Policy(_) => "asset-policy",
            Self::Leased { .. } => "asset-leased",
            Self::Share { .. } => "asset-share",
            Self::Drained(_) => "asset-drained",
            Self::Privacy { .. } => "asset-privacy",
            Self::Free { .. } => "asset-free",
            Self::Concurrency { .. } => "asset-concurrency",
            Self::Term { .. } => "lease-term",
            Self::UnknownLease(_) => "unknown-lease",
            Self::Over { .. } => "lease-over",
            Self::NotHolder { .. } => "not-lease-holder",
            Self::NotLonger { .. } => "lease-not-longer",
            Self::Registered(_) => "asset-registered",
            Self::OtherThing(_) => "asset-other-thing",
        }
    }
}
