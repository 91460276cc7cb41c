//! Why an operation on an asset or a lease changed nothing.

use std::collections::BTreeSet;

use proofs::ProofKind;
use serde::{Deserialize, Serialize};
use types::{Amount, AssetId, AssetPolicy, AssetType, Digest, LeaseId, NodeId, Principal, Privacy};

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
    /// One of the four is not there.
    #[error("an operation on an asset needs all four proofs; missing: {}", listed(.0))]
    MissingProofs(BTreeSet<ProofKind>),
    /// One of the four shows nothing.
    #[error("the proof of {kind} does not hold: {reason}")]
    Proof {
        /// Which one.
        kind: ProofKind,
        /// Why.
        reason: String,
    },
    /// Somebody may hold less than that.
    #[error(
        "{} may hold {} of {asset_type} at once, and would hold {}",
        holder.short(), quota.of(*asset_type), amount.of(*asset_type)
    )]
    Quota {
        /// Who.
        holder: Principal,
        /// Of what.
        asset_type: AssetType,
        /// So much at most.
        quota: Amount,
        /// So much it would be.
        amount: Amount,
    },
    /// Nothing is left that would answer for the lease.
    #[error("a lease of asset {} ties a bond of {bond}, and {} has {left} left", asset.short(), holder.short())]
    Bond {
        /// Of which asset.
        asset: AssetId,
        /// Whose bond.
        holder: Principal,
        /// So much is tied.
        bond: u64,
        /// So much is left.
        left: u64,
    },
    /// Its host did not answer a challenge.
    #[error("asset {} failed a challenge at height {at}: it grants and renews no lease until it answers one", asset.short())]
    SpaceFailed {
        /// Which one.
        asset: AssetId,
        /// When.
        at: u64,
    },
    /// Only storage keeps contents.
    #[error("asset {} is {found}: only storage keeps contents", asset.short())]
    NotStorage {
        /// Which one.
        asset: AssetId,
        /// What it is.
        found: AssetType,
    },
    /// More than fits, or nothing.
    #[error("asset {} would keep {total} bytes, it has 1 to {room}", asset.short())]
    Room {
        /// Which one.
        asset: AssetId,
        /// All that it would keep.
        total: u64,
        /// What fits.
        room: u64,
    },
    /// It is kept already.
    #[error("asset {} keeps {root} already", asset.short())]
    Kept {
        /// Which one.
        asset: AssetId,
        /// What.
        root: Digest,
    },
    /// It is not kept.
    #[error("asset {} does not keep {root}", asset.short())]
    NotKept {
        /// Which one.
        asset: AssetId,
        /// What.
        root: Digest,
    },
    /// A challenge has to end first.
    #[error("asset {} was challenged at height {height}: that has to be answered or settled first", asset.short())]
    Challenged {
        /// Which one.
        asset: AssetId,
        /// When.
        height: u64,
    },
    /// Not so often.
    #[error("asset {} was challenged lately: again at {until_ms} ms of ledger time", asset.short())]
    ChallengedLately {
        /// Which one.
        asset: AssetId,
        /// When it may be, Unix milliseconds.
        until_ms: u64,
    },
    /// There is nothing to answer or to settle.
    #[error("no challenge of asset {} is open", .0.short())]
    NotChallenged(AssetId),
    /// Nobody knows any more what was asked.
    #[error("the challenge of asset {} is too old to be answered", .0.short())]
    ChallengeOver(AssetId),
    /// Nobody remembers the block that drew the nodes.
    #[error(
        "the order is anchored in block {height}, which is not one of the last {}",
        crate::ANCHORS
    )]
    OrderAnchor {
        /// Its height.
        height: u64,
    },
    /// The receipts prove nothing.
    #[error("the receipts certify nothing: {0}")]
    Certificate(String),
    /// Nobody is outvoted, or it is on record already.
    #[error("execution {0} shows no fault that is not on record")]
    NoFault(Digest),
    /// There is time left.
    #[error(
        "the challenge of asset {} can be settled after height {height} and {time_ms} ms of ledger time",
        asset.short()
    )]
    StillOpen {
        /// Which one.
        asset: AssetId,
        /// After this height.
        height: u64,
        /// After this time, Unix milliseconds.
        time_ms: u64,
    },
}

fn listed(kinds: &BTreeSet<ProofKind>) -> String {
    let names: Vec<_> = kinds.iter().map(ProofKind::to_string).collect();
    names.join(", ")
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
            Self::MissingProofs(_) => "missing-proofs",
            Self::Proof {
                kind: ProofKind::Space,
                ..
            } => "proof-of-space",
            Self::Proof {
                kind: ProofKind::Stake,
                ..
            } => "proof-of-stake",
            Self::Proof {
                kind: ProofKind::Work,
                ..
            } => "proof-of-work",
            Self::Proof {
                kind: ProofKind::Time,
                ..
            } => "proof-of-time",
            Self::Quota { .. } => "asset-quota",
            Self::Bond { .. } => "asset-bond",
            Self::SpaceFailed { .. } => "asset-space-failed",
            Self::NotStorage { .. } => "asset-not-storage",
            Self::Room { .. } => "asset-room",
            Self::Kept { .. } => "asset-kept",
            Self::NotKept { .. } => "asset-not-kept",
            Self::Challenged { .. } => "asset-challenged",
            Self::ChallengedLately { .. } => "asset-challenged-lately",
            Self::NotChallenged(_) => "asset-not-challenged",
            Self::ChallengeOver(_) => "asset-challenge-over",
            Self::OrderAnchor { .. } => "order-anchor",
            Self::Certificate(_) => "receipts",
            Self::NoFault(_) => "no-fault",
            Self::StillOpen { .. } => "asset-challenge-open",
        }
    }
}
