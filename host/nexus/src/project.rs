//! A guest's project on disk and its build: from a folder to a component beside its manifest.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

use crate::exit::{Exit, Failure, Outcome};
use crate::guest_toolchain::{TARGET, Toolchain};

/// Longest output of cargo that is read: a line of JSON per crate, so ample for any tree.
const MESSAGES_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How a component is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Small and fast, slower to build.
    Release,
    /// Quick to build again.
    Dev,
}

/// A folder with a Cargo.toml and a manifest.
#[derive(Clone)]
pub(crate) struct Project {
    folder: PathBuf,
}

/// A component that was built.
#[derive(Debug, Serialize)]
pub(crate) struct Built {
    pub(crate) component: PathBuf,
    pub(crate) bytes: u64,
}

/// The cargo that runs, so that it can be ended from outside.
#[derive(Clone, Default)]
pub(crate) struct Build(Arc<Mutex<Option<Child>>>);

impl Project {
    /// The project in `folder`.
    ///
    /// # Errors
    /// [`Failure`] if there is none.
    pub(crate) fn open(folder: &Path) -> Outcome<Self> {
        let cargo = folder.join("Cargo.toml");
        if cargo.is_file() {
            return Ok(Self {
                folder: folder.to_owned(),
            });
        }
        let message = format!(
            "{} does not exist: this is no Rust project",
            cargo.display()
        );
        Err(Failure::new(Exit::Usage, message)
            .hint("`nexus new NAME` makes one; other languages are not supported yet."))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.folder.join("app.toml")
    }

    /// Runs cargo and copies the component to `target/NAME.wasm`, wherever cargo's target folder is.
    /// What the compiler says goes to standard error as it comes.
    ///
    /// # Errors
    /// [`Failure`] if there is no compiler, or if cargo fails.
    pub(crate) fn build(&self, profile: Profile, build: &Build) -> Outcome<Built> {
        let mut cargo = Toolchain::find()?.cargo();
        cargo
            .current_dir(&self.folder)
            .args(["build", "--target", TARGET])
            .arg("--message-format=json-render-diagnostics")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        match profile {
            Profile::Release => cargo.arg("--release"),
            Profile::Dev => cargo.arg("--quiet"),
        };
        let mut child = cargo.spawn().map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot start `cargo`: {error}"))
                .hint("Install Rust first: https://rustup.rs")
        })?;
        let output = child.stdout.take();
        *build.held() = Some(child);
        let mut messages = String::new();
        if let Some(output) = output {
            let read = output
                .take(MESSAGES_BYTES_MAX)
                .read_to_string(&mut messages);
            read.map_err(|error| Failure::new(Exit::Failed, format!("cargo: {error}")))?;
        }
        let ended = build.held().take().map(|mut child| child.wait());
        match ended {
            Some(Ok(status)) if status.success() => {}
            Some(Ok(status)) => {
                let message = format!("the build failed: cargo ended with {status}");
                return Err(Failure::new(Exit::Failed, message));
            }
            Some(Err(error)) => return Err(Failure::new(Exit::Failed, error)),
            None => return Err(Failure::new(Exit::Interrupted, "the build was interrupted")),
        }
        let made = component(&messages).ok_or_else(|| {
            let message = "cargo built no component: the project needs a binary or a `cdylib`";
            Failure::new(Exit::Failed, message)
        })?;
        self.take(&made)
    }

    /// Copies the component to where the manifest expects it: aside first, so that nobody reads a
    /// half.
    fn take(&self, made: &Path) -> Outcome<Built> {
        let failed = |path: &Path, error: &std::io::Error| {
            Failure::new(
                Exit::Failed,
                format!("cannot write {}: {error}", path.display()),
            )
        };
        let folder = self.folder.join("target");
        let stem = made.file_stem().unwrap_or_default().to_string_lossy();
        // Crates have underscores where packages and workloads have hyphens.
        let component = folder.join(format!("{}.wasm", stem.replace('_', "-")));
        let aside = component.with_extension("wasm.new");
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        let bytes = fs::copy(made, &aside).map_err(|error| failed(&aside, &error))?;
        fs::rename(&aside, &component).map_err(|error| failed(&component, &error))?;
        Ok(Built { component, bytes })
    }
}

impl Build {
    /// Ends the cargo that runs, if one does.
    pub(crate) fn end(&self) {
        if let Some(mut child) = self.held().take() {
            // It may have ended by itself meanwhile.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last component that cargo says it made: dependencies come before the project itself.
fn component(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| {
            message.get("reason").and_then(Value::as_str) == Some("compiler-artifact")
        })
        .filter_map(|message| message.get("filenames").and_then(Value::as_array).cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .rfind(|file| file.extension().is_some_and(|end| end == "wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_the_last_wasm_file() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","filenames":["/dep.rlib"]}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","filenames":["/me.d","/me.wasm"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(component(messages), Some(PathBuf::from("/me.wasm")));
        assert_eq!(component(""), None);
    }
}
