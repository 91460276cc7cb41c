//! Leases: who may have one of what, that nothing is promised twice, and that all of it comes back.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use hypermesh_ledger::{
    AssetOperation, AssetRefusal, KeptContent, LEASES_PER_HOLDER_MAX, LeaseOperation, Operation,
    Proven, Refusal, SpaceOperation, TransactionOutcome,
};
use proofs::Proofs;
use types::{
    Amount, AssetId, AssetPolicy, AssetType, Digest, FactText, LeaseId, Privacy, PublicKey,
};

use crate::assets::{memory, refused_asset, shared_as};
use crate::membership::{APPLIED, refused};
use crate::{Fabric, name, public};

pub(crate) const MINUTE_MS: u64 = 60_000;

impl Fabric {
    fn leasing(&mut self, signer: &SigningKey, what: LeaseOperation) -> TransactionOutcome {
        let proven = self.proven(signer, what);
        self.run_as(signer, Operation::Lease(proven))
    }

    /// What `signer` grants `holder`.
    pub(crate) fn grant(
        &mut self,
        signer: &SigningKey,
        holder: &SigningKey,
        asset: AssetId,
        (amount, term_ms): (u64, u64),
    ) -> Result<LeaseId, TransactionOutcome> {
        let known = self.view().principal(&public(signer)).unwrap();
        let nonce = known.map_or(0, |known| known.nonce);
        let grant = LeaseOperation::Grant {
            asset,
            holder: public(holder),
            amount: Amount(amount),
            term_ms,
        };
        match self.leasing(signer, grant) {
            TransactionOutcome::Applied => Ok(LeaseId::new(&public(signer), nonce, &asset)),
            refused @ TransactionOutcome::Refused(_) => Err(refused),
        }
    }

    /// What `holder` asks for itself.
    pub(crate) fn lease(
        &mut self,
        holder: &SigningKey,
        asset: AssetId,
        amount: u64,
        term_ms: u64,
    ) -> Result<LeaseId, TransactionOutcome> {
        self.grant(holder, holder, asset, (amount, term_ms))
    }

    pub(crate) fn renew(
        &mut self,
        signer: &SigningKey,
        lease: LeaseId,
        term_ms: u64,
    ) -> TransactionOutcome {
        self.leasing(signer, LeaseOperation::Renew { lease, term_ms })
    }

    pub(crate) fn release(&mut self, signer: &SigningKey, lease: LeaseId) -> TransactionOutcome {
        self.leasing(signer, LeaseOperation::Release { lease })
    }

    /// So much of an asset is leased as of the last block.
    pub(crate) fn leased(&self, asset: &AssetId) -> Amount {
        let leases = self.view().leases_of(asset).unwrap();
        leases.leased(self.now_ms())
    }
}

/// A host with 100 bytes for everybody, and a holder.
fn two() -> (Fabric, SigningKey, SigningKey, AssetId) {
    let mut fabric = Fabric::new();
    let (host, holder) = (fabric.member(50), fabric.member(51));
    let policy = shared_as(Privacy::PublicNetwork);
    let asset = fabric
        .register(&host, public(&host), &memory(100), policy)
        .unwrap();
    (fabric, host, holder, asset)
}

#[test]
fn a_lease_holds_until_its_time_and_not_at_it() {
    let (mut fabric, host, holder, asset) = two();
    let lease = fabric.lease(&holder, asset, 100, MINUTE_MS).unwrap();
    let record = fabric.view().lease(&lease).unwrap().unwrap();
    assert_eq!((record.asset, record.holder), (asset, public(&holder)));
    assert_eq!(record.expires_ms, fabric.now_ms() + MINUTE_MS);
    assert_eq!(fabric.leased(&asset), Amount(100));
    // The block of the next try is one millisecond before the end.
    fabric.clock_ms += MINUTE_MS - 2;
    let (amount, free) = (Amount(1), Amount(0));
    let none_left = refused_asset(AssetRefusal::Free {
        asset,
        amount,
        free,
    });
    assert_eq!(fabric.lease(&host, asset, 1, MINUTE_MS), Err(none_left));
    fabric.lease(&host, asset, 100, MINUTE_MS).unwrap();
    assert_eq!(fabric.leased(&asset), Amount(100));
    assert_eq!(fabric.entries("lease/"), 1, "what ended is forgotten");
    let expires_ms = record.expires_ms;
    let over = refused_asset(AssetRefusal::UnknownLease(lease));
    assert_eq!(fabric.renew(&holder, lease, MINUTE_MS), over);
    // Nobody asks for the asset after the second one ends: its record is there, and over.
    let second = fabric.view().leases_of(&asset).unwrap().leases[0].lease;
    fabric.clock_ms += MINUTE_MS;
    assert_eq!(
        fabric.view().lease(&second).unwrap().map(|it| it.amount),
        None
    );
    let ended = fabric.renew(&host, second, MINUTE_MS);
    let TransactionOutcome::Refused(Refusal::Asset(AssetRefusal::Over { lease, .. })) = ended
    else {
        panic!("{ended:?} after {expires_ms}");
    };
    assert_eq!(lease, second);
}

