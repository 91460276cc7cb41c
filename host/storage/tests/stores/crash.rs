//! Kills: what was acknowledged is there afterwards, what was unfinished is not.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hypermesh_storage::Stores;

use crate::blobs::write;
use crate::stores;

/// Set for the process that is killed; names its folder.
const VICTIM: &str = "HYPERMESH_STORES_VICTIM";
/// The acknowledged numbers that the victim is left to reach.
const ACKNOWLEDGED: usize = 30;
const PATIENCE: Duration = Duration::from_secs(60);

/// Not a test by itself: the process that `acknowledged_writes_survive_a_kill` starts.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM) else {
        return;
    };
    let folder = Path::new(&folder);
    let stores = Stores::open(&folder.join("stores")).unwrap();
    let mut told = OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("told"))
        .unwrap();
    stores.blobs().create_container("w", "c", u64::MAX).unwrap();
    for number in 0_u64.. {
        let text = number.to_string();
        stores
            .keyvalues()
            .set("w", "b", &text, text.clone().into_bytes(), u64::MAX)
            .unwrap();
        stores
            .keyvalues()
            .increment("w", "b", "sum", (1, 0..=i128::MAX), u64::MAX)
            .unwrap();
        write(stores.blobs(), ("c", &text), text.as_bytes(), u64::MAX).unwrap();
        write(stores.blobs(), ("c", "last"), text.as_bytes(), u64::MAX).unwrap();
        writeln!(told, "{text}").unwrap();
    }
}

fn acknowledged(folder: &Path) -> usize {
    fs::read_to_string(folder.join("told")).map_or(0, |text| text.matches('\n').count())
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::victim"])
        .env(VICTIM, folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while acknowledged(folder.path()) < ACKNOWLEDGED {
        assert!(begun.elapsed() < PATIENCE && victim.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    let told = acknowledged(folder.path());
    let stores = Stores::open(&folder.path().join("stores")).unwrap();
    let (mut keys, mut bytes) = (0, 0);
    for number in 0..=told {
        let text = number.to_string();
        let found = stores.keyvalues().get("w", "b", &text).unwrap();
        // One more may have become durable without having been acknowledged.
        assert!(found.is_some() || number == told);
        if let Some(found) = found {
            assert_eq!(found, text.as_bytes());
            keys += 1;
            bytes += 2 * text.len() as u64;
        }
        let object = stores.blobs().object("w", "c", &text).unwrap();
        assert!(object.is_some() || number == told);
    }
    let sum = stores.keyvalues().get("w", "b", "sum").unwrap().unwrap();
    let total: usize = String::from_utf8(sum.clone()).unwrap().parse().unwrap();
    assert!(
        total == told || total == told + 1 && keys == total,
        "{total} {told} {keys}"
    );
    let used = stores.keyvalues().used_bytes("w").unwrap();
    assert_eq!(used, bytes + ("sum".len() + sum.len()) as u64);
    let mut last = stores
        .blobs()
        .read("w", ("c", "last"), (0, u64::MAX))
        .unwrap();
    let last: usize = String::from_utf8(last.read(100).unwrap())
        .unwrap()
        .parse()
        .unwrap();
    assert!(last + 1 == told || last == told, "{last} {told}");
    let objects = stores.blobs().objects("w", "c", None).unwrap().keys.len();
    let files = fs::read_dir(folder.path().join("stores/blobs"))
        .unwrap()
        .count();
    assert_eq!(files, objects);
}

#[test]
fn files_that_no_row_names_are_swept_and_others_are_left_alone() {
    let (folder, stores) = stores();
    stores.blobs().create_container("w", "c", u64::MAX).unwrap();
    write(stores.blobs(), ("c", "o"), b"kept", u64::MAX).unwrap();
    let torn = stores.blobs().write("w", u64::MAX).unwrap();
    std::mem::forget(torn);
    drop(stores);
    let blobs = folder.path().join("blobs");
    // Renamed, but killed before its row was written; and something that is not ours.
    fs::write(blobs.join("77"), b"orphan").unwrap();
    fs::write(blobs.join("notes.txt"), b"a person's").unwrap();
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 4);
    // The forgotten writer holds the old store open: another process would not.
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("blobs")).unwrap();
    fs::copy(
        folder.path().join("tables.redb"),
        copy.path().join("tables.redb"),
    )
    .unwrap();
    for entry in fs::read_dir(&blobs).unwrap() {
        let entry = entry.unwrap();
        fs::copy(
            entry.path(),
            copy.path().join("blobs").join(entry.file_name()),
        )
        .unwrap();
    }
    let stores = Stores::open(copy.path()).unwrap();
    assert_eq!(fs::read_dir(copy.path().join("blobs")).unwrap().count(), 2);
    let mut kept = stores.blobs().read("w", ("c", "o"), (0, u64::MAX)).unwrap();
    assert_eq!(kept.read(100).unwrap(), b"kept");
}

#[test]
fn one_process_has_the_stores() {
    let (folder, stores) = stores();
    let error = Stores::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tables.redb"), "{error}");
    drop(stores);
    Stores::open(folder.path()).unwrap();
}
