//! Slices: any range of any artifact comes out checked, and only what belongs to it goes in.

use std::fs;

use hypermesh_storage::{
    BadSliceError, GROUP_BYTES, GroupSet, ReadSliceError, SLICE_BYTES_MAX, SLICE_GROUPS_MAX,
    SizeProof, group_count, slices_of,
};
use proptest::prelude::*;
use types::Digest;

use crate::{content, last_group, proof, slice, store};

/// Sizes around the edges of groups and of slices.
fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..3_usize,
        (0..40_usize, 0..3_usize).prop_map(|(groups, more)| groups * 16_384 + more),
        (1..40_usize).prop_map(|groups| groups * 16_384 - 1),
        0..600_000_usize,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_come_out_as_they_went_in(bytes in sizes(), from in any::<u64>(), length in 0..200_000_u64) {
        let (_folder, store) = store();
        let content = content(bytes);
        let digest = store.store(&content).unwrap();
        let mut reader = store.reader(&digest).unwrap();
        let size = bytes as u64;
        prop_assert_eq!((reader.bytes(), reader.groups()), (size, group_count(size)));
        let from = from % (size + 10);
        let mut found = Vec::new();
        reader.read(&(from..from + length), &mut found).unwrap();
        let end = (from + length).min(size) as usize;
        let expected = content.get(from as usize..end).unwrap_or_default();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn slices_in_any_order_make_the_artifact(bytes in sizes(), seed in any::<u64>()) {
        let (_from, source) = store();
        let (folder, target) = store();
        let content = content(bytes);
        let digest = source.store(&content).unwrap();
        let partial = target.fill(&proof(&source, &digest)).unwrap();
        let mut slices: Vec<_> = slices_of(0..group_count(bytes as u64)).collect();
        slices.sort_by_key(|groups| blake3::hash(&[groups.start.to_le_bytes(), seed.to_le_bytes()].concat()).to_hex());
        for groups in slices {
            prop_assert!(target.size(&digest).is_none());
            partial.write_slice(&groups, &slice(&source, &digest, &groups)).unwrap();
            let (held, missing) = (partial.held(), partial.missing());
            prop_assert_eq!(held.count() + missing.count(), group_count(bytes as u64));
        }
        partial.finish().unwrap();
        partial.finish().unwrap();
        prop_assert_eq!(target.read(&digest).unwrap(), content);
        let left = fs::read_dir(folder.path()).unwrap().count();
        prop_assert!(left <= 2, "the artifact and its hash pairs");
        drop(partial);
        // The pairs that came with the slices serve the next peer.
        for groups in slices_of(0..group_count(bytes as u64)) {
            prop_assert_eq!(slice(&target, &digest, &groups), slice(&source, &digest, &groups));
        }
    }

    #[test]
    fn a_changed_slice_is_refused_and_leaves_nothing(bytes in 1..300_000_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<bool>()) {
        let (_from, source) = store();
        let (_to, target) = store();
        let digest = source.store(&content(bytes)).unwrap();
        let partial = target.fill(&proof(&source, &digest)).unwrap();
        let groups = 0..group_count(bytes as u64).min(SLICE_GROUPS_MAX);
        let mut encoded = slice(&source, &digest, &groups);
        prop_assert!(encoded.len() <= SLICE_BYTES_MAX);
        let at = at.index(encoded.len());
        if cut {
            encoded.truncate(at);
        } else {
            encoded[at] ^= 1 << bit;
        }
        let before = partial.held();
        prop_assert!(partial.write_slice(&groups, &encoded).is_err());
        prop_assert_eq!(partial.held(), before);
    }

    #[test]
    fn a_size_that_is_not_the_artifacts_cannot_be_proven(bytes in 0..300_000_u64, claimed in 0..300_000_u64) {
        let (_from, source) = store();
        let digest = source.store(&content(bytes as usize)).unwrap();
        let claims = [claimed, bytes + 1, bytes.saturating_sub(1), bytes + GROUP_BYTES, bytes * 2, u64::MAX];
        for claimed in claims.into_iter().filter(|claimed| *claimed != bytes) {
            for shown in slices_of(0..group_count(bytes)).chain([last_group(bytes)]) {
                let encoded = slice(&source, &digest, &shown);
                prop_assert!(SizeProof::verify(digest, claimed, &encoded).is_err(), "{claimed}");
            }
        }
    }

    #[test]
    fn garbage_is_no_slice(bytes in any::<u64>(), from in any::<u64>(), count in 0..20_u64, garbage in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let (_from, source) = store();
        let (_to, target) = store();
        let digest = source.store(&content(100_000)).unwrap();
        prop_assert!(SizeProof::verify(Digest::of(b"?"), bytes, &garbage).is_err());
        let partial = target.fill(&proof(&source, &digest)).unwrap();
        for from in [from, from % 8] {
            prop_assert!(partial.write_slice(&(from..from.saturating_add(count)), &garbage).is_err());
        }
    }
}

#[test]
fn a_slice_is_a_few_groups_that_exist() {
    let (_folder, store) = store();
    let digest = store.store(&content(20 * 16_384)).unwrap();
    let mut reader = store.reader(&digest).unwrap();
    assert_eq!(reader.held(), GroupSet::from(0..20));
    for groups in [0..0, 5..5, 0..17, 19..21, 20..21, u64::MAX - 1..u64::MAX] {
        let error = reader.slice(&groups, &mut Vec::new()).unwrap_err();
        assert!(
            matches!(error, ReadSliceError::Range { total: 20, .. }),
            "{error}"
        );
    }
    let extra = [slice(&store, &digest, &(0..16)), vec![0]].concat();
    let (_to, target) = crate::store();
    let partial = target.fill(&proof(&store, &digest)).unwrap();
    let error = partial.write_slice(&(0..16), &extra).unwrap_err();
    let length = hypermesh_storage::WriteSliceError::Bad(BadSliceError::Length {
        digest,
        groups: 0..16,
        found: extra.len(),
    });
    assert_eq!(error.to_string(), length.to_string());
}

#[test]
fn damaged_hash_pairs_are_made_again_and_damaged_content_is_named() {
    let (folder, store) = store();
    let digest = store.store(&content(100_000)).unwrap();
    let first = slice(&store, &digest, &(0..2));
    let pairs = folder.path().join(format!("{}.bao", digest.hex()));
    let intact = fs::read(&pairs).unwrap();
    for damaged in [vec![7; intact.len()], vec![], intact[..100].to_vec()] {
        fs::write(&pairs, damaged).unwrap();
        assert_eq!(slice(&store, &digest, &(0..2)), first);
        assert_eq!(fs::read(&pairs).unwrap(), intact);
    }
    let mut changed = content(100_000);
    changed[50_000] ^= 1;
    for damaged in [changed, content(99_999), content(30_000)] {
        fs::write(store.path(&digest), &damaged).unwrap();
        let mut reader = store.reader(&digest).unwrap();
        let (groups, mut encoded) = (0..reader.groups(), Vec::new());
        let error = reader.slice(&groups, &mut encoded).unwrap_err();
        assert!(matches!(error, ReadSliceError::Damaged { .. }), "{error}");
        assert!(encoded.is_empty());
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "no unfinished file stays"
    );
}
