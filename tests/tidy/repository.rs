//! The files of this repository, as git and cargo list them. The only module here that reads disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A text file: its path from the root, with `/`, and what is in it.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The checkout that this test was compiled in.
pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    pub(crate) fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Self {
            root: root
                .canonicalize()
                .expect("the folder above this package exists"),
        }
    }

    /// `cargo metadata --no-deps` of the workspace.
    pub(crate) fn metadata(&self) -> Value {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let text = self.output(&cargo, &["metadata", "--no-deps", "--format-version=1"]);
        serde_json::from_str(&text).expect("cargo metadata prints JSON")
    }

    /// Every file that is text and that git tracks or would offer to.
    pub(crate) fn text_files(&self) -> Vec<SourceFile> {
        let options = [
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ];
        let mut paths: Vec<String> = self
            .output("git", &options)
            .split_terminator('\0')
            .map(str::to_owned)
            .collect();
        paths.sort();
        paths.dedup();
        // Deleted files are still listed, binaries are not text: both read as nothing.
        let read = |path: String| self.read(&path).map(|text| SourceFile { path, text });
        paths.into_iter().filter_map(read).collect()
    }

    /// The text of one file; `None` if it is missing or no text.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        String::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'))
    }

    /// Names of the folders of `host/` that hold a crate.
    pub(crate) fn crate_folders(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join("host")).expect("host/ exists");
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join("Cargo.toml").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn output(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.root)
            .output()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}: {said}",
            output.status
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