#[test]
fn what_is_given_back_is_free_at_once() {
    let (mut fabric, host, holder, asset) = two();
    let one = fabric.lease(&holder, asset, 60, MINUTE_MS).unwrap();
    let two = fabric.lease(&holder, asset, 40, MINUTE_MS).unwrap();
    let stolen = AssetRefusal::NotHolder {
        lease: one,
        holder: public(&holder),
    };
    assert_eq!(
        fabric.release(&host, one),
        refused_asset(stolen),
        "nor by the owner"
    );
    assert_eq!(fabric.release(&holder, one), APPLIED);
    assert_eq!(fabric.leased(&asset), Amount(40));
    let again = refused_asset(AssetRefusal::UnknownLease(one));
    assert_eq!(fabric.release(&holder, one), again);
    assert_eq!(fabric.release(&holder, two), APPLIED);
    for prefix in ["lease/", "asset-leases/", "holder-leases/"] {
        assert_eq!(fabric.entries(prefix), 0, "{prefix}");
    }
}

#[test]
fn a_renewal_makes_a_lease_longer_and_nothing_else() {
    let (mut fabric, host, holder, asset) = two();
    let lease = fabric.lease(&holder, asset, 60, 2 * MINUTE_MS).unwrap();
    let expires_ms = fabric.now_ms() + 2 * MINUTE_MS;
    let shorter = AssetRefusal::NotLonger { lease, expires_ms };
    assert_eq!(
        fabric.renew(&holder, lease, MINUTE_MS),
        refused_asset(shorter)
    );
    let other = fabric.member(52);
    let owner = public(&host);
    let strange = refused_asset(AssetRefusal::NotOwner { asset, owner });
    assert_eq!(fabric.renew(&other, lease, 3 * MINUTE_MS), strange);
    assert_eq!(fabric.renew(&holder, lease, 3 * MINUTE_MS), APPLIED);
    let record = fabric.view().lease(&lease).unwrap().unwrap();
    assert_eq!(record.expires_ms, fabric.now_ms() + 3 * MINUTE_MS);
    assert_eq!(fabric.leased(&asset), Amount(60));
    assert_eq!(
        fabric.renew(&host, lease, 4 * MINUTE_MS),
        APPLIED,
        "by the owner"
    );
    let day = AssetPolicy::private().term_ms_max;
    let long = AssetRefusal::Term {
        asset,
        term_ms: day + 1,
        max_ms: day,
    };
    assert_eq!(fabric.renew(&holder, lease, day + 1), refused_asset(long));
    fabric.clock_ms += 3 * MINUTE_MS;
    assert_eq!(fabric.renew(&holder, lease, 2 * MINUTE_MS), APPLIED);
    assert_eq!(fabric.leased(&asset), Amount(60));
}

#[test]
fn each_bound_of_a_grant_is_told() {
    let (mut fabric, host, holder, asset) = two();
    let free = |amount, free| {
        let (amount, free) = (Amount(amount), Amount(free));
        Err(refused_asset(AssetRefusal::Free {
            asset,
            amount,
            free,
        }))
    };
    assert_eq!(fabric.lease(&holder, asset, 0, MINUTE_MS), free(0, 100));
    assert_eq!(fabric.lease(&holder, asset, 101, MINUTE_MS), free(101, 100));
    assert_eq!(
        fabric.lease(&holder, asset, u64::MAX, MINUTE_MS),
        free(u64::MAX, 100)
    );
    let max_ms = AssetPolicy::private().term_ms_max;
    for term_ms in [0, 999, max_ms + 1, u64::MAX] {
        let term = refused_asset(AssetRefusal::Term {
            asset,
            term_ms,
            max_ms,
        });
        assert_eq!(fabric.lease(&holder, asset, 1, term_ms), Err(term));
    }
    let none = AssetId::from_parts(asset.asset_type(), Digest::of(b"none"));
    let unknown = refused_asset(AssetRefusal::UnknownAsset(none));
    assert_eq!(fabric.lease(&holder, none, 1, MINUTE_MS), Err(unknown));
    let policy = AssetPolicy {
        concurrency: 2,
        ..shared_as(Privacy::PublicNetwork)
    };
    assert_eq!(
        fabric.asset(&host, AssetOperation::Update { asset, policy }),
        APPLIED
    );
    fabric.lease(&holder, asset, 1, MINUTE_MS).unwrap();
    fabric.lease(&holder, asset, 1, MINUTE_MS).unwrap();
    let crowded = refused_asset(AssetRefusal::Concurrency { asset, max: 2 });
    assert_eq!(fabric.lease(&holder, asset, 1, MINUTE_MS), Err(crowded));
    assert_eq!(
        fabric.asset(&host, AssetOperation::Drain { asset }),
        APPLIED
    );
    let drained = refused_asset(AssetRefusal::Drained(asset));
    assert_eq!(
        fabric.lease(&host, asset, 1, MINUTE_MS),
        Err(drained.clone())
    );
    let held = fabric.view().leases_held(&public(&holder)).unwrap()[0].0;
    assert_eq!(fabric.renew(&holder, held, 2 * MINUTE_MS), drained);
    let leased = AssetRefusal::Leased { asset, leases: 2 };
    let retire = || AssetOperation::Retire { asset };
    assert_eq!(fabric.asset(&host, retire()), refused_asset(leased));
    fabric.clock_ms += MINUTE_MS;
    assert_eq!(
        fabric.asset(&host, retire()),
        APPLIED,
        "drained until all of it ended"
    );
}

