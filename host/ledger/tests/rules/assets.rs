//! Assets: who registers them, who decides about them, each refusal, and that all of it goes.

use ed25519_dalek::SigningKey;
use hypermesh_ledger::{
    ASSETS_PER_NODE_MAX, AssetOperation, AssetRefusal, LEASES_PER_NODE_MAX, MembershipOperation,
    Operation, Refusal, Role, RoleOperation, TransactionOutcome,
};
use types::{
    Amount, AssetFacts, AssetId, AssetPolicy, AssetType, ContainerFacts, Digest, MemoryFacts,
    NetworkFacts, Principal, Privacy,
};

use crate::membership::{APPLIED, refused, secret};
use crate::{Fabric, name, public};

pub(crate) fn memory(bytes: u64) -> AssetFacts {
    AssetFacts::Memory(MemoryFacts { bytes })
}

/// Instances of a deployment: a node has as many of these as it likes.
pub(crate) fn instances(workload: &str, instances: u32) -> AssetFacts {
    AssetFacts::Container(ContainerFacts {
        workload: name(workload),
        component: name("web"),
        instances,
    })
}

pub(crate) fn shared_as(privacy: Privacy) -> AssetPolicy {
    AssetPolicy {
        privacy,
        ..AssetPolicy::private()
    }
}

pub(crate) fn refused_asset(refusal: AssetRefusal) -> TransactionOutcome {
    refused(refusal.into())
}

impl Fabric {
    pub(crate) fn asset(
        &mut self,
        signer: &SigningKey,
        what: AssetOperation,
    ) -> TransactionOutcome {
        let proven = self.proven(signer, what);
        self.run_as(signer, Operation::Asset(proven))
    }

    /// What `host` registers next.
    pub(crate) fn register(
        &mut self,
        host: &SigningKey,
        owner: Principal,
        facts: &AssetFacts,
        policy: AssetPolicy,
    ) -> Result<AssetId, TransactionOutcome> {
        let known = self.view().principal(&public(host)).unwrap();
        let nonce = known.map_or(0, |known| known.nonce);
        let register = AssetOperation::Register {
            facts: facts.clone(),
            owner,
            policy,
        };
        match self.asset(host, register) {
            TransactionOutcome::Applied => Ok(AssetId::new(&public(host), facts, nonce)),
            refused @ TransactionOutcome::Refused(_) => Err(refused),
        }
    }

    /// A principal that has a role and is no node.
    pub(crate) fn person(&mut self, seed: u8, role: Role) -> SigningKey {
        let principal = public(&secret(seed));
        let grant = RoleOperation::Grant { principal, role };
        assert_eq!(self.run(Operation::Role(grant)), APPLIED);
        secret(seed)
    }
}

#[test]
fn a_node_registers_what_it_has_for_an_owner() {
    let mut fabric = Fabric::new();
    let host = fabric.member(50);
    let owner = fabric.person(80, Role::Viewer);
    let policy = AssetPolicy {
        share_percent: 50,
        ..shared_as(Privacy::PublicNetwork)
    };
    let facts = memory(1_001);
    let asset = fabric.register(&host, public(&owner), &facts, policy.clone());
    let asset = asset.unwrap();
    let record = fabric.view().asset(&asset).unwrap().unwrap();
    assert_eq!(record.host, public(&host));
    assert_eq!(record.owner, public(&owner));
    assert_eq!((&record.facts, &record.policy), (&facts, &policy));
    assert_eq!(record.shared(), Amount(500));
    assert!(!record.drained);
    assert_eq!(fabric.view().assets_of(&public(&host)).unwrap(), [asset]);
    let again = fabric.register(&host, public(&owner), &memory(7), policy.clone());
    let there = refused_asset(AssetRefusal::Registered(asset));
    assert_eq!(again, Err(there), "nothing is leased under two names");
    assert_eq!(
        fabric.asset(&owner, AssetOperation::Retire { asset }),
        APPLIED
    );
    let anew = fabric.register(&host, public(&owner), &facts, policy);
    assert_ne!(
        anew.unwrap(),
        asset,
        "what comes again has a name of its own"
    );
}

