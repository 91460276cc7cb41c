//! Which compiler guests get. Finds what is installed; installs nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::exit::{Exit, Failure, Outcome};

/// What guests are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// A compiler that can make components.
pub(crate) enum Toolchain {
    /// The `rustc` on PATH.
    Installed,
    /// One that `cargo xtask guests` built.
    Cached(PathBuf),
}

impl Toolchain {
    /// The installed target where there is one, else the newest compiler in the cache.
    ///
    /// # Errors
    /// [`Failure`] that says what to run.
    pub(crate) fn find() -> Outcome<Self> {
        if installed_target_exists()? {
            return Ok(Self::Installed);
        }
        cached().map(Self::Cached).ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                format!("the `rustc` on PATH has no {TARGET} target. Give it one:"),
            )
            .hint(format!("  rustup target add {TARGET}"))
            .hint("or, where rustup may not download, run in a checkout of HyperMesh:")
            .hint("  cargo xtask guests")
        })
    }

    /// cargo with this compiler.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        // Left by a `cargo run` around this program: they are for that build.
        for name in [
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "LD_LIBRARY_PATH",
        ] {
            cargo.env_remove(name);
        }
        if let Self::Cached(rustc) = self {
            // Another release than the host's: what is set for that one does not fit.
            for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
                cargo.env_remove(name);
            }
            cargo.env("RUSTC", rustc);
        }
        cargo
    }
}

fn installed_target_exists() -> Outcome<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot start `rustc`: {error}"))
                .hint("Install Rust first: https://rustup.rs")
        })?;
    let folder = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}

/// The newest finished compiler below `hypermesh/guests` in the user's cache.
fn cached() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".cache")))?;
    let compilers = std::fs::read_dir(cache.join("hypermesh/guests")).ok()?;
    let finished = compilers.flatten().filter_map(|entry| {
        // An unfinished one has a name that begins with a dot.
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let rustc = entry.path().join("bin/rustc");
        let made = entry.metadata().ok()?.modified().ok()?;
        (!hidden && rustc.is_file()).then_some((made, rustc))
    });
    finished.max().map(|(_, rustc)| rustc)
}
