//! Assets: who registers them, who decides about them, and when they go.

use types::{AssetFacts, AssetId, AssetPolicy, AssetType, NodeId, Principal};

use super::proving::Demand;
use super::{leases, membership, roles, space};
use crate::asset::{
    ASSETS_PER_NODE_MAX, AssetOperation, AssetRecord, AssetTotalsRecord, LEASES_MAX,
    LEASES_PER_NODE_MAX, NodeAssetsRecord,
};
use crate::asset_refusal::AssetRefusal;
use crate::execute::{BlockContext, Stop};
use crate::key::StateKey;
use crate::outcome::Refusal;
use crate::record::Role;
use crate::state::{Draft, NotLoaded, StateView};
use crate::transaction::Transaction;

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    transaction: &Transaction,
    operation: &AssetOperation,
) -> Result<Demand, Stop> {
    let signer = transaction.principal;
    let demand = demand(draft, transaction, operation)?;
    match operation {
        AssetOperation::Register {
            facts,
            owner,
            policy,
        } => {
            let asset = AssetId::new(&signer, facts, transaction.nonce);
            let record = AssetRecord {
                host: signer,
                owner: *owner,
                facts: facts.clone(),
                policy: policy.clone(),
                drained: false,
                registered_at: block.height,
                measured_ms: block.time_ms,
            };
            register(draft, &asset, &record)?;
        }
        AssetOperation::Remeasure { asset, facts } => {
            remeasure(draft, block, signer, asset, facts)?;
        }
        AssetOperation::Update { asset, policy } => update(draft, block, signer, asset, policy)?,
        AssetOperation::Transfer { asset, owner } => {
            let mut record = owned(draft, signer, asset)?;
            require_known(draft, owner)?;
            record.owner = *owner;
            draft.write(StateKey::asset(asset), &record);
        }
        AssetOperation::Drain { asset } => set_drained(draft, signer, asset, true)?,
        AssetOperation::Resume { asset } => set_drained(draft, signer, asset, false)?,
        AssetOperation::Retire { asset } => {
            let record = kept(draft, signer, asset)?;
            let live = leases::of(draft, block, asset)?.len();
            if live > 0 {
                let (asset, leases) = (*asset, u32::try_from(live).unwrap_or(u32::MAX));
                return Err(AssetRefusal::Leased { asset, leases }.into());
            }
            remove(draft, asset, &record)?;
        }
        AssetOperation::Keep { asset, content } => {
            let record = measured_by(draft, signer, asset)?;
            space::keep(draft, asset, &record, *content)?;
        }
        AssetOperation::Forget { asset, root } => {
            let record = read(draft, asset)?;
            if record.host != signer && record.owner != signer {
                let (asset, owner) = (*asset, record.owner);
                return Err(AssetRefusal::NotOwner { asset, owner }.into());
            }
            space::forget(draft, asset, root)?;
        }
    }
    Ok(demand)
}

/// What the proofs must show, by what is true before the operation.
fn demand<V: StateView>(
    draft: &Draft<'_, V>,
    transaction: &Transaction,
    operation: &AssetOperation,
) -> Result<Demand, Stop> {
    let signer = transaction.principal;
    let asset = operation.subject(&signer, transaction.nonce);
    let host = match operation {
        AssetOperation::Register { .. } => signer,
        _ => read(draft, &asset)?.host,
    };
    let demand = Demand::of(draft, host, &asset)?;
    let is_cpu = asset.asset_type() == AssetType::Cpu;
    Ok(match operation {
        AssetOperation::Register { .. } | AssetOperation::Remeasure { .. } => {
            demand.by_node().calibrated(is_cpu)
        }
        AssetOperation::Keep { .. } => demand.by_node(),
        _ => demand,
    })
}

/// An asset that must be there.
pub(super) fn read<V: StateView>(
    draft: &Draft<'_, V>,
    asset: &AssetId,
) -> Result<AssetRecord, Stop> {
    let record = draft.read(&StateKey::asset(asset))?;
    record.ok_or_else(|| AssetRefusal::UnknownAsset(*asset).into())
}

/// Refuses a principal that has no role in the fabric.
pub(super) fn require_known<V: StateView>(
    draft: &Draft<'_, V>,
    principal: &Principal,
) -> Result<(), Stop> {
    if has_role(draft, principal)? {
        Ok(())
    } else {
        Err(Refusal::UnknownPrincipal(*principal).into())
    }
}

