//! What nodes have to lease, and on what terms: drawn, within bounds. Signs nothing and judges
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use consensus::simulated::Dice;
use ledger::{AssetOperation, AssetRecord, LeaseOperation, Operation, View};
use types::{
    Amount, AssetFacts, AssetId, AssetPolicy, ContainerFacts, MemoryFacts, Name, Principal, Privacy,
};

use crate::holder::is_exclusive;
use crate::proving::bare;
use crate::scenario::Scenario;

/// Honest nodes that host assets: more of them are more of the same.
const HOSTS_MAX: usize = 2;
/// Bounds of a measurement of memory, bytes: so little that amounts collide.
const MEMORY_BYTES: (u64, u64) = (50, 100);
/// Most leases of a shared asset at once.
const CONCURRENCY_MAX: u16 = 4;
/// Longest term of a lease of a shared asset, milliseconds: some end within a run.
const TERM_MS_MAX: u64 = 20_000;
/// Term of a lease of what one at a time may hold: well over what clocks may be wrong by, and many
/// of them within a run.
pub(crate) const EXCLUSIVE_TERM_MS: u64 = 8_000;

/// The nodes that host assets.
pub(crate) fn hosts(scenario: &Scenario) -> impl Iterator<Item = usize> {
    let honest = (0..scenario.nodes()).filter(|node| scenario.is_honest(*node));
    honest.take(if scenario.assets { HOSTS_MAX } else { 0 })
}

/// What `host` lacks of what it is to have: something that many share, something that one at a time
/// may hold. Others than itself may own the first.
pub(crate) fn missing(
    dice: &mut Dice,
    view: &View,
    host: Principal,
    owners: &[Principal],
) -> Option<Operation> {
    let hosted = view.assets_of(&host).ok()?;
    let (facts, owner, policy) = if !hosted.iter().any(|asset| !is_exclusive(asset)) {
        let owner = owners.get(dice.index(owners.len())).copied();
        (memory(dice), owner.unwrap_or(host), shared(dice, owners))
    } else if !hosted.iter().any(is_exclusive) {
        (instance()?, host, exclusive())
    } else {
        return None;
    };
    Some(bare(AssetOperation::Register {
        facts,
        owner,
        policy,
    }))
}

/// Something that `me` may ask of a shared asset or of its leases, or may not.
pub(crate) fn deal(dice: &mut Dice, view: &View, me: Principal) -> Option<Operation> {
    let mut assets = view.assets().ok()?;
    assets.retain(|(asset, _)| !is_exclusive(asset));
    let (asset, record) = assets.get(dice.index(assets.len()))?;
    let asset = *asset;
    Some(match dice.below(20) {
        0..10 => bare(grant(dice, asset, record, me)),
        10..13 => bare(renew(dice, view, asset)?),
        13..16 => bare(release(dice, view, me)?),
        16 => bare(AssetOperation::Update {
            asset,
            policy: AssetPolicy {
                share_percent: percent(dice),
                concurrency: concurrency(dice),
                ..record.policy.clone()
            },
        }),
        17 => bare(AssetOperation::Drain { asset }),
        18 => bare(AssetOperation::Resume { asset }),
        _ => bare(AssetOperation::Transfer {
            asset,
            owner: record.host,
        }),
    })
}

/// Something that the host of an asset does with it.
pub(crate) fn keep(dice: &mut Dice, view: &View, host: Principal) -> Option<Operation> {
    let hosted = view.assets_of(&host).ok()?;
    let asset = hosted.into_iter().find(|asset| !is_exclusive(asset))?;
    Some(bare(match dice.below(10) {
        0..6 => AssetOperation::Remeasure {
            asset,
            facts: memory(dice),
        },
        6 => AssetOperation::Drain { asset },
        7 | 8 => AssetOperation::Resume { asset },
        _ => AssetOperation::Retire { asset },
    }))
}

/// A lease of all that is shared of an asset, for its owner.
pub(crate) fn grant_all(asset: AssetId, record: &AssetRecord) -> Operation {
    bare(LeaseOperation::Grant {
        asset,
        holder: record.owner,
        amount: record.shared(),
        term_ms: AssetPolicy::TERM_MS_MIN.max(record.policy.term_ms_max),
    })
}

fn grant(dice: &mut Dice, asset: AssetId, record: &AssetRecord, me: Principal) -> LeaseOperation {
    let shared = record.shared().0;
    let amount = match dice.below(8) {
        // All of it, and a little too much.
        0 => shared,
        1 => shared + 1,
        _ => 1 + dice.below(shared / 2),
    };
    let longest_ms = record.policy.term_ms_max;
    LeaseOperation::Grant {
        asset,
        holder: if dice.comes_true(800) {
            me
        } else {
            record.host
        },
        amount: Amount(amount),
        term_ms: AssetPolicy::TERM_MS_MIN + dice.below(longest_ms),
    }
}

fn renew(dice: &mut Dice, view: &View, asset: AssetId) -> Option<LeaseOperation> {
    let leases = view.leases_of(&asset).ok()?.leases;
    let slot = leases.get(dice.index(leases.len()))?;
    Some(LeaseOperation::Renew {
        lease: slot.lease,
        term_ms: AssetPolicy::TERM_MS_MIN + dice.below(TERM_MS_MAX),
    })
}

fn release(dice: &mut Dice, view: &View, me: Principal) -> Option<LeaseOperation> {
    let mut held = view.leases_held(&me).ok()?;
    held.retain(|(_, record)| !is_exclusive(&record.asset));
    let (lease, _) = *held.get(dice.index(held.len()))?;
    Some(LeaseOperation::Release { lease })
}

fn memory(dice: &mut Dice) -> AssetFacts {
    let (least, most) = MEMORY_BYTES;
    AssetFacts::Memory(MemoryFacts {
        bytes: least + dice.below(most - least + 1),
    })
}

fn instance() -> Option<AssetFacts> {
    Some(AssetFacts::Container(ContainerFacts {
        workload: Name::new("shop").ok()?,
        component: Name::new("till").ok()?,
        instances: 1,
    }))
}

fn percent(dice: &mut Dice) -> u8 {
    u8::try_from(40 + dice.below(61)).unwrap_or(100)
}

fn concurrency(dice: &mut Dice) -> u16 {
    1 + u16::try_from(dice.below(CONCURRENCY_MAX.into())).unwrap_or(0)
}

fn shared(dice: &mut Dice, owners: &[Principal]) -> AssetPolicy {
    let privacy = Privacy::ALL.get(dice.index(Privacy::ALL.len())).copied();
    let peers: BTreeSet<_> = owners.iter().copied().take(1).collect();
    AssetPolicy {
        privacy: privacy.unwrap_or(Privacy::PublicNetwork),
        share_percent: percent(dice),
        concurrency: concurrency(dice),
        term_ms_max: TERM_MS_MAX / 2 + dice.below(TERM_MS_MAX / 2),
        peers,
        labels: BTreeMap::new(),
        bond: 0,
    }
}

fn exclusive() -> AssetPolicy {
    AssetPolicy {
        privacy: Privacy::PublicNetwork,
        concurrency: 1,
        term_ms_max: EXCLUSIVE_TERM_MS,
        ..AssetPolicy::private()
    }
}