#[test]
fn terms_keep_the_promises_that_were_made() {
    let (mut fabric, host, holder, asset) = two();
    for _ in 0..2 {
        fabric.lease(&holder, asset, 40, MINUTE_MS).unwrap();
    }
    let with = |share_percent, concurrency| AssetOperation::Update {
        asset,
        policy: AssetPolicy {
            share_percent,
            concurrency,
            ..AssetPolicy::private()
        },
    };
    let (leased, shared) = (Amount(80), Amount(79));
    let share = AssetRefusal::Share {
        asset,
        leased,
        shared,
    };
    assert_eq!(fabric.asset(&host, with(79, 2)), refused_asset(share));
    let crowd = AssetRefusal::Leased { asset, leases: 2 };
    assert_eq!(fabric.asset(&host, with(80, 1)), refused_asset(crowd));
    assert_eq!(fabric.asset(&host, with(80, 2)), APPLIED);
    // It is private now: what was leased stays so, and is not renewed.
    assert_eq!(fabric.leased(&asset), Amount(80));
    let lease = fabric.view().leases_held(&public(&holder)).unwrap()[0].0;
    let private = AssetRefusal::Privacy {
        asset,
        privacy: Privacy::Private,
        holder: public(&holder),
    };
    assert_eq!(
        fabric.renew(&holder, lease, 2 * MINUTE_MS),
        refused_asset(private)
    );
}

#[test]
fn what_shrank_is_leased_no_more_until_it_fits() {
    let (mut fabric, host, holder, asset) = two();
    let one = fabric.lease(&holder, asset, 60, MINUTE_MS).unwrap();
    let two = fabric.lease(&holder, asset, 40, MINUTE_MS).unwrap();
    let measure = |bytes| AssetOperation::Remeasure {
        asset,
        facts: memory(bytes),
    };
    assert_eq!(fabric.asset(&host, measure(50)), APPLIED);
    let free = |amount, free| {
        let (amount, free) = (Amount(amount), Amount(free));
        Err(refused_asset(AssetRefusal::Free {
            asset,
            amount,
            free,
        }))
    };
    assert_eq!(fabric.lease(&holder, asset, 1, MINUTE_MS), free(1, 0));
    let (leased, shared) = (Amount(100), Amount(50));
    let share = refused_asset(AssetRefusal::Share {
        asset,
        leased,
        shared,
    });
    assert_eq!(fabric.renew(&holder, two, 2 * MINUTE_MS), share);
    let policy = shared_as(Privacy::FullPublic);
    let renamed = fabric.asset(&host, AssetOperation::Update { asset, policy });
    assert_eq!(
        renamed, APPLIED,
        "its owner still shares as much as there is"
    );
    assert_eq!(fabric.release(&holder, one), APPLIED);
    assert_eq!(fabric.renew(&holder, two, 2 * MINUTE_MS), APPLIED);
    assert_eq!(fabric.lease(&holder, asset, 11, MINUTE_MS), free(11, 10));
    fabric.lease(&holder, asset, 10, MINUTE_MS).unwrap();
}

#[test]
fn what_an_evicted_holder_had_is_free_at_once() {
    let (mut fabric, host, holder, asset) = two();
    fabric.lease(&holder, asset, 30, MINUTE_MS).unwrap();
    fabric.lease(&holder, asset, 50, MINUTE_MS).unwrap();
    fabric.lease(&host, asset, 20, MINUTE_MS).unwrap();
    assert_eq!(fabric.evict(public(&holder)), APPLIED);
    assert_eq!(fabric.leased(&asset), Amount(20));
    assert_eq!(fabric.entries("lease/"), 1);
    fabric.lease(&host, asset, 80, MINUTE_MS).unwrap();
}

