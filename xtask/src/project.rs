//! Where this checkout keeps things, as cargo itself sees it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;
use crate::process;

/// The checkout that xtask was started in.
pub(crate) struct Project {
    root: PathBuf,
    target: PathBuf,
    metadata: Value,
}

impl Project {
    /// Asks cargo about the workspace around the current folder.
    pub(crate) fn find() -> Result<Self, Failure> {
        let text = process::read(Command::new(cargo_program()).args([
            "metadata",
            "--no-deps",
            "--format-version=1",
            // Beside xtask's own manifest: the current folder may lie in an example.
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ]))?;
        let metadata: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("cargo metadata is not JSON: {error}")))?;
        let folder = |key: &str| {
            metadata
                .get(key)
                .and_then(Value::as_str)
                .map(PathBuf::from)
                .ok_or_else(|| {
                    Failure::new(format!(
                        "cargo metadata has no `{key}`: is this cargo too old?"
                    ))
                })
        };
        Ok(Self {
            root: folder("workspace_root")?,
            target: folder("target_directory")?,
            metadata,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// cargo's target folder, wherever the environment put it.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where `<name>.wasm` of every example guest lies.
    pub(crate) fn guests(&self) -> PathBuf {
        self.target.join("guests")
    }

    /// A cargo command for the host workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo_program());
        command.current_dir(&self.root);
        command
    }

    /// Names of all targets of `kind` (`bench`, `bin`, `example`) in the workspace.
    pub(crate) fn targets_of_kind(&self, kind: &str) -> Vec<&str> {
        let packages = self.metadata.get("packages").and_then(Value::as_array);
        packages
            .into_iter()
            .flatten()
            .filter_map(|package| package.get("targets").and_then(Value::as_array))
            .flatten()
            .filter(|target| {
                let kinds = target.get("kind").and_then(Value::as_array);
                kinds
                    .into_iter()
                    .flatten()
                    .any(|one| one.as_str() == Some(kind))
            })
            .filter_map(|target| target.get("name").and_then(Value::as_str))
            .collect()
    }
}

/// The cargo that started us, so that rustup's choice of toolchain stays the same.
pub(crate) fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}
