//! Whether files of a project changed: a look at their times, repeated. Starts nothing itself.
//!
//! Looking again costs a few system calls per file and works on every file system; projects are
//! small, and the bound below keeps it so.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Pause between two looks: a tenth of what a developer notices.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Most files that are watched; what comes after them is not.
const FILES_MAX: usize = 10_000;
/// Folders that hold no sources.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// Times and sizes of all files of a folder at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<PathBuf, (SystemTime, u64)>);

impl Snapshot {
    /// Looks at every file below `folder`, without hidden ones and what builds leave.
    pub(crate) fn take(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(folder, &mut files);
        Self(files)
    }

    /// Resolves when something below `folder` is no longer as in this snapshot.
    pub(crate) async fn changes(&self, folder: &Path) {
        while Self::take(folder) == *self {
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, (SystemTime, u64)>) {
    // What cannot be read now is looked at again with the next snapshot.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Cargo writes the lock file itself, during the build.
        let skipped = name.starts_with('.') || name == "Cargo.lock" || SKIPPED.contains(&&*name);
        if skipped || files.len() >= FILES_MAX {
            continue;
        }
        let Ok(found) = entry.metadata() else {
            continue;
        };
        if found.is_dir() {
            collect(&entry.path(), files);
        } else if let Ok(changed) = found.modified() {
            files.insert(entry.path(), (changed, found.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_count_and_what_builds_leave_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "one");
        let before = Snapshot::take(folder.path());
        write("target/a.wasm", "built");
        write("Cargo.lock", "locked");
        write(".git/index", "staged");
        assert_eq!(Snapshot::take(folder.path()), before);
        write("src/lib.rs", "longer");
        assert_ne!(Snapshot::take(folder.path()), before);
    }
}
