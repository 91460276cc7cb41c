//! Hosts, bidders and owners of assets, who keep the ledger's rules about them busy and say at the
//! end what came back. Judge nothing.

use std::sync::Arc;
use std::time::Duration;

use consensus::simulated::{Dice, SimWorld};
use ledger::{
    AssetOperation, AssetRecord, LeaseOperation, Operation, StateKey, TransactionOutcome, View,
};
use types::{AssetId, LeaseId, Principal};

use crate::client::{Client, operator};
use crate::estate::{self, EXCLUSIVE_TERM_MS};
use crate::event::Event;
use crate::fleet::{Fleet, node_key};
use crate::holder::is_exclusive;
use crate::proving::bare;

/// Bounds of the pauses of one principal, milliseconds: leases end and are renewed in time, and
/// blocks, which cost time, stay few.
const PAUSE_MS: (u64, u64) = (2_000, 10_000);
/// How long before a lease ends by its own wall clock a bidder asks for the next one, milliseconds: the
/// ledger is to refuse those who come too early.
const EAGER_MS: u64 = 300;
/// Pause between looks whether something came back.
const LOOK: Duration = Duration::from_millis(500);
/// How long something may take to come back: the longest term of a lease, and what was under way.
const RETURN: Duration = Duration::from_secs(60);

/// A node that registers what it has, measures it again, takes it out of use, for ever.
pub(crate) async fn host(world: &SimWorld, fleet: &Arc<Fleet>, node: usize) {
    let me = node_key(node).public_key();
    let mut signer = Client::officer(node, &fleet.genesis);
    let mut dice = Dice::new(fleet.scenario.seed ^ ((node as u64) << 36));
    let owners: Vec<_> = (0..fleet.scenario.clients).map(operator).collect();
    loop {
        let wish = fleet.view(node, |view| {
            let missing = estate::missing(&mut dice, view, me, &owners);
            missing.or_else(|| estate::keep(&mut dice, view, me))
        });
        if let Some(operation) = wish.flatten() {
            signer.settle(world, fleet, node, &operation).await;
        }
        pause(world, fleet, &mut dice).await;
    }
}

/// A node that wants to hold what one at a time may hold, for ever.
pub(crate) async fn bidder(world: &SimWorld, fleet: &Arc<Fleet>, node: usize) {
    let me = node_key(node).public_key();
    let mut signer = Client::officer(node, &fleet.genesis);
    let mut dice = Dice::new(fleet.scenario.seed ^ ((node as u64) << 44));
    loop {
        pause(world, fleet, &mut dice).await;
        let now_ms = fleet.wall_ms(node);
        let wish = fleet.view(node, |view| bid(&mut dice, view, me, now_ms));
        let Some(operation) = wish.flatten() else {
            continue;
        };
        if let LeaseOperation::Release { lease } = operation {
            fleet.give_back(node, lease);
        }
        let operation = bare(operation);
        signer.settle(world, fleet, node, &operation).await;
    }
}

fn bid(dice: &mut Dice, view: &View, me: Principal, now_ms: u64) -> Option<LeaseOperation> {
    let mut held = view.leases_held(&me).ok()?;
    held.retain(|(_, record)| is_exclusive(&record.asset));
    let term_ms = EXCLUSIVE_TERM_MS;
    if let Some((lease, _)) = held.first() {
        let lease = *lease;
        return match dice.below(4) {
            0 => Some(LeaseOperation::Release { lease }),
            1 | 2 => Some(LeaseOperation::Renew { lease, term_ms }),
            _ => None,
        };
    }
    let free = |asset: &AssetId| {
        let leases = view.leases_of(asset).map(|list| list.leases);
        let mut leases = leases.unwrap_or_default().into_iter();
        leases.all(|slot| slot.expires_ms <= now_ms + EAGER_MS)
    };
    let mut assets = view.assets().ok()?;
    assets.retain(|(asset, _)| is_exclusive(asset) && free(asset));
    let (asset, record) = assets.get(dice.index(assets.len()))?;
    Some(LeaseOperation::Grant {
        asset: *asset,
        holder: me,
        amount: record.shared(),
        term_ms,
    })
}

