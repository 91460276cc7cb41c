//! A region against a plain array: the same operations, the same answers.

use hypermesh_assets::{RegionDone, RegionError, RegionOp, Regions};
use proptest::prelude::*;

/// Three pages and a bit.
const BYTES: u64 = (3 << 16) + 100;

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..BYTES,
        (BYTES - 10)..(BYTES + 10),
        (65_530_u64..65_545),
        Just(u64::MAX)
    ]
}

fn operation() -> impl Strategy<Value = RegionOp> {
    let few = proptest::collection::vec(0..3_u8, 0..20);
    prop_oneof![
        (offset(), 0..70_000_u32).prop_map(|(offset, bytes)| RegionOp::Read { offset, bytes }),
        (offset(), few.clone()).prop_map(|(offset, bytes)| RegionOp::Write { offset, bytes }),
        (offset(), 1..66_000_usize, any::<u8>()).prop_map(|(offset, count, byte)| {
            let bytes = vec![byte; count];
            RegionOp::Write { offset, bytes }
        }),
        (offset(), few.clone(), few).prop_map(|(offset, expected, new)| RegionOp::Swap {
            offset,
            expected,
            new
        }),
    ]
}

/// What an array does with it; none if that is refused.
fn modelled(array: &mut [u8], operation: &RegionOp) -> Option<RegionDone> {
    let range = |offset: u64, bytes: usize, most: usize| {
        let from = usize::try_from(offset).ok()?;
        let until = from.checked_add(bytes)?;
        (bytes <= most && until <= array.len()).then_some(from..until)
    };
    match operation {
        RegionOp::Read { offset, bytes } => {
            let range = range(*offset, usize::try_from(*bytes).unwrap(), 64 << 10)?;
            Some(RegionDone::Read(array[range].to_vec()))
        }
        RegionOp::Write { offset, bytes } => {
            let range = range(*offset, bytes.len(), 64 << 10)?;
            array[range].copy_from_slice(bytes);
            Some(RegionDone::Written)
        }
        RegionOp::Swap {
            offset,
            expected,
            new,
        } => {
            let range = range(*offset, expected.len(), 64)?;
            if expected.is_empty() || expected.len() != new.len() {
                return None;
            }
            let place = &mut array[range];
            if place != expected.as_slice() {
                return Some(RegionDone::Found(place.to_vec()));
            }
            place.copy_from_slice(new);
            Some(RegionDone::Swapped)
        }
        RegionOp::Usage | RegionOp::Revoke { .. } => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_region_does_what_an_array_does(
        operations in proptest::collection::vec(operation(), 1..60)
    ) {
        let regions = Regions::default();
        let access = crate::region(&regions, 1, BYTES);
        let mut array = vec![0; usize::try_from(BYTES).unwrap()];
        for operation in operations {
            let done = access.apply(operation.clone(), 1);
            match modelled(&mut array, &operation) {
                Some(expected) => prop_assert_eq!(done, Ok(expected)),
                None => {
                    let refused = matches!(
                        done,
                        Err(RegionError::OutOfRange { .. }
                            | RegionError::TooLong { .. }
                            | RegionError::SwapLengths { .. })
                    );
                    prop_assert!(refused, "{:?}", done);
                }
            }
        }
        let mut read = Vec::new();
        while (read.len() as u64) < BYTES {
            let offset = read.len() as u64;
            let bytes = u32::try_from((BYTES - offset).min(64 << 10)).unwrap();
            let Ok(RegionDone::Read(part)) = access.apply(RegionOp::Read { offset, bytes }, 1)
            else { panic!("it reads") };
            read.extend(part);
        }
        prop_assert_eq!(read, array);
    }
}
