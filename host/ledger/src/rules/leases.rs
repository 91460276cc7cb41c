//! Leases: who may have one, that no asset is ever promised twice, and when they go.

use types::{Amount, AssetId, AssetPolicy, LeaseId, Principal, Privacy};

use super::proving::{Demand, Spent};
use super::{assets, space};
use crate::allowance::AllowanceRecord;
use crate::asset::{
    AssetLeasesRecord, AssetRecord, HeldLease, HolderLeasesRecord, LEASES_PER_HOLDER_MAX,
    LeaseOperation, LeaseRecord, LeaseSlot,
};
use crate::asset_refusal::AssetRefusal;
use crate::execute::{BlockContext, Stop};
use crate::key::StateKey;
use crate::state::{Draft, NotLoaded, StateView};
use crate::transaction::Transaction;

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    transaction: &Transaction,
    operation: &LeaseOperation,
) -> Result<Demand, Stop> {
    let signer = transaction.principal;
    match *operation {
        LeaseOperation::Grant {
            asset,
            holder,
            amount,
            term_ms,
        } => {
            let lease = LeaseId::new(&signer, transaction.nonce, &asset);
            let record = LeaseRecord {
                asset,
                holder,
                amount,
                granted_ms: block.time_ms,
                expires_ms: block.time_ms.saturating_add(term_ms),
            };
            grant(draft, block, signer, &lease, &record, term_ms)
        }
        LeaseOperation::Renew { lease, term_ms } => renew(draft, block, signer, &lease, term_ms),
        LeaseOperation::Release { lease } => {
            let record = live(draft, block, &lease)?;
            let host = assets::read(draft, &record.asset)?.host;
            if record.holder != signer {
                let holder = record.holder;
                return Err(AssetRefusal::NotHolder { lease, holder }.into());
            }
            let mut leases = of(draft, block, &record.asset)?;
            leases.record.leases.retain(|slot| slot.lease != lease);
            leases.write(draft);
            draft.remove(StateKey::lease(&lease));
            forget_held(draft, &signer, &lease)?;
            Ok(Demand::of(draft, host, &record.asset)?)
        }
    }
}

fn grant<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    lease: &LeaseId,
    record: &LeaseRecord,
    term_ms: u64,
) -> Result<Demand, Stop> {
    let (id, holder, amount) = (record.asset, record.holder, record.amount);
    let asset = assets::read(draft, &id)?;
    check_privacy(draft, &asset, &id, signer, holder)?;
    check_term(&id, &asset, term_ms)?;
    let mut leases = of(draft, block, &id)?;
    let free = asset.shared().checked_sub(leases.leased());
    let free = free.unwrap_or(Amount::ZERO);
    if amount == Amount::ZERO || amount > free {
        let asset = id;
        return Err(AssetRefusal::Free {
            asset,
            amount,
            free,
        }
        .into());
    }
    let max = asset.policy.concurrency;
    if leases.len() >= usize::from(max) {
        return Err(AssetRefusal::Concurrency { asset: id, max }.into());
    }
    let held = HeldLease {
        lease: *lease,
        asset_type: id.asset_type(),
        amount,
        bond: asset.policy.bond,
        expires_ms: record.expires_ms,
    };
    let (quota, bond) = hold(draft, block, &holder, &id, held)?;
    leases.record.leases.push(LeaseSlot {
        lease: *lease,
        amount,
        expires_ms: record.expires_ms,
    });
    leases.write(draft);
    draft.write(StateKey::lease(lease), record);
    let demand = Demand::of(draft, asset.host, &id)?;
    // What an owner grants to others, it does not hold.
    Ok(match signer == holder {
        true => demand.taking(quota, bond),
        false => demand,
    })
}

fn renew<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    lease: &LeaseId,
    term_ms: u64,
) -> Result<Demand, Stop> {
    let mut record = live(draft, block, lease)?;
    let asset = assets::read(draft, &record.asset)?;
    check_privacy(draft, &asset, &record.asset, signer, record.holder)?;
    check_term(&record.asset, &asset, term_ms)?;
    let expires_ms = block.time_ms.saturating_add(term_ms);
    if expires_ms <= record.expires_ms {
        let expires_ms = record.expires_ms;
        return Err(AssetRefusal::NotLonger {
            lease: *lease,
            expires_ms,
        }
        .into());
    }
    let mut leases = of(draft, block, &record.asset)?;
    let (leased, shared) = (leases.leased(), asset.shared());
    if leased > shared {
        let asset = record.asset;
        return Err(AssetRefusal::Share {
            asset,
            leased,
            shared,
        }
        .into());
    }
    for slot in &mut leases.record.leases {
        if slot.lease == *lease {
            slot.expires_ms = expires_ms;
        }
    }
    leases.write(draft);
    let mut held = held(draft, &record.holder)?;
    for one in &mut held.leases {
        if one.lease == *lease {
            one.expires_ms = expires_ms;
        }
    }
    draft.write(StateKey::holder_leases(&record.holder), &held);
    record.expires_ms = expires_ms;
    draft.write(StateKey::lease(lease), &record);
    Ok(Demand::of(draft, asset.host, &record.asset)?)
}