#[test]
fn only_members_register_for_owners_who_are_known_on_terms_that_hold() {
    let mut fabric = Fabric::new();
    let (host, person) = (fabric.member(50), fabric.person(80, Role::Admin));
    let stranger = public(&secret(99));
    let own = AssetPolicy::private;
    let by_person = fabric.register(&person, public(&person), &memory(1), own());
    let expected = refused(Refusal::NotAMember(public(&person)));
    assert_eq!(by_person, Err(expected));
    let for_stranger = fabric.register(&host, stranger, &memory(1), own());
    let expected = refused(Refusal::UnknownPrincipal(stranger));
    assert_eq!(for_stranger, Err(expected));
    let all = AssetPolicy {
        share_percent: 101,
        ..own()
    };
    let over = fabric.register(&host, public(&host), &memory(1), all);
    let Err(TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::Policy(reason)))) = over
    else {
        panic!("{over:?}");
    };
    assert_eq!(reason, "the share is 1 to 100 percent, not 101");
}

#[test]
fn the_assets_of_a_node_and_their_leases_are_bounded() {
    let mut fabric = Fabric::new();
    let host = fabric.member(50);
    let with = |concurrency| AssetPolicy {
        concurrency,
        ..AssetPolicy::private()
    };
    for at in 0..4 {
        fabric
            .register(
                &host,
                public(&host),
                &instances(&format!("w{at}"), 1),
                with(1_023),
            )
            .unwrap();
    }
    let last = fabric
        .register(&host, public(&host), &instances("last", 1), with(4))
        .unwrap();
    let over = fabric.register(&host, public(&host), &instances("over", 1), with(1));
    let too_many = |what: &str, max| {
        refused(Refusal::TooMany {
            what: what.to_owned(),
            max,
        })
    };
    let what = "leases that the assets of one node allow together";
    assert_eq!(over, Err(too_many(what, LEASES_PER_NODE_MAX)));
    let more = AssetOperation::Update {
        asset: last,
        policy: with(5),
    };
    assert_eq!(
        fabric.asset(&host, more),
        too_many(what, LEASES_PER_NODE_MAX)
    );
    let fewer = AssetOperation::Update {
        asset: last,
        policy: with(3),
    };
    assert_eq!(fabric.asset(&host, fewer), APPLIED);
    fabric
        .register(&host, public(&host), &instances("fits", 1), with(1))
        .unwrap();

    let crowded = fabric.member(51);
    for at in 0..ASSETS_PER_NODE_MAX {
        fabric
            .register(
                &crowded,
                public(&crowded),
                &instances(&format!("w{at}"), 1),
                with(1),
            )
            .unwrap();
    }
    let over = fabric.register(&crowded, public(&crowded), &instances("over", 1), with(1));
    assert_eq!(over, Err(too_many("assets of one node", 64)));
}

