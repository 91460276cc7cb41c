//! When regions begin and end, what they take, and what each access is refused.

use std::sync::Arc;

use hypermesh_assets::{
    OpenTenantError, REVOKED_MAX, RegionAccess, RegionDone, RegionError, RegionOp, RegionUsage,
    Regions,
};
use proptest::prelude::*;
use types::{Amount, Digest, RegionRight, RegionRights};

use crate::{T, lease, region, seconds, whole};

const READ: RegionOp = RegionOp::Read {
    offset: 0,
    bytes: 4,
};

fn write(text: &str) -> RegionOp {
    RegionOp::Write {
        offset: 0,
        bytes: text.as_bytes().to_vec(),
    }
}

fn usage(access: &RegionAccess) -> RegionUsage {
    match access.apply(RegionOp::Usage, 0) {
        Ok(RegionDone::Usage(usage)) => usage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_is_taken_when_it_is_written_and_not_before() {
    let regions = Regions::default();
    let access = region(&regions, 1, 1 << 40);
    assert_eq!(usage(&access).resident_bytes, 0);
    assert_eq!(access.apply(READ, 0), Ok(RegionDone::Read(vec![0; 4])));
    assert_eq!(usage(&access).resident_bytes, 0);
    let far = RegionOp::Write {
        offset: (1 << 40) - 1,
        bytes: vec![1],
    };
    assert_eq!(access.apply(far, 0), Ok(RegionDone::Written));
    let usage = usage(&access);
    assert_eq!((usage.bytes, usage.resident_bytes), (1 << 40, 64 << 10));
    assert_eq!(usage.operations, 5);
    assert!(usage.left_ms > 3_500_000, "{usage:?}");
}

#[test]
fn a_region_ends_once_and_does_not_come_again_while_the_ledger_names_its_lease() {
    let regions = Regions::default();
    let access = region(&regions, 1, 64);
    access.apply(write("keep"), 0).unwrap();
    assert!(regions.end(&lease(1)));
    assert!(!regions.end(&lease(1)), "twice");
    assert_eq!(access.apply(READ, 0), Err(RegionError::Ended));
    assert_eq!((regions.bytes(), regions.count()), (Amount(0), 0));
    let again =
        |regions: &Regions| regions.open(lease(1), Amount(64), Amount(64), seconds(3_600), 0);
    assert_eq!(
        again(&regions).unwrap_err(),
        OpenTenantError::Over(lease(1))
    );
    let named = regions.follow(T + 1, 1, |_| Some(T + 3_600_000));
    assert_eq!(named, []);
    assert!(again(&regions).is_err());
    // The lease is off the ledger, so its name never stands there again.
    regions.follow(T + 2, 2, |_| None);
    assert!(again(&regions).is_ok());
}

#[test]
fn a_region_ends_when_ledger_time_or_the_clock_of_a_node_that_is_cut_off_says_so() {
    let regions = Regions::default();
    let access = region(&regions, 1, 64);
    let at = regions.next_timeout_ms().unwrap();
    assert!(at < 3_600_000, "{at}");
    assert_eq!(regions.end_over(at - 1), []);
    assert_eq!(access.apply(READ, at - 1), Ok(RegionDone::Read(vec![0; 4])));
    // By itself, before anybody looks.
    assert_eq!(access.apply(READ, at), Err(RegionError::Ended));
    assert_eq!(regions.end_over(at), [lease(1)]);
    assert_eq!(regions.end_over(at), []);
    assert_eq!(regions.next_timeout_ms(), None);

    let access = region(&regions, 2, 64);
    let late = regions.follow(T + 3_600_000, 5, |_| Some(T + 3_600_000));
    assert_eq!(late, [lease(2)]);
    assert_eq!(access.apply(READ, 5), Err(RegionError::Ended));
}

#[test]
fn a_renewal_that_the_ledger_tells_in_time_keeps_what_was_written() {
    let regions = Regions::default();
    let access = region(&regions, 1, 64);
    access.apply(write("keep"), 0).unwrap();
    let renewed = |_: &_| Some(T + 7_200_000);
    assert_eq!(regions.follow(T + 3_000_000, 3_000_000, renewed), []);
    let late = 3_600_000;
    assert_eq!(
        access.apply(READ, late),
        Ok(RegionDone::Read(b"keep".to_vec()))
    );
    // A node that was cut off beyond the end hears of another renewal too late.
    let ended = regions.follow(T + 7_300_000, 7_300_000, |_| Some(T + 9_000_000));
    assert_eq!(ended, [lease(1)]);
    // And a lease that was given back is off the ledger.
    region(&regions, 2, 64);
    assert_eq!(regions.follow(T + 1, 1, |_| None), [lease(2)]);
}

#[test]
fn an_access_does_what_its_scope_says_and_nothing_else() {
    let regions = Regions::default();
    let owner = region(&regions, 1, 64);
    owner.apply(write("keep it"), 0).unwrap();
    let mut scope = whole(64);
    (scope.from, scope.until) = (4, 8);
    scope.rights = RegionRights::from_bits(1).unwrap();
    scope.expires_ms = T + 60_000;
    let id = Digest::from_bytes([9; 32]);
    let ids: Arc<[Digest]> = Arc::new([Digest::from_bytes([1; 32]), id]);
    let access = RegionAccess::new(Arc::clone(owner.region()), scope, ids, false);
    let read = |offset, bytes| access.apply(RegionOp::Read { offset, bytes }, 0);
    assert_eq!(read(5, 2), Ok(RegionDone::Read(b"it".to_vec())));
    for (offset, bytes) in [(3, 1), (4, 5), (8, 1), (u64::MAX, 1)] {
        let refused = read(offset, bytes);
        assert!(
            matches!(refused, Err(RegionError::OutOfRange { .. })),
            "{offset}"
        );
    }
    let right = RegionRight::Write;
    assert_eq!(
        access.apply(write("x"), 0),
        Err(RegionError::NotAllowed { right })
    );
    let swap = RegionOp::Swap {
        offset: 4,
        expected: vec![0],
        new: vec![1],
    };
    let right = RegionRight::Swap;
    assert_eq!(
        access.apply(swap, 0),
        Err(RegionError::NotAllowed { right })
    );
    let revoke =
        |access: &RegionAccess, capability| access.apply(RegionOp::Revoke { capability }, 0);
    assert_eq!(revoke(&access, id), Err(RegionError::NotOwner));
    // Its time ends by the latest that ledger time can be.
    let read = RegionOp::Read {
        offset: 4,
        bytes: 1,
    };
    assert!(access.apply(read.clone(), 57_900).is_ok());
    assert_eq!(
        access.apply(read.clone(), 58_000),
        Err(RegionError::Expired)
    );
    assert_eq!(revoke(&owner, id), Ok(RegionDone::Revoked));
    assert_eq!(access.apply(read, 0), Err(RegionError::Revoked));
    assert!(owner.apply(READ, 0).is_ok());
    let own = Digest::from_bytes([1; 32]);
    assert_eq!(revoke(&owner, own), Err(RegionError::RevokesItself));
}

#[test]
fn revocations_are_bounded() {
    let regions = Regions::default();
    let owner = region(&regions, 1, 64);
    let revoke = |number: usize| {
        let capability = Digest::of(&number.to_le_bytes());
        owner.apply(RegionOp::Revoke { capability }, 0)
    };
    for number in 0..REVOKED_MAX {
        assert_eq!(revoke(number), Ok(RegionDone::Revoked));
    }
    assert_eq!(revoke(REVOKED_MAX), Err(RegionError::TooManyRevoked));
    assert_eq!(revoke(0), Ok(RegionDone::Revoked), "again");
}

proptest! {
    #[test]
    fn regions_never_have_more_than_their_limit_and_give_back_exactly(
        limit in 1..1_000_u64,
        steps in proptest::collection::vec((0..20_u8, 1..400_u64, any::<bool>()), 1..60),
    ) {
        let regions = Regions::default();
        let mut model = std::collections::BTreeMap::new();
        for (number, bytes, ends) in steps {
            if ends {
                let ended = regions.end(&lease(number));
                prop_assert_eq!(ended, model.remove(&number).is_some());
                // Off the ledger as well.
                let kept = model.clone();
                regions.follow(T, 0, |lease_of| {
                    let kept = kept.keys().any(|number| lease(*number) == *lease_of);
                    kept.then_some(T + 3_600_000)
                });
            } else {
                let sum: u64 = model.values().sum();
                let opened = regions.open(
                    lease(number), Amount(bytes), Amount(limit), seconds(3_600), 0,
                );
                let free = limit - sum;
                if bytes <= free || model.contains_key(&number) {
                    prop_assert!(opened.is_ok());
                    model.entry(number).or_insert(bytes);
                } else {
                    let refused = OpenTenantError::Exhausted { bytes, free };
                    prop_assert_eq!(opened.unwrap_err(), refused);
                }
            }
            prop_assert_eq!(regions.bytes().0, model.values().sum::<u64>());
        }
    }
}
