//! No asset is promised twice: on every node, after every block, what is leased fits into what is
//! shared, lists agree with records, and what was given back is there again.
//!
//! One thing takes away what is promised: a new measurement. Then nothing is granted or renewed
//! until what is leased fits again, so what is leased only shrinks.

use std::collections::BTreeMap;

use ledger::{AnyRecord, AssetRecord, AssetTotalsRecord, DecodeRecordError, StateKey, View};
use types::{Amount, AssetId, LeaseId, NodeId};

use super::Check;
use crate::event::Event;

/// The leases of an asset that hold: how much each takes, and when it ends.
type Live = BTreeMap<LeaseId, (Amount, u64)>;

/// What each node showed last.
#[derive(Debug, Default)]
pub(crate) struct NoOvercommit {
    last: BTreeMap<usize, BTreeMap<AssetId, Shown>>,
}

/// One asset, as one node showed it.
#[derive(Debug)]
struct Shown {
    shared: Amount,
    leased: Amount,
    live: Live,
}

impl Check for NoOvercommit {
    fn name(&self) -> &'static str {
        "no overcommit"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::State { node, view, .. } => {
                let before = self.last.remove(node).unwrap_or_default();
                let at = |what| format!("node {node}, height {}: {what}", view.height());
                let now = judge(view, &before).map_err(at)?;
                self.last.insert(*node, now);
                Ok(())
            }
            // What it shows next is no consequence of what it showed last.
            Event::Started { node, .. } | Event::TookOver { node, .. } => {
                self.last.remove(node);
                Ok(())
            }
            Event::Returned {
                asset,
                end: Err(why),
            } => Err(format!(
                "after all leases ended, not all of {} could be leased and given back: {why}",
                asset.short()
            )),
            _ => Ok(()),
        }
    }
}

fn judge(
    view: &View,
    before: &BTreeMap<AssetId, Shown>,
) -> Result<BTreeMap<AssetId, Shown>, String> {
    let assets = view.assets().map_err(unreadable)?;
    lists_agree(view, &assets)?;
    let mut now = BTreeMap::new();
    for (asset, record) in assets {
        let live = live(view, &asset)?;
        let leased: u128 = live.values().map(|(amount, _)| u128::from(amount.0)).sum();
        let leased = Amount(u64::try_from(leased).unwrap_or(u64::MAX));
        let shown = Shown {
            shared: record.shared(),
            leased,
            live,
        };
        if shown.live.len() > usize::from(record.policy.concurrency) {
            let (count, most) = (shown.live.len(), record.policy.concurrency);
            return Err(format!("{} has {count} leases, of {most}", asset.short()));
        }
        // A block may grant and then measure, so of that block nothing more can be said.
        if shown.leased > shown.shared && record.measured_ms != view.time_ms() {
            only_shrinks(view, &asset, &shown, before)?;
        }
        now.insert(asset, shown);
    }
    Ok(now)
}

/// What is leased beyond what is shared was so before, and nothing came to it.
fn only_shrinks(
    view: &View,
    asset: &AssetId,
    shown: &Shown,
    before: &BTreeMap<AssetId, Shown>,
) -> Result<(), String> {
    let (leased, shared) = (shown.leased.0, shown.shared.0);
    let of = asset.short();
    let Some(last) = before.get(asset) else {
        // Nothing was seen of what led here, but for the time of the last measurement.
        return Ok(());
    };
    if last.leased <= last.shared {
        return Err(format!(
            "{leased} of {of} are leased and {shared} shared, which no measurement explains"
        ));
    }
    let is_old = |lease: &LeaseId, now: &(Amount, u64)| last.live.get(lease) == Some(now);
    match shown.live.iter().find(|(lease, now)| !is_old(lease, now)) {
        Some((lease, _)) => Err(format!(
            "{} was granted or renewed at {} ms although {leased} of {of} are leased and {shared} \
             shared",
            lease.short(),
            view.time_ms()
        )),
        None => Ok(()),
    }
}