#[test]
fn who_decides_about_an_asset() {
    let mut fabric = Fabric::new();
    let (host, neighbour) = (fabric.member(50), fabric.member(51));
    let owner = fabric.person(80, Role::Viewer);
    let heir = fabric.person(81, Role::Viewer);
    let admin = fabric.operator.clone();
    let asset = fabric.register(&host, public(&owner), &memory(10), AssetPolicy::private());
    let asset = asset.unwrap();
    let update = || AssetOperation::Update {
        asset,
        policy: shared_as(Privacy::PublicNetwork),
    };
    let give = |to: &SigningKey| AssetOperation::Transfer {
        asset,
        owner: public(to),
    };
    let measure = || AssetOperation::Remeasure {
        asset,
        facts: memory(9),
    };
    let (drain, resume) = (
        AssetOperation::Drain { asset },
        AssetOperation::Resume { asset },
    );
    let retire = || AssetOperation::Retire { asset };
    let of_owner = |owner: &SigningKey| {
        let owner = public(owner);
        refused_asset(AssetRefusal::NotOwner { asset, owner })
    };
    for other in [&host, &neighbour, &admin] {
        assert_eq!(fabric.asset(other, update()), of_owner(&owner));
        assert_eq!(fabric.asset(other, give(&heir)), of_owner(&owner));
    }
    for other in [&owner, &neighbour, &admin] {
        let host = public(&host);
        let expected = refused_asset(AssetRefusal::NotHost { asset, host });
        assert_eq!(fabric.asset(other, measure()), expected);
    }
    assert_eq!(fabric.asset(&neighbour, drain.clone()), of_owner(&owner));
    assert_eq!(fabric.asset(&neighbour, retire()), of_owner(&owner));
    for keeper in [&owner, &host, &admin] {
        assert_eq!(fabric.asset(keeper, drain.clone()), APPLIED);
        assert!(fabric.view().asset(&asset).unwrap().unwrap().drained);
        assert_eq!(fabric.asset(keeper, resume.clone()), APPLIED);
    }
    assert_eq!(fabric.asset(&owner, update()), APPLIED);
    assert_eq!(fabric.asset(&host, measure()), APPLIED);
    let stranger = secret(99);
    let unknown = refused(Refusal::UnknownPrincipal(public(&stranger)));
    assert_eq!(fabric.asset(&owner, give(&stranger)), unknown);
    assert_eq!(fabric.asset(&owner, give(&heir)), APPLIED);
    assert_eq!(fabric.asset(&owner, update()), of_owner(&heir));
    let record = fabric.view().asset(&asset).unwrap().unwrap();
    assert_eq!((record.owner, record.shared()), (public(&heir), Amount(9)));
    assert_eq!(fabric.asset(&admin, retire()), APPLIED);
    let gone = refused_asset(AssetRefusal::UnknownAsset(asset));
    assert_eq!(fabric.asset(&heir, retire()), gone);
    assert_eq!(fabric.entries("asset"), 0);
    assert_eq!(fabric.entries("node-assets"), 0);
}

#[test]
fn an_asset_stays_of_its_type() {
    let mut fabric = Fabric::new();
    let host = fabric.member(50);
    let own = AssetPolicy::private();
    let asset = fabric
        .register(&host, public(&host), &memory(10), own)
        .unwrap();
    let facts = AssetFacts::Network(NetworkFacts {
        bytes_per_s: 1,
        rtt_us: 1,
        loss_ppm: 0,
        sessions: 1,
    });
    let found = AssetType::Network;
    let expected = refused_asset(AssetRefusal::Type { asset, found });
    let measured = fabric.asset(&host, AssetOperation::Remeasure { asset, facts });
    assert_eq!(measured, expected);
    let facts = instances("shop", 3);
    let shop = fabric.register(&host, public(&host), &facts, AssetPolicy::private());
    let asset = shop.unwrap();
    let facts = instances("bank", 3);
    let measured = fabric.asset(&host, AssetOperation::Remeasure { asset, facts });
    assert_eq!(measured, refused_asset(AssetRefusal::OtherThing(asset)));
    let other = AssetId::from_parts(AssetType::Memory, Digest::of(b"none"));
    let facts = memory(1);
    let measured = fabric.asset(
        &host,
        AssetOperation::Remeasure {
            asset: other,
            facts,
        },
    );
    assert_eq!(measured, refused_asset(AssetRefusal::UnknownAsset(other)));
}

#[test]
fn what_a_node_had_goes_with_it() {
    for evicted in [true, false] {
        let mut fabric = Fabric::new();
        let (host, holder) = (fabric.member(50), fabric.member(51));
        let policy = shared_as(Privacy::PublicNetwork);
        let asset = fabric
            .register(&host, public(&host), &memory(10), policy)
            .unwrap();
        let lease = fabric.lease(&holder, asset, 4, 60_000).unwrap();
        assert!(fabric.view().lease(&lease).unwrap().is_some());
        if evicted {
            assert_eq!(fabric.evict(public(&host)), APPLIED);
        } else {
            let leave = Operation::Membership(MembershipOperation::Leave);
            assert_eq!(fabric.run_as(&host, leave), APPLIED);
        }
        assert_eq!(fabric.view().asset(&asset).unwrap(), None);
        assert_eq!(fabric.view().lease(&lease).unwrap(), None);
        assert_eq!(fabric.view().leases_held(&public(&holder)).unwrap(), []);
        for prefix in ["asset", "node-assets", "lease"] {
            assert_eq!(fabric.entries(prefix), 0, "{prefix}");
        }
    }
}