/// A lease that is not over.
fn live<V: StateView>(
    draft: &Draft<'_, V>,
    block: &BlockContext,
    lease: &LeaseId,
) -> Result<LeaseRecord, Stop> {
    let record: Option<LeaseRecord> = draft.read(&StateKey::lease(lease))?;
    let Some(record) = record else {
        return Err(AssetRefusal::UnknownLease(*lease).into());
    };
    if record.is_live(block.time_ms) {
        return Ok(record);
    }
    let expires_ms = record.expires_ms;
    Err(AssetRefusal::Over {
        lease: *lease,
        expires_ms,
    }
    .into())
}

/// Refuses what the asset's privacy, or a drain, does not allow the signer to give the holder.
fn check_privacy<V: StateView>(
    draft: &Draft<'_, V>,
    asset: &AssetRecord,
    id: &AssetId,
    signer: Principal,
    holder: Principal,
) -> Result<(), Stop> {
    if asset.drained {
        return Err(AssetRefusal::Drained(*id).into());
    }
    if let Some(at) = space::read(draft, id)?.failed_at {
        return Err(AssetRefusal::SpaceFailed { asset: *id, at }.into());
    }
    if signer != asset.owner && signer != holder {
        let (asset, owner) = (*id, asset.owner);
        return Err(AssetRefusal::NotOwner { asset, owner }.into());
    }
    let member = assets::has_role(draft, &holder)?;
    let by_owner = signer == asset.owner;
    let named = asset.policy.peers.contains(&holder);
    let admitted = match asset.policy.privacy {
        _ if holder == asset.owner => true,
        Privacy::Private => false,
        Privacy::PrivateNetwork => named && member,
        Privacy::P2p => by_owner && member,
        Privacy::PublicNetwork => member,
        Privacy::FullPublic => true,
    };
    if admitted {
        return Ok(());
    }
    let privacy = asset.policy.privacy;
    Err(AssetRefusal::Privacy {
        asset: *id,
        privacy,
        holder,
    }
    .into())
}

fn check_term(id: &AssetId, asset: &AssetRecord, term_ms: u64) -> Result<(), AssetRefusal> {
    let max_ms = asset.policy.term_ms_max;
    if (AssetPolicy::TERM_MS_MIN..=max_ms).contains(&term_ms) {
        return Ok(());
    }
    let asset = *id;
    Err(AssetRefusal::Term {
        asset,
        term_ms,
        max_ms,
    })
}

/// The leases of one asset that hold in this block.
pub(super) struct Leases {
    asset: AssetId,
    record: AssetLeasesRecord,
}

impl Leases {
    pub(super) fn len(&self) -> usize {
        self.record.leases.len()
    }

    pub(super) fn leased(&self) -> Amount {
        // None is over: these are live at any time before they end.
        self.record.leased(0)
    }

    fn write<V: StateView>(&self, draft: &mut Draft<'_, V>) {
        let key = StateKey::asset_leases(&self.asset);
        if self.record.leases.is_empty() {
            draft.remove(key);
        } else {
            draft.write(key, &self.record);
        }
    }
}

/// The leases of an asset, after those that ended were forgotten.
pub(super) fn of<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    asset: &AssetId,
) -> Result<Leases, NotLoaded> {
    let record: Option<AssetLeasesRecord> = draft.read(&StateKey::asset_leases(asset))?;
    let slots = record.unwrap_or_default().leases.into_iter();
    let (live, over): (Vec<_>, Vec<_>) = slots.partition(|slot| block.time_ms < slot.expires_ms);
    let leases = Leases {
        asset: *asset,
        record: AssetLeasesRecord { leases: live },
    };
    for slot in &over {
        draft.remove(StateKey::lease(&slot.lease));
    }
    if !over.is_empty() {
        leases.write(draft);
    }
    Ok(leases)
}

