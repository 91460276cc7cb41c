//! Kills: a partial artifact goes on where it was, and is whole or partial, nothing between.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hypermesh_storage::{Artifacts, FillArtifactError, group_count};
use types::Digest;

use crate::{content, copy, proof};

/// Set for the process that is killed; names its folder.
const VICTIM: &str = "HYPERMESH_ARTIFACTS_VICTIM";
const BYTES: usize = 3_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn source(folder: &Path) -> (Artifacts, Digest) {
    let source = Artifacts::open(&folder.join("source")).unwrap();
    let digest = source.store(&content(BYTES)).unwrap();
    (source, digest)
}

fn target(folder: &Path) -> Artifacts {
    Artifacts::open(&folder.join("target")).unwrap()
}

/// Not a test by itself: the process that `a_kill_loses_no_progress` starts again and again. It
/// writes one group at a time, begun anew where the last one was killed, and ends when all is there.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM) else {
        return;
    };
    let folder = Path::new(&folder);
    let (source, digest) = source(folder);
    let target = target(folder);
    let partial = match target.resume(&digest) {
        Err(FillArtifactError::Whole(_)) => return,
        other => other.unwrap(),
    };
    let partial = partial.unwrap_or_else(|| target.fill(&proof(&source, &digest)).unwrap());
    for group in partial.missing().ranges().iter().cloned().flatten() {
        std::thread::sleep(Duration::from_millis(1));
        copy(&source, &partial, group..group + 1);
    }
    partial.finish().unwrap();
}

#[test]
fn a_kill_loses_no_progress() {
    let folder = tempfile::tempdir().unwrap();
    let (_source, digest) = source(folder.path());
    let begun = Instant::now();
    let (mut held, mut kills) = (0, 0);
    loop {
        assert!(
            begun.elapsed() < PATIENCE,
            "{held} groups after {kills} kills"
        );
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::victim"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(40 + 7 * kills));
        let ended = victim.try_wait().unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert!(ended.is_none_or(|status| status.success()));
        kills += 1;
        let target = target(folder.path());
        match target.resume(&digest) {
            Err(FillArtifactError::Whole(_)) => {
                assert_eq!(target.read(&digest).unwrap(), content(BYTES));
                break;
            }
            partial => {
                let now = partial.unwrap().map_or(0, |partial| partial.held().count());
                assert!(now >= held, "{now} groups were {held}");
                held = now;
                if now == group_count(BYTES as u64) {
                    continue;
                }
            }
        }
    }
    assert!(kills > 1);
}