/// The live leases of an asset, of which list and records must say the same.
fn live(view: &View, asset: &AssetId) -> Result<Live, String> {
    let mut live = BTreeMap::new();
    for slot in view.leases_of(asset).map_err(unreadable)?.leases {
        let id = slot.lease;
        let Some(record) = view.lease(&id).map_err(unreadable)? else {
            return Err(format!("{} is listed and has no record", id.short()));
        };
        let listed = (*asset, slot.amount, slot.expires_ms);
        if listed != (record.asset, record.amount, record.expires_ms) {
            return Err(format!(
                "{} is listed as {listed:?}: {record:?}",
                id.short()
            ));
        }
        let held = view.leases_held(&record.holder).map_err(unreadable)?;
        if !held.iter().any(|(other, _)| *other == id) {
            return Err(format!("{} is not among those of its holder", id.short()));
        }
        if live.insert(id, (slot.amount, slot.expires_ms)).is_some() {
            return Err(format!("{} is listed twice", id.short()));
        }
    }
    Ok(live)
}

/// Every lease is on the list of its asset, every asset on the list of its host, and counts count
/// them.
fn lists_agree(view: &View, assets: &[(AssetId, AssetRecord)]) -> Result<(), String> {
    for (key, value) in view.entries(b"lease/") {
        let Some(AnyRecord::Lease(record)) = AnyRecord::decode(key, value).map_err(unreadable)?
        else {
            return Err(format!("{key} is no lease"));
        };
        let list = view.leases_of(&record.asset).map_err(unreadable)?.leases;
        let mut listed = list.iter().map(|slot| StateKey::lease(&slot.lease));
        if record.is_live(view.time_ms()) && !listed.any(|other| other == *key) {
            return Err(format!("{key} is not on the list of its asset"));
        }
    }
    let mut by_host: BTreeMap<NodeId, Vec<AssetId>> = BTreeMap::new();
    for (asset, record) in assets {
        by_host.entry(record.host).or_default().push(*asset);
    }
    for (host, mut hosted) in by_host {
        let mut listed = view.assets_of(&host).map_err(unreadable)?;
        listed.sort_unstable();
        hosted.sort_unstable();
        if listed != hosted {
            let host = host.short();
            return Err(format!("node {host} is listed with {listed:?}: {hosted:?}"));
        }
    }
    let leases = assets
        .iter()
        .map(|(_, it)| u32::from(it.policy.concurrency));
    let counted = AssetTotalsRecord {
        assets: u32::try_from(assets.len()).unwrap_or(u32::MAX),
        leases_max: leases.sum(),
    };
    let key = StateKey::asset_totals();
    let totals = view.value(&key).map(|value| AnyRecord::decode(&key, value));
    let totals = totals.transpose().map_err(unreadable)?.flatten();
    let expected = (!assets.is_empty()).then_some(AnyRecord::AssetTotals(counted));
    if totals == expected {
        return Ok(());
    }
    Err(format!("{totals:?} are counted, {expected:?} are there"))
}

