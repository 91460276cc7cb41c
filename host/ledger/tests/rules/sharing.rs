//! Who may lease what by every privacy, and that no sequence of operations promises a part twice.

use std::collections::{BTreeMap, BTreeSet};

use hypermesh_ledger::{AssetOperation, AssetRefusal, Operation, Refusal, Role, RoleOperation};
use proptest::prelude::*;
use types::{Amount, AssetId, AssetPolicy, LeaseId, Privacy};

use crate::assets::{instances, refused_asset, shared_as};
use crate::leases::MINUTE_MS;
use crate::membership::{APPLIED, refused, secret};
use crate::{Fabric, public};

/// Who asks, as an asset's privacy sees it.
const CALLERS: [&str; 5] = ["owner", "peer", "member", "viewer", "without a role"];

/// For each privacy: whether each caller gets what it asks for itself, and what the owner grants it.
const TABLE: [(Privacy, [bool; 5], [bool; 5]); 5] = [
    (
        Privacy::Private,
        [true, false, false, false, false],
        [true, false, false, false, false],
    ),
    (
        Privacy::PrivateNetwork,
        [true, true, false, false, false],
        [true, true, false, false, false],
    ),
    (
        Privacy::P2p,
        [true, false, false, false, false],
        [true, true, true, true, false],
    ),
    (
        Privacy::PublicNetwork,
        [true, true, true, true, false],
        [true, true, true, true, false],
    ),
    (
        Privacy::FullPublic,
        [true, true, true, true, true],
        [true, true, true, true, true],
    ),
];

#[test]
fn every_privacy_meets_every_caller() {
    let mut fabric = Fabric::new();
    let host = fabric.member(50);
    let owner = fabric.person(80, Role::Deployer);
    let (peer, member) = (fabric.member(51), fabric.member(52));
    let viewer = fabric.person(81, Role::Viewer);
    let nobody = fabric.person(82, Role::Viewer);
    let principal = public(&nobody);
    let revoke = Operation::Role(RoleOperation::Revoke { principal });
    assert_eq!(fabric.run(revoke), APPLIED);
    let callers = [&owner, &peer, &member, &viewer, &nobody];
    for (privacy, asks, granted) in TABLE {
        let policy = AssetPolicy {
            peers: BTreeSet::from([public(&peer)]),
            ..shared_as(privacy)
        };
        let asset = fabric.register(
            &host,
            public(&owner),
            &instances(privacy.word(), 100),
            policy,
        );
        let asset = asset.unwrap();
        for (at, caller) in callers.into_iter().enumerate() {
            let row = format!("{privacy}, {}", CALLERS[at]);
            let holder = public(caller);
            let private = refused_asset(AssetRefusal::Privacy {
                asset,
                privacy,
                holder,
            });
            for (signer, allowed) in [(caller, asks[at]), (&owner, granted[at])] {
                let outcome = fabric.grant(signer, caller, asset, (1, MINUTE_MS));
                match allowed {
                    true => assert!(outcome.is_ok(), "{row}: {outcome:?}"),
                    false => assert_eq!(outcome, Err(private.clone()), "{row}"),
                }
            }
            // Only its owner gives it to others.
            let other = if at == 2 { &peer } else { &member };
            if at > 0 {
                let given = fabric.grant(caller, other, asset, (1, MINUTE_MS));
                let owner = public(&owner);
                let expected = refused_asset(AssetRefusal::NotOwner { asset, owner });
                assert_eq!(given, Err(expected), "{row}");
            }
        }
    }
    let stranger = secret(99);
    let asset = fabric.view().assets().unwrap()[0].0;
    let unknown = refused(Refusal::UnknownPrincipal(public(&stranger)));
    assert_eq!(fabric.lease(&stranger, asset, 1, MINUTE_MS), Err(unknown));
}

/// Whose instances the property test leases.
const WORKLOADS: [&str; 2] = ["one", "two"];

/// What the property test believes: live leases by id with asset, amount, holder and end.
type Model = BTreeMap<LeaseId, (AssetId, u64, usize, u64)>;

