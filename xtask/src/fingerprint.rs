//! Hashes of build inputs: equal fingerprints mean that there is nothing to rebuild.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Collects labelled inputs; order matters, so callers sort what has no order.
#[derive(Default)]
pub(crate) struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one input. Lengths go in as well, so that two inputs never read as one.
    pub(crate) fn add(&mut self, label: &str, bytes: &[u8]) {
        for part in [label.as_bytes(), bytes] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// Adds every file below `folder` whose path from there passes `keep`.
    pub(crate) fn add_folder(
        &mut self,
        folder: &Path,
        keep: fn(&Path) -> bool,
    ) -> Result<(), Failure> {
        let mut files = Vec::new();
        collect(folder, Path::new(""), keep, &mut files)?;
        files.sort();
        for file in files {
            let path = folder.join(&file);
            let bytes = fs::read(&path).map_err(|error| Failure::file("read", &path, &error))?;
            self.add(&file.to_string_lossy(), &bytes);
        }
        Ok(())
    }

    /// The first 16 hex digits: ample for a cache that nobody attacks, short enough for a path.
    pub(crate) fn finish(&self) -> String {
        self.0.finalize().to_hex().chars().take(16).collect()
    }
}

fn collect(
    root: &Path,
    below: &Path,
    keep: fn(&Path) -> bool,
    files: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let folder = root.join(below);
    let entries = fs::read_dir(&folder).map_err(|error| Failure::file("list", &folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Failure::file("list", &folder, &error))?;
        let path = below.join(entry.file_name());
        if !keep(&path) {
            continue;
        }
        let kind = entry
            .file_type()
            .map_err(|error| Failure::file("look at", &path, &error))?;
        if kind.is_dir() {
            collect(root, &path, keep, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(&str, &[u8])]) -> String {
        let mut fingerprint = Fingerprint::new();
        for (label, bytes) in parts {
            fingerprint.add(label, bytes);
        }
        fingerprint.finish()
    }

    #[test]
    fn inputs_do_not_run_into_each_other() {
        assert_ne!(of(&[("a", b"bc")]), of(&[("ab", b"c")]));
        assert_ne!(of(&[("a", b"b"), ("c", b"")]), of(&[("a", b"b")]));
    }

    #[test]
    fn folder_changes_with_its_kept_files_only() {
        fn keep(path: &Path) -> bool {
            !path.ends_with("README.md")
        }
        let folder = tempfile::tempdir().unwrap();
        let read = || {
            let mut fingerprint = Fingerprint::new();
            fingerprint.add_folder(folder.path(), keep).unwrap();
            fingerprint.finish()
        };
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), "one").unwrap();
        let first = read();
        fs::write(folder.path().join("README.md"), "words").unwrap();
        assert_eq!(read(), first);
        fs::write(folder.path().join("src/lib.rs"), "two").unwrap();
        assert_ne!(read(), first);
    }
}