/// Whether a principal is a member or has a role.
pub(super) fn has_role<V: StateView>(
    draft: &Draft<'_, V>,
    principal: &Principal,
) -> Result<bool, NotLoaded> {
    let known = roles::role_of(draft, principal)?;
    Ok(known.is_some_and(|record| record.role != Role::Nothing))
}

fn register<V: StateView>(
    draft: &mut Draft<'_, V>,
    asset: &AssetId,
    record: &AssetRecord,
) -> Result<(), Stop> {
    let host = record.host;
    membership::member(draft, &host)?;
    require_known(draft, &record.owner)?;
    check(&record.policy)?;
    let mut hosted = hosted(draft, &host)?;
    if hosted.assets.len() >= ASSETS_PER_NODE_MAX {
        return Err(too_many("assets of one node", ASSETS_PER_NODE_MAX as u64));
    }
    for other in &hosted.assets {
        if read(draft, other)?.facts.same_thing(&record.facts) {
            return Err(AssetRefusal::Registered(*other).into());
        }
    }
    hosted.assets.push(*asset);
    count(draft, &host, hosted, 0, record.policy.concurrency)?;
    draft.write(StateKey::asset(asset), record);
    Ok(())
}

fn remeasure<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    asset: &AssetId,
    facts: &AssetFacts,
) -> Result<(), Stop> {
    let mut record = measured_by(draft, signer, asset)?;
    if facts.asset_type() != asset.asset_type() {
        let found = facts.asset_type();
        return Err(AssetRefusal::Type {
            asset: *asset,
            found,
        }
        .into());
    }
    if !facts.same_thing(&record.facts) {
        return Err(AssetRefusal::OtherThing(*asset).into());
    }
    record.facts = facts.clone();
    record.measured_ms = block.time_ms;
    draft.write(StateKey::asset(asset), &record);
    Ok(())
}

/// An asset that the signer has.
fn measured_by<V: StateView>(
    draft: &Draft<'_, V>,
    signer: Principal,
    asset: &AssetId,
) -> Result<AssetRecord, Stop> {
    let record = read(draft, asset)?;
    if record.host == signer {
        return Ok(record);
    }
    let (asset, host) = (*asset, record.host);
    Err(AssetRefusal::NotHost { asset, host }.into())
}

/// Terms that do not cover the leases that there are would break a promise.
fn update<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    asset: &AssetId,
    policy: &AssetPolicy,
) -> Result<(), Stop> {
    let mut record = owned(draft, signer, asset)?;
    check(policy)?;
    let live = leases::of(draft, block, asset)?;
    let leased = live.leased();
    let (old, shared) = (record.shared(), policy.share_of(record.facts.capacity()));
    if live.len() > usize::from(policy.concurrency) {
        let leases = u32::try_from(live.len()).unwrap_or(u32::MAX);
        return Err(AssetRefusal::Leased {
            asset: *asset,
            leases,
        }
        .into());
    }
    // What a measurement took away is nobody's decision: a policy may not take more.
    if leased > shared && shared < old {
        let asset = *asset;
        return Err(AssetRefusal::Share {
            asset,
            leased,
            shared,
        }
        .into());
    }
    let hosted = hosted(draft, &record.host)?;
    let before = record.policy.concurrency;
    count(draft, &record.host, hosted, before, policy.concurrency)?;
    record.policy = policy.clone();
    draft.write(StateKey::asset(asset), &record);
    Ok(())
}

fn set_drained<V: StateView>(
    draft: &mut Draft<'_, V>,
    signer: Principal,
    asset: &AssetId,
    drained: bool,
) -> Result<(), Stop> {
    let mut record = kept(draft, signer, asset)?;
    record.drained = drained;
    draft.write(StateKey::asset(asset), &record);
    Ok(())
}

/// An asset of the signer's own.
fn owned<V: StateView>(
    draft: &Draft<'_, V>,
    signer: Principal,
    asset: &AssetId,
) -> Result<AssetRecord, Stop> {
    let record = read(draft, asset)?;
    if record.owner == signer {
        return Ok(record);
    }
    let (asset, owner) = (*asset, record.owner);
    Err(AssetRefusal::NotOwner { asset, owner }.into())
}