async fn pause(world: &SimWorld, fleet: &Fleet, dice: &mut Dice) {
    let longest_ms = fleet.scenario.gap_ms.clamp(PAUSE_MS.0, PAUSE_MS.1);
    world
        .sleep(Duration::from_millis(dice.below(longest_ms)))
        .await;
}

/// Lets the owner of each asset lease all of it and give it back: nothing may be missing of what
/// others had.
pub(crate) async fn return_all(world: &SimWorld, fleet: &Arc<Fleet>) {
    let Some(told) = fleet.honest().next() else {
        return;
    };
    let assets = fleet.view(told, |view| view.assets().unwrap_or_default());
    for (asset, record) in assets.unwrap_or_default() {
        if !fleet.watch.objections().is_empty() {
            return;
        }
        let mut last = "no answer came".to_owned();
        let tries = async {
            while let Err(why) = return_one(world, fleet, told, asset, record.owner).await {
                last = why;
                world.sleep(LOOK).await;
            }
        };
        let returned = tokio::select! {
            biased;
            () = tries => true,
            () = world.sleep(RETURN) => false,
        };
        let end = if returned { Ok(()) } else { Err(last) };
        fleet.watch.see(&Event::Returned { asset, end });
    }
}

/// One try.
async fn return_one(
    world: &SimWorld,
    fleet: &Arc<Fleet>,
    told: usize,
    asset: AssetId,
    owner: Principal,
) -> Result<(), String> {
    let mut signer = Client::of(owner, fleet).ok_or("nobody signs as its owner")?;
    let Some(record) = find(fleet, told, &asset)? else {
        // What was under way may have retired it.
        return Ok(());
    };
    if record.drained {
        let resume = bare(AssetOperation::Resume { asset });
        applied(world, fleet, told, &mut signer, &resume).await?;
    }
    let all = estate::grant_all(asset, &record);
    applied(world, fleet, told, &mut signer, &all).await?;
    let lease = only_lease(fleet, told, &asset, &record)?;
    if let Some(node) = fleet.net.number_of(&owner) {
        fleet.give_back(node, lease);
    }
    let release = bare(LeaseOperation::Release { lease });
    applied(world, fleet, told, &mut signer, &release).await?;
    let left = fleet.view(told, |view| {
        view.value(&StateKey::asset_leases(&asset)).is_some()
            || view.value(&StateKey::lease(&lease)).is_some()
    });
    match left {
        Some(false) => Ok(()),
        _ => Err("entries of its leases are left".to_owned()),
    }
}

fn find(fleet: &Fleet, node: usize, asset: &AssetId) -> Result<Option<AssetRecord>, String> {
    let record = fleet.view(node, |view| view.asset(asset));
    let record = record.ok_or("the node has no power")?;
    record.map_err(|error| error.to_string())
}

/// The lease of all that is shared, which leaves no room for another.
fn only_lease(
    fleet: &Fleet,
    node: usize,
    asset: &AssetId,
    record: &AssetRecord,
) -> Result<LeaseId, String> {
    let leases = fleet.view(node, |view| view.leases_of(asset));
    let leases = leases.ok_or("the node has no power")?;
    let leases = leases.map_err(|error| error.to_string())?.leases;
    match leases.as_slice() {
        [slot] if slot.amount == record.shared() => Ok(slot.lease),
        others => Err(format!("a lease of all of it stands among {others:?}")),
    }
}

/// Returns once the operation took effect and the node shows it.
async fn applied(
    world: &SimWorld,
    fleet: &Arc<Fleet>,
    node: usize,
    signer: &mut Client,
    operation: &Operation,
) -> Result<(), String> {
    let finality = signer.settle(world, fleet, node, operation).await;
    while fleet
        .view(node, View::height)
        .is_some_and(|height| height < finality.height)
    {
        world.sleep(LOOK).await;
    }
    match finality.outcome {
        TransactionOutcome::Applied => Ok(()),
        TransactionOutcome::Refused(refusal) => Err(refusal.to_string()),
    }
}