/// Removes every lease of an asset that goes. Their holders' lists follow when they are full.
pub(super) fn forget_asset<V: StateView>(
    draft: &mut Draft<'_, V>,
    asset: &AssetId,
) -> Result<(), NotLoaded> {
    let key = StateKey::asset_leases(asset);
    let record: Option<AssetLeasesRecord> = draft.read(&key)?;
    for slot in record.unwrap_or_default().leases {
        draft.remove(StateKey::lease(&slot.lease));
    }
    draft.remove(key);
    Ok(())
}

/// Gives back every lease of a principal that is no member any more.
pub(super) fn forget_holder<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    holder: &Principal,
) -> Result<(), NotLoaded> {
    for HeldLease { lease, .. } in held(draft, holder)?.leases {
        let key = StateKey::lease(&lease);
        if let Some(record) = draft.read::<LeaseRecord>(&key)? {
            let mut leases = of(draft, block, &record.asset)?;
            leases.record.leases.retain(|slot| slot.lease != lease);
            leases.write(draft);
            draft.remove(key);
        }
    }
    draft.remove(StateKey::holder_leases(holder));
    Ok(())
}

fn held<V: StateView>(
    draft: &Draft<'_, V>,
    holder: &Principal,
) -> Result<HolderLeasesRecord, NotLoaded> {
    let record = draft.read(&StateKey::holder_leases(holder))?;
    Ok(record.unwrap_or_default())
}

/// Adds a lease to its holder's, if that has room for it; what it takes of the holder's quota and bond.
fn hold<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    holder: &Principal,
    asset: &AssetId,
    lease: HeldLease,
) -> Result<(Spent, Spent), Stop> {
    let allowance: Option<AllowanceRecord> = draft.read(&StateKey::allowance(holder))?;
    let allowance = allowance.unwrap_or_default();
    let mut held = held(draft, holder)?;
    held.leases.retain(|one| block.time_ms < one.expires_ms);
    if held.leases.len() >= LEASES_PER_HOLDER_MAX || !fits(&held, &allowance, &lease) {
        // Leases also go with their assets.
        let mut left = Vec::with_capacity(held.leases.len());
        for one in held.leases {
            let record: Option<LeaseRecord> = draft.read(&StateKey::lease(&one.lease))?;
            left.extend(record.map(|_| one));
        }
        held.leases = left;
    }
    if held.leases.len() >= LEASES_PER_HOLDER_MAX {
        let max = LEASES_PER_HOLDER_MAX as u64;
        return Err(assets::too_many("leases of one holder", max));
    }
    let (quota, bond) = (
        quota(&held, &allowance, &lease),
        bond(&held, &allowance, &lease),
    );
    if quota.taken > quota.left {
        let asset_type = lease.asset_type;
        return Err(AssetRefusal::Quota {
            holder: *holder,
            asset_type,
            quota: allowance.quota_of(asset_type).unwrap_or_default(),
            amount: Amount(held.held(asset_type, 0).0.saturating_add(quota.taken)),
        }
        .into());
    }
    if bond.taken > bond.left {
        return Err(AssetRefusal::Bond {
            asset: *asset,
            holder: *holder,
            bond: bond.taken,
            left: bond.left,
        }
        .into());
    }
    held.leases.push(lease);
    draft.write(StateKey::holder_leases(holder), &held);
    Ok((quota, bond))
}

/// What a lease takes of the quota, and what is left beside those that are `held`, none of which is over.
fn quota(held: &HolderLeasesRecord, allowance: &AllowanceRecord, lease: &HeldLease) -> Spent {
    let quota = allowance.quota_of(lease.asset_type);
    let used = held.held(lease.asset_type, 0).0;
    Spent {
        taken: lease.amount.0,
        left: quota.map_or(u64::MAX, |quota| quota.0.saturating_sub(used)),
    }
}

/// What a lease ties of the bond, and what is left.
fn bond(held: &HolderLeasesRecord, allowance: &AllowanceRecord, lease: &HeldLease) -> Spent {
    Spent {
        taken: lease.bond,
        left: allowance.bond.saturating_sub(held.bonded(0)),
    }
}

fn fits(held: &HolderLeasesRecord, allowance: &AllowanceRecord, lease: &HeldLease) -> bool {
    let (quota, bond) = (quota(held, allowance, lease), bond(held, allowance, lease));
    quota.taken <= quota.left && bond.taken <= bond.left
}

fn forget_held<V: StateView>(
    draft: &mut Draft<'_, V>,
    holder: &Principal,
    lease: &LeaseId,
) -> Result<(), NotLoaded> {
    let mut held = held(draft, holder)?;
    held.leases.retain(|other| other.lease != *lease);
    let key = StateKey::holder_leases(holder);
    if held.leases.is_empty() {
        draft.remove(key);
    } else {
        draft.write(key, &held);
    }
    Ok(())
}
