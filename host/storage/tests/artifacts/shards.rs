//! Shards: any ten make the artifact, nine do not, and a corrupt one is named and not used.

use std::fs;

use hypermesh_storage::{
    Artifacts, RebuildError, SHARD_PIECE_BYTES, SHARDS, SHARDS_NEEDED, ShardManifest,
};
use proptest::prelude::*;
use types::Digest;

use crate::{content, store};

const STRIPE_BYTES: usize = SHARD_PIECE_BYTES as usize * SHARDS_NEEDED;

fn rebuilt(
    store: &Artifacts,
    manifest: &ShardManifest,
    without: &[usize],
) -> Result<Vec<u8>, RebuildError> {
    let mut shards = store.shards(manifest).unwrap();
    without.iter().for_each(|index| shards.leave_out(*index));
    let mut found = Vec::new();
    let corrupt = shards.rebuild(|piece| {
        found.extend_from_slice(piece);
        Ok(())
    })?;
    assert_eq!(corrupt, [0; 0]);
    Ok(found)
}

#[test]
fn all_1001_ways_to_have_ten_of_fourteen_make_the_artifact() {
    let (_folder, store) = store();
    let content = content(5_000);
    let (_, manifest) = store.make_shards(&store.store(&content).unwrap()).unwrap();
    let mut tried = 0;
    for subset in 0_u32..1 << SHARDS {
        if subset.count_ones() as usize != SHARDS_NEEDED {
            continue;
        }
        let without: Vec<usize> = (0..SHARDS)
            .filter(|index| subset >> index & 1 == 0)
            .collect();
        assert_eq!(
            rebuilt(&store, &manifest, &without).unwrap(),
            content,
            "without {without:?}"
        );
        tried += 1;
    }
    assert_eq!(tried, 1_001);
}

#[test]
fn nine_refuse_and_say_how_many_are_missing() {
    let (_folder, store) = store();
    let (_, manifest) = store
        .make_shards(&store.store(&content(5_000)).unwrap())
        .unwrap();
    for first in 0..SHARDS - 4 {
        let without: Vec<usize> = (first..first + 5).collect();
        let error = rebuilt(&store, &manifest, &without).unwrap_err();
        assert_eq!(error.shards_short(), Some(1));
        let RebuildError::TooFew { missing, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(missing, without);
    }
    let error = rebuilt(&store, &manifest, &[0, 1, 2, 3, 4, 5, 6]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "7 of 14 shards of {} can be used, 10 are needed: 3 more; missing: [0, 1, 2, 3, 4, 5, 6], corrupt: []",
            manifest.whole
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn artifacts_of_any_size_come_back(
        bytes in prop_oneof![0..2_000_usize, 0..2_000_000_usize, (0..3_usize, 0..3_usize).prop_map(|(n, more)| n * STRIPE_BYTES + more)],
        lost in prop::sample::subsequence((0..SHARDS).collect::<Vec<_>>(), 0..=4),
    ) {
        let (_folder, store) = store();
        let content = content(bytes);
        let (_, manifest) = store.make_shards(&store.store(&content).unwrap()).unwrap();
        for shard in &manifest.shards {
            prop_assert_eq!(store.size(shard), Some(manifest.shard_bytes()));
        }
        prop_assert_eq!(rebuilt(&store, &manifest, &lost).unwrap(), content);
    }
}

#[test]
fn shards_outlive_their_artifact_and_make_it_again() {
    let (_folder, store) = store();
    let content = content(2_000_000);
    let whole = store.store(&content).unwrap();
    let (name, manifest) = store.make_shards(&whole).unwrap();
    fs::remove_file(store.path(&whole)).unwrap();
    for lost in [0, 3, 12, 13] {
        fs::remove_file(store.path(&manifest.shards[lost])).unwrap();
    }
    let manifest = ShardManifest::decode(&store.read(&name).unwrap()).unwrap();
    assert_eq!(store.rebuild(&manifest).unwrap(), [0; 0]);
    assert_eq!(store.read(&whole).unwrap(), content);
    // The lost ones come back the same.
    assert_eq!(store.make_shards(&whole).unwrap(), (name, manifest.clone()));
    assert_eq!(store.shards(&manifest).unwrap().present().len(), SHARDS);
}

#[test]
fn a_corrupt_shard_is_named_and_not_used() {
    let (_folder, store) = store();
    let content = content(2_000_000);
    let whole = store.store(&content).unwrap();
    let (_, manifest) = store.make_shards(&whole).unwrap();
    fs::remove_file(store.path(&whole)).unwrap();
    // One is damaged in its last piece only, so it is used before that is seen; one is cut short.
    let change = |index: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let path = store.path(&manifest.shards[index]);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    };
    change(2, &|bytes| *bytes.last_mut().unwrap() ^= 1);
    change(5, &|bytes| bytes.truncate(100));
    fs::remove_file(store.path(&manifest.shards[7])).unwrap();
    assert_eq!(store.rebuild(&manifest).unwrap(), [2, 5]);
    assert_eq!(store.read(&whole).unwrap(), content);
    fs::remove_file(store.path(&whole)).unwrap();
    change(11, &|bytes| bytes[0] ^= 1);
    change(12, &|bytes| bytes[70_000] ^= 1);
    let error = store.rebuild(&manifest).unwrap_err();
    assert_eq!(error.shards_short(), Some(1));
    assert!(
        matches!(&error, RebuildError::TooFew { missing, corrupt, .. } if *missing == [7] && *corrupt == [2, 5, 11, 12]),
        "{error}"
    );
    assert_eq!(store.size(&whole), None);
}

#[test]
fn a_manifest_that_mixes_artifacts_up_is_found_out() {
    let (_folder, store) = store();
    let [one, other] = [b"one", b"two"].map(|content| store.store(content).unwrap());
    let (_, mut manifest) = store.make_shards(&one).unwrap();
    let (_, others) = store.make_shards(&other).unwrap();
    manifest.shards = others.shards;
    let error = store.rebuild(&manifest).unwrap_err();
    assert!(
        matches!(error, RebuildError::Manifest { found, .. } if found == other),
        "{error}"
    );
    manifest.whole = Digest::of(b"nothing");
    manifest.bytes = u64::MAX;
    assert!(matches!(
        store.rebuild(&manifest),
        Err(RebuildError::TooFew { .. })
    ));
}