fn check(fabric: &Fabric, model: &Model, assets: &[(AssetId, u64)]) {
    let (now_ms, view) = (fabric.now_ms(), fabric.view());
    for (asset, _) in assets {
        let live = model.values().filter(|it| it.0 == *asset && now_ms < it.3);
        let sum: u64 = live.clone().map(|it| it.1).sum();
        assert_eq!(
            fabric.leased(asset),
            Amount(sum),
            "totals are sums of live leases"
        );
    }
    for (id, (asset, amount, _, expires_ms)) in model {
        let found = view.lease(id).unwrap();
        if now_ms < *expires_ms {
            let found = found.unwrap();
            assert_eq!((found.asset, found.amount.0), (*asset, *amount));
            assert_eq!(found.expires_ms, *expires_ms);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is asked for in whatever order: no asset is promised twice, and all of it comes back.
    #[test]
    fn no_sequence_of_operations_overcommits(
        steps in prop::collection::vec((0..8_u8, 0..2_usize, 0..3_usize, 1..60_u64), 1..80),
    ) {
        let mut fabric = Fabric::new();
        let host = fabric.member(50);
        let holders = [fabric.member(51), fabric.member(52), fabric.member(53)];
        let mut assets: Vec<(AssetId, u64)> = Vec::new();
        for workload in WORKLOADS {
            let policy = shared_as(Privacy::PublicNetwork);
            let id = fabric.register(&host, public(&host), &instances(workload, 100), policy).unwrap();
            assets.push((id, 100));
        }
        let mut model = Model::new();
        for (kind, which, who, number) in steps {
            fabric.clock_ms += number * 500;
            let (asset, capacity) = assets[which];
            let (holder, then_ms) = (&holders[who], fabric.now_ms() + 1);
            let live = |model: &Model| -> u64 {
                let live = model.values().filter(|it| it.0 == asset && then_ms < it.3);
                live.map(|it| it.1).sum()
            };
            let mine = model.iter().find(|(_, it)| it.2 == who && it.0 == asset);
            let mine = mine.map(|(id, it)| (*id, *it));
            match (kind, mine) {
                (0..=3, _) => {
                    let granted = fabric.lease(holder, asset, number, MINUTE_MS);
                    let fits = live(&model) + number <= capacity;
                    prop_assert_eq!(granted.is_ok(), fits, "{:?}", granted);
                    if let Ok(id) = granted {
                        model.insert(id, (asset, number, who, then_ms + MINUTE_MS));
                    }
                }
                (4, Some((id, it))) => {
                    let term_ms = 2 * MINUTE_MS;
                    let renewed = fabric.renew(holder, id, term_ms) == APPLIED;
                    let can = then_ms < it.3 && then_ms + term_ms > it.3 && live(&model) <= capacity;
                    prop_assert_eq!(renewed, can);
                    if renewed {
                        model.insert(id, (it.0, it.1, it.2, then_ms + term_ms));
                    }
                }
                (5, Some((id, it))) => {
                    let released = fabric.release(holder, id) == APPLIED;
                    prop_assert_eq!(released, then_ms < it.3);
                    model.remove(&id);
                }
                (6, _) => {
                    let facts = instances(WORKLOADS[which], u32::try_from(number).unwrap() + 50);
                    prop_assert_eq!(fabric.asset(&host, AssetOperation::Remeasure { asset, facts }), APPLIED);
                    assets[which].1 = number + 50;
                }
                _ => {
                    let drained = fabric.asset(&host, AssetOperation::Drain { asset });
                    prop_assert_eq!(drained, APPLIED);
                    prop_assert!(fabric.lease(holder, asset, 1, MINUTE_MS).is_err());
                    let resumed = fabric.asset(&host, AssetOperation::Resume { asset });
                    prop_assert_eq!(resumed, APPLIED);
                }
            }
            model.retain(|_, it| fabric.now_ms() < it.3);
            check(&fabric, &model, &assets);
        }
        fabric.clock_ms += 2 * MINUTE_MS;
        for (asset, _) in &assets {
            prop_assert_eq!(fabric.asset(&host, AssetOperation::Retire { asset: *asset }), APPLIED);
        }
        for prefix in ["asset", "node-assets", "lease/"] {
            prop_assert_eq!(fabric.entries(prefix), 0, "{}", prefix);
        }
    }
}
