//! Partial artifacts: several sources at once, going on later, and what damage does to them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use hypermesh_storage::{
    Artifacts, FillArtifactError, FinishPartialError, GroupSet, ReadArtifactError, ReadSliceError,
};

use crate::{content, copy, proof, slice, store};

/// 40 groups, the last one short.
const BYTES: usize = 39 * 16_384 + 5;

#[test]
fn four_sources_fill_one_artifact_while_it_is_read() {
    let (_from, source) = store();
    let (_to, target) = store();
    let digest = source.store(&content(BYTES)).unwrap();
    let partial = target.fill(&proof(&source, &digest)).unwrap();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (source, target) = (&source, &target);
            scope.spawn(move || {
                let partial = target.fill(&proof(source, &digest)).unwrap();
                // They overlap: what two bring is the same.
                for group in (part * 9)..(part * 9 + 13).min(40) {
                    copy(source, &partial, group..group + 1);
                    let shown = slice(target, &digest, &(group..group + 1));
                    assert_eq!(shown, slice(source, &digest, &(group..group + 1)));
                }
            });
        }
    });
    assert!(partial.missing().is_empty());
    partial.finish().unwrap();
    assert_eq!(target.read(&digest).unwrap(), content(BYTES));
    let error = target.fill(&proof(&source, &digest)).unwrap_err();
    assert!(matches!(error, FillArtifactError::Whole(_)), "{error}");
}

#[test]
fn what_is_not_here_yet_is_not_served() {
    let (_from, source) = store();
    let (_to, target) = store();
    let digest = source.store(&content(BYTES)).unwrap();
    let partial = target.fill(&proof(&source, &digest)).unwrap();
    copy(&source, &partial, 4..8);
    let mut reader = target.reader(&digest).unwrap();
    assert_eq!(reader.held(), GroupSet::from_iter([4..8, 39..40]));
    for groups in [3..5, 7..9, 0..1] {
        let error = reader.slice(&groups, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, ReadSliceError::NotHeld { .. }), "{error}");
    }
    let error = partial.finish().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("35 groups of {digest} are missing")
    );
    assert!(
        matches!(error, FinishPartialError::Incomplete { missing, .. } if missing == partial.missing())
    );
    assert!(matches!(
        target.read(&digest),
        Err(ReadArtifactError::Absent(_))
    ));
    drop((reader, partial));
    assert!(matches!(
        target.reader(&digest),
        Err(ReadArtifactError::Absent(_))
    ));
}

#[test]
fn progress_is_there_for_the_next_process() {
    let (_from, source) = store();
    let (folder, target) = store();
    let digest = source.store(&content(BYTES)).unwrap();
    assert!(target.resume(&digest).unwrap().is_none());
    let partial = target.fill(&proof(&source, &digest)).unwrap();
    copy(&source, &partial, 0..3);
    copy(&source, &partial, 17..30);
    let held = partial.held();
    drop((partial, target));
    let target = Artifacts::open(folder.path()).unwrap();
    let partial = target.resume(&digest).unwrap().unwrap();
    assert_eq!((partial.held(), partial.bytes()), (held, BYTES as u64));
    for groups in partial.missing().ranges() {
        copy(&source, &partial, groups.clone());
    }
    partial.finish().unwrap();
    assert_eq!(target.read(&digest).unwrap(), content(BYTES));
}

/// Overwrites eight bytes of a file of a partial artifact.
fn damage(folder: &tempfile::TempDir, name: String, at: u64) {
    let path = folder.path().join(name);
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"damaged!", at).unwrap();
}

#[test]
fn a_torn_write_is_found_and_fetched_again() {
    let (_from, source) = store();
    let digest = source.store(&content(BYTES)).unwrap();
    let expected = [
        // Content of group 2; the root pair, which everything hangs from; the magic of the claims.
        (".partial", 2 * 16_384 + 100, Some(39)),
        (".bao", 0, None),
        (".groups", 0, None),
        (".groups", 8, None),
        // Content of the last group, which proves the size.
        (".partial", 39 * 16_384 - 3, None),
    ];
    for (part, at, left) in expected {
        let (folder, target) = store();
        let partial = target.fill(&proof(&source, &digest)).unwrap();
        copy(&source, &partial, 0..40);
        drop(partial);
        damage(&folder, digest.hex() + part, at);
        let target = Artifacts::open(folder.path()).unwrap();
        let partial = target.resume(&digest).unwrap();
        let found = partial.as_ref().map(|partial| partial.held().count());
        assert_eq!(found, left, "{part} {at}");
        let partial = partial.unwrap_or_else(|| target.fill(&proof(&source, &digest)).unwrap());
        for groups in partial.missing().ranges() {
            copy(&source, &partial, groups.clone());
        }
        partial.finish().unwrap();
        assert_eq!(target.read(&digest).unwrap(), content(BYTES));
    }
}

#[test]
fn damage_while_it_is_open_is_not_passed_on() {
    let (_from, source) = store();
    let (folder, target) = store();
    let digest = source.store(&content(BYTES)).unwrap();
    let partial = target.fill(&proof(&source, &digest)).unwrap();
    copy(&source, &partial, 0..4);
    damage(&folder, digest.hex() + ".partial", 16_384);
    let mut reader = target.reader(&digest).unwrap();
    let error = reader.slice(&(1..2), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ReadSliceError::Damaged { .. }), "{error}");
    // It is missing again.
    assert_eq!(partial.held(), GroupSet::from_iter([0..1, 2..4, 39..40]));
    copy(&source, &partial, 1..2);
    assert_eq!(
        slice(&target, &digest, &(1..2)),
        slice(&source, &digest, &(1..2))
    );
}

#[test]
fn files_that_are_no_artifact_are_cleared_and_others_are_left_alone() {
    let (_from, source) = store();
    let (folder, target) = store();
    let whole = target.store(&content(50_000)).unwrap();
    slice(&target, &whole, &(0..1));
    let digest = source.store(&content(BYTES)).unwrap();
    drop(target.fill(&proof(&source, &digest)).unwrap());
    let name = |part: &str| folder.path().join(digest.hex() + part);
    fs::write(folder.path().join("notes.txt"), b"a person's").unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
    drop(Artifacts::open(folder.path()).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
    fs::remove_file(name(".groups")).unwrap();
    drop(Artifacts::open(folder.path()).unwrap());
    assert!(!name(".partial").exists() && !name(".bao").exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}