#[test]
fn a_holder_has_so_many_leases_and_those_that_went_do_not_count() {
    let mut fabric = Fabric::new();
    let (host, gone, holder) = (fabric.member(50), fabric.member(51), fabric.member(52));
    let policy = AssetPolicy {
        concurrency: 1_024,
        ..shared_as(Privacy::PublicNetwork)
    };
    let kept = fabric.register(&host, public(&host), &memory(5_000), policy.clone());
    let lost = fabric
        .register(&gone, public(&gone), &memory(5_000), policy)
        .unwrap();
    let kept = kept.unwrap();
    fabric.lease(&holder, lost, 1, MINUTE_MS * 60).unwrap();
    for _ in 1..LEASES_PER_HOLDER_MAX {
        // The rate of one signer is bounded, too.
        fabric.clock_ms += 10;
        fabric.lease(&holder, kept, 1, MINUTE_MS * 60).unwrap();
    }
    let many = fabric.lease(&holder, kept, 1, MINUTE_MS);
    let what = "leases of one holder".to_owned();
    assert_eq!(many, Err(refused(Refusal::TooMany { what, max: 1_024 })));
    assert_eq!(fabric.evict(public(&gone)), APPLIED);
    fabric.lease(&holder, kept, 1, MINUTE_MS).unwrap();
}

#[test]
fn the_bytes_of_operations_are_pinned() {
    let asset = AssetId::from_parts(AssetType::Storage, Digest::from_bytes([1; 32]));
    let lease = LeaseId::from_digest(Digest::from_bytes([2; 32]));
    let policy = AssetPolicy {
        privacy: Privacy::PrivateNetwork,
        share_percent: 50,
        concurrency: 300,
        term_ms_max: 60_000,
        peers: BTreeSet::from([PublicKey::from_bytes([3; 32])]),
        labels: BTreeMap::from([(name("site"), FactText::new("lab 2").unwrap())]),
        bond: 7,
    };
    let owner = PublicKey::from_bytes([4; 32]);
    let root = Digest::from_bytes([5; 32]);
    let of_assets = [
        AssetOperation::Register {
            facts: memory(1 << 30),
            owner,
            policy: policy.clone(),
        },
        AssetOperation::Remeasure {
            asset,
            facts: memory(9),
        },
        AssetOperation::Update { asset, policy },
        AssetOperation::Transfer { asset, owner },
        AssetOperation::Drain { asset },
        AssetOperation::Resume { asset },
        AssetOperation::Retire { asset },
        AssetOperation::Keep {
            asset,
            content: KeptContent { root, bytes: 300 },
        },
        AssetOperation::Forget { asset, root },
    ];
    let of_leases = [
        LeaseOperation::Grant {
            asset,
            holder: owner,
            amount: Amount(1_000),
            term_ms: 60_000,
        },
        LeaseOperation::Renew { lease, term_ms: 1 },
        LeaseOperation::Release { lease },
    ];
    let proofs = || Box::new(Proofs::default());
    let of_assets = of_assets.map(|operation| {
        let proofs = proofs();
        Operation::Asset(Proven { operation, proofs })
    });
    let of_leases = of_leases.map(|operation| {
        let proofs = proofs();
        Operation::Lease(Proven { operation, proofs })
    });
    let of_space = [
        Operation::Space(SpaceOperation::Challenge { asset }),
        Operation::Space(SpaceOperation::Settle { asset }),
    ];
    let operations = [&of_assets[..], &of_leases, &of_space].concat();
    let bytes = postcard::to_allocvec(&operations).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_OPERATIONS);
}

#[test]
fn the_bytes_of_records_are_pinned() {
    let (mut fabric, host, holder, asset) = two();
    fabric.lease(&holder, asset, 7, MINUTE_MS).unwrap();
    fabric.lease(&host, asset, 8, MINUTE_MS).unwrap();
    let ours = ["asset", "lease", "holder-leases", "node-assets"];
    let entries = fabric.state.iter();
    let entries = entries.filter(|(key, _)| {
        ours.iter()
            .any(|kind| key.as_bytes().starts_with(kind.as_bytes()))
    });
    let bytes: Vec<u8> = entries
        .flat_map(|(key, value)| [key.as_bytes(), value].concat())
        .collect();
    assert_eq!(Digest::of(&bytes).to_string(), PINNED_RECORDS);
}

const PINNED_OPERATIONS: &str =
    "blake3:2e95cb9fa9eac3b6307d23e7a3a59753488196308165d29224d7b68b64f78d85";
const PINNED_RECORDS: &str =
    "blake3:3df5b1c95966599c7ba2b8203c2cf7f7313061646b7fd53162c766e536ec1055";