/// An asset that the signer may take out of use: its owner, its host or an admin.
fn kept<V: StateView>(
    draft: &Draft<'_, V>,
    signer: Principal,
    asset: &AssetId,
) -> Result<AssetRecord, Stop> {
    let record = read(draft, asset)?;
    let known = roles::role_of(draft, &signer)?;
    let admin = known.is_some_and(|known| known.role == Role::Admin);
    if admin || record.owner == signer || record.host == signer {
        return Ok(record);
    }
    let (asset, owner) = (*asset, record.owner);
    Err(AssetRefusal::NotOwner { asset, owner }.into())
}

/// Removes all that a node has, and every lease of it: the node is no member any more.
pub(super) fn forget_host<V: StateView>(
    draft: &mut Draft<'_, V>,
    node: &NodeId,
) -> Result<(), NotLoaded> {
    for asset in hosted(draft, node)?.assets {
        leases::forget_asset(draft, &asset)?;
        if let Some(record) = draft.read::<AssetRecord>(&StateKey::asset(&asset))? {
            remove(draft, &asset, &record)?;
        }
    }
    Ok(())
}

fn remove<V: StateView>(
    draft: &mut Draft<'_, V>,
    asset: &AssetId,
    record: &AssetRecord,
) -> Result<(), NotLoaded> {
    draft.remove(StateKey::asset(asset));
    draft.remove(StateKey::asset_leases(asset));
    draft.remove(StateKey::asset_space(asset));
    let mut hosted = hosted(draft, &record.host)?;
    hosted.assets.retain(|other| other != asset);
    let fewer = u32::from(record.policy.concurrency);
    hosted.leases_max = hosted.leases_max.saturating_sub(fewer);
    let mut totals = totals(draft)?;
    totals.assets = totals.assets.saturating_sub(1);
    totals.leases_max = totals.leases_max.saturating_sub(fewer);
    write_counts(draft, &record.host, &hosted, totals);
    Ok(())
}

/// Counts an asset that allows `after` leases where it allowed `before`: none if it is new.
fn count<V: StateView>(
    draft: &mut Draft<'_, V>,
    host: &NodeId,
    mut hosted: NodeAssetsRecord,
    before: u16,
    after: u16,
) -> Result<(), Stop> {
    let mut totals = totals(draft)?;
    totals.assets += u32::from(before == 0);
    let with = |count: u32| (count + u32::from(after)).saturating_sub(before.into());
    hosted.leases_max = with(hosted.leases_max);
    totals.leases_max = with(totals.leases_max);
    if hosted.leases_max > LEASES_PER_NODE_MAX {
        let what = "leases that the assets of one node allow together";
        return Err(too_many(what, LEASES_PER_NODE_MAX.into()));
    }
    if totals.leases_max > LEASES_MAX {
        let what = "leases that all assets allow together";
        return Err(too_many(what, LEASES_MAX.into()));
    }
    write_counts(draft, host, &hosted, totals);
    Ok(())
}

fn write_counts<V: StateView>(
    draft: &mut Draft<'_, V>,
    host: &NodeId,
    hosted: &NodeAssetsRecord,
    totals: AssetTotalsRecord,
) {
    if hosted.assets.is_empty() {
        draft.remove(StateKey::node_assets(host));
    } else {
        draft.write(StateKey::node_assets(host), hosted);
    }
    if totals.assets == 0 {
        draft.remove(StateKey::asset_totals());
    } else {
        draft.write(StateKey::asset_totals(), &totals);
    }
}

fn hosted<V: StateView>(
    draft: &Draft<'_, V>,
    host: &NodeId,
) -> Result<NodeAssetsRecord, NotLoaded> {
    Ok(draft
        .read(&StateKey::node_assets(host))?
        .unwrap_or_default())
}

fn totals<V: StateView>(draft: &Draft<'_, V>) -> Result<AssetTotalsRecord, NotLoaded> {
    Ok(draft.read(&StateKey::asset_totals())?.unwrap_or_default())
}

fn check(policy: &AssetPolicy) -> Result<(), AssetRefusal> {
    policy
        .check()
        .map_err(|error| AssetRefusal::Policy(error.to_string()))
}

pub(super) fn too_many(what: &str, max: u64) -> Stop {
    Stop::Refused(Refusal::TooMany {
        what: what.to_owned(),
        max: u32::try_from(max).unwrap_or(u32::MAX),
    })
}