fn unreadable(error: DecodeRecordError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use ledger::{AssetOperation, LeaseOperation};
    use types::{AssetFacts, AssetPolicy, MemoryFacts};

    use super::super::small_ledger::SmallLedger;
    use super::*;
    use crate::proving::bare;

    /// A ledger with one asset of 100 bytes, all shared.
    fn begun() -> (SmallLedger, AssetId) {
        let mut ledger = SmallLedger::new(2);
        let (host, facts) = (ledger.name(0), memory(100));
        let register = AssetOperation::Register {
            facts: facts.clone(),
            owner: host,
            policy: AssetPolicy::private(),
        };
        ledger.apply(0, bare(register));
        (ledger, AssetId::new(&host, &facts, 0))
    }

    fn memory(bytes: u64) -> AssetFacts {
        AssetFacts::Memory(MemoryFacts { bytes })
    }

    fn grant(ledger: &mut SmallLedger, asset: AssetId, amount: u64) {
        let grant = LeaseOperation::Grant {
            asset,
            holder: ledger.name(0),
            amount: Amount(amount),
            term_ms: 60_000,
        };
        ledger.apply(0, bare(grant));
    }

    fn show(check: &mut NoOvercommit, ledger: &SmallLedger) -> Result<(), String> {
        let view = ledger.view();
        check.see(&Event::State {
            node: 0,
            view: &view,
            at_ms: 0,
        })
    }

    #[test]
    fn a_lease_beyond_what_is_shared_is_seen() {
        let (mut ledger, asset) = begun();
        let mut check = NoOvercommit::default();
        assert_eq!(show(&mut check, &ledger), Ok(()));
        // The same, had its owner shared less of it.
        let policy = AssetPolicy {
            share_percent: 50,
            ..AssetPolicy::private()
        };
        let (mut other, _) = begun();
        let update = AssetOperation::Update { asset, policy };
        other.apply(0, bare(update));
        grant(&mut ledger, asset, 60);
        let key = StateKey::asset(&asset);
        let less = other.state[&key].clone();
        let more = ledger.state.insert(key.clone(), less).unwrap();
        let seen = show(&mut check, &ledger).unwrap_err();
        assert!(seen.contains("60 of"), "{seen}");
        ledger.state.insert(key, more);
        assert_eq!(show(&mut check, &ledger), Ok(()));
    }

    #[test]
    fn what_a_measurement_took_away_is_borne_until_something_comes_to_it() {
        let (mut ledger, asset) = begun();
        let mut check = NoOvercommit::default();
        grant(&mut ledger, asset, 60);
        assert_eq!(show(&mut check, &ledger), Ok(()));
        let mut other = ledger.clone();
        let remeasure = |bytes| {
            bare(AssetOperation::Remeasure {
                asset,
                facts: memory(bytes),
            })
        };
        ledger.apply(0, remeasure(50));
        assert_eq!(show(&mut check, &ledger), Ok(()));
        ledger.time_ms += 1;
        assert_eq!(show(&mut check, &ledger), Ok(()));
        // The leases of a ledger that granted one more meanwhile.
        grant(&mut other, asset, 30);
        let key = StateKey::asset(&asset);
        other.state.insert(key.clone(), ledger.state[&key].clone());
        other.time_ms = ledger.time_ms;
        let seen = show(&mut check, &other).unwrap_err();
        assert!(seen.contains("granted or renewed"), "{seen}");
    }

    #[test]
    fn lists_that_disagree_with_records_are_seen() {
        let (mut ledger, asset) = begun();
        grant(&mut ledger, asset, 60);
        let holder = ledger.name(0);
        let (lease, _) = ledger.view().leases_held(&holder).unwrap().remove(0);
        let lists = [
            (StateKey::lease(&lease), "has no record"),
            (StateKey::asset_leases(&asset), "not on the list"),
            (StateKey::holder_leases(&holder), "not among those"),
            (StateKey::node_assets(&holder), "is listed with"),
            (StateKey::asset_totals(), "are counted"),
        ];
        for (key, what) in lists {
            let mut broken = ledger.clone();
            assert_eq!(show(&mut NoOvercommit::default(), &broken), Ok(()));
            broken.state.remove(&key).unwrap();
            let seen = show(&mut NoOvercommit::default(), &broken).unwrap_err();
            assert!(seen.contains(what), "{key}: {seen}");
        }
    }

    #[test]
    fn what_does_not_come_back_is_seen() {
        let asset = begun().1;
        let mut check = NoOvercommit::default();
        let mut end = |end| check.see(&Event::Returned { asset, end });
        assert!(end(Ok(())).is_ok());
        assert!(end(Err("half of it is free".to_owned())).is_err());
    }
}
