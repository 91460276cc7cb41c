//! The quota: who goes when room is short, who stays, and what is said when nobody may go.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::{Duration, SystemTime};

use hypermesh_storage::{Artifacts, FillArtifactError, StoreArtifactError};
use tempfile::TempDir;
use types::Digest;

use crate::{content, copy, proof, slice, store};

fn bounded(bytes_max: u64) -> (TempDir, Artifacts) {
    let folder = tempfile::tempdir().unwrap();
    let store = Artifacts::open_bounded(folder.path(), bytes_max).unwrap();
    (folder, store)
}

/// Makes an artifact look as if it had been used `seconds` ago.
fn age(store: &Artifacts, digest: &Digest, seconds: u64) {
    let file = File::open(store.path(digest)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .unwrap();
}

fn is_quota(error: &StoreArtifactError) -> bool {
    matches!(error, StoreArtifactError::Storage(error) if error.quota_exceeded().is_some())
}

#[test]
fn the_least_recently_used_goes_for_what_comes() {
    let (_folder, store) = bounded(30);
    let [a, b] = [b"aaaaaaaaaa", b"bbbbbbbbbb"].map(|content| store.store(content).unwrap());
    age(&store, &a, 20);
    age(&store, &b, 10);
    store.read(&a).unwrap();
    let c = store.store(b"cccccccccccccccc").unwrap();
    let here = [a, b, c].map(|digest| store.size(&digest).is_some());
    assert_eq!((here, store.bytes()), ([true, false, true], 26));
}

#[test]
fn what_is_pinned_or_read_stays_and_the_quota_says_so() {
    let (folder, store) = bounded(30);
    let [a, b] = [b"aaaaaaaaaa", b"bbbbbbbbbb"].map(|content| store.store(content).unwrap());
    store.pin(BTreeSet::from([a]));
    let reader = store.reader(&b).unwrap();
    let error = store.store(b"ccccccccccc").unwrap_err();
    assert!(is_quota(&error), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("quota of 30 bytes has no room for 11 more: 20 are held"),
        "{text}"
    );
    assert_eq!(store.bytes(), 20, "a refused upload takes nothing");
    drop(reader);
    let error = store.store(&[0; 31]).unwrap_err();
    assert!(
        is_quota(&error) && store.size(&b).is_some(),
        "nobody goes in vain"
    );
    store.store(b"ccccccccccc").unwrap();
    assert_eq!(store.size(&b), None);
    store.pin(BTreeSet::new());
    let again = Artifacts::open_bounded(folder.path(), 30).unwrap();
    assert_eq!(again.bytes(), 21);
    again.store(&[0; 30]).unwrap();
    assert_eq!((again.size(&a), again.bytes()), (None, 30));
}

#[test]
fn a_partial_artifact_takes_its_whole_size_at_once_and_may_go_when_nobody_fills_it() {
    let (_from, source) = store();
    let (_to, target) = bounded(120_000);
    let [big, bigger] = [100_000, 120_000].map(|bytes| source.store(&content(bytes)).unwrap());
    let partial = target.fill(&proof(&source, &big)).unwrap();
    let taken = target.bytes();
    assert!((100_400..101_000).contains(&taken), "{taken}");
    copy(&source, &partial, 0..3);
    assert_eq!(target.bytes(), taken);
    let error = target.fill(&proof(&source, &bigger)).unwrap_err();
    let FillArtifactError::Storage(error) = error else {
        panic!("{error}");
    };
    assert!(error.quota_exceeded().is_some(), "{error}");
    let other = [1; 30_000];
    assert!(is_quota(&target.store(&other).unwrap_err()));
    drop(partial);
    target.store(&other).unwrap();
    assert!(target.resume(&big).unwrap().is_none());
    assert_eq!(target.bytes(), 30_000);
    let partial = target.fill(&proof(&source, &big)).unwrap();
    copy(&source, &partial, 0..7);
    partial.finish().unwrap();
    // Six pairs of hashes stay beside the content.
    assert_eq!(target.bytes(), 100_000 + 6 * 64);
}

#[test]
fn hash_pairs_count_and_go_with_their_artifact() {
    let (folder, store) = bounded(100_000);
    let digest = store.store(&content(50_000)).unwrap();
    slice(&store, &digest, &(0..1));
    assert_eq!(store.bytes(), 50_000 + 3 * 64);
    store.store(&[1; 60_000]).unwrap();
    assert_eq!(store.bytes(), 60_000);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_sweep_spares_what_is_pinned_read_or_filled() {
    let (_from, source) = store();
    let (_to, target) = store();
    let [read, pinned] = [b"read", b"pins"].map(|content| target.store(content).unwrap());
    let filled = source.store(&content(100_000)).unwrap();
    target.pin(BTreeSet::from([pinned]));
    let (reader, partial) = (
        target.reader(&read).unwrap(),
        target.fill(&proof(&source, &filled)).unwrap(),
    );
    std::thread::sleep(Duration::from_millis(5));
    let nothing = BTreeSet::new();
    assert_eq!(target.sweep(&nothing, Duration::ZERO).unwrap(), 0);
    drop((reader, partial));
    assert_eq!(target.sweep(&nothing, Duration::ZERO).unwrap(), 2);
    assert_eq!((target.size(&pinned), target.bytes()), (Some(4), 4));
}

#[test]
fn what_a_pin_is_awaited_for_stays_until_then_and_goes_as_soon_as_it_is_let_go() {
    let (_folder, store) = bounded(30);
    let hour = Duration::from_secs(3_600);
    let [a, b] = [b"aaaaaaaaaa", b"bbbbbbbbbb"].map(|content| store.store(content).unwrap());
    store.await_pin(&a, hour);
    store.await_pin(&b, Duration::ZERO);
    store.await_pin(&Digest::of(b"absent"), hour);
    let error = store.store(b"ccccccccccccccccccccc").unwrap_err();
    assert!(is_quota(&error), "{error}");
    store.store(b"cccccccccccccccccccc").unwrap();
    assert!(store.size(&a).is_some() && store.size(&b).is_none());
    store.pin(BTreeSet::from([a]));
    assert_eq!(store.bytes_pinned().unwrap(), 10);
    store.pin(BTreeSet::new());
    store.store(&[0; 30]).unwrap();
    assert_eq!((store.size(&a), store.bytes_pinned().unwrap()), (None, 0));
}

#[test]
fn an_upload_of_known_size_that_does_not_fit_costs_nobody_an_artifact() {
    let (_folder, store) = bounded(30);
    let [a, b] = [b"aaaaaaaaaa", b"bbbbbbbbbb"].map(|content| store.store(content).unwrap());
    store.pin(BTreeSet::from([a]));
    assert!(store.upload_sized(21).is_err());
    assert!(store.size(&b).is_some());
    let mut upload = store.upload_sized(20).unwrap();
    assert_eq!((store.size(&b), store.bytes()), (None, 30));
    upload.write(&[1; 12]).unwrap();
    assert!(upload.write(&[1; 9]).is_err(), "more than was announced");
    drop(upload);
    assert_eq!(store.bytes(), 10);
    let mut upload = store.upload_sized(20).unwrap();
    upload.write(b"less").unwrap();
    upload.finish(&Digest::of(b"less")).unwrap();
    assert_eq!(store.bytes(), 14, "what was not needed is given back");
}
