//! The host's own Rust: what it is, and where it keeps the linker that guests need.

use std::path::PathBuf;
use std::process::Command;

use super::TARGET;
use crate::failure::Failure;
use crate::process;

/// The rustc that compiles the node.
pub(crate) struct Host {
    /// All of `rustc -vV`.
    version: String,
    triple: String,
    sysroot: PathBuf,
}

impl Host {
    pub(crate) fn find() -> Result<Self, Failure> {
        let version = process::read(Command::new("rustc").arg("-vV"))?;
        let triple = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .ok_or_else(|| Failure::new("`rustc -vV` names no host"))?
            .to_owned();
        let sysroot = process::read(Command::new("rustc").args(["--print", "sysroot"]))?;
        Ok(Self {
            triple,
            version,
            sysroot: PathBuf::from(sysroot.trim()),
        })
    }

    /// Whether this rustc has a standard library for guests. Asked anew each time: rustup may have
    /// added it meanwhile.
    pub(crate) fn has_guest_target(&self) -> bool {
        self.sysroot
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
            .is_dir()
    }

    /// `x86_64-unknown-linux-gnu` and its like.
    pub(crate) fn triple(&self) -> &str {
        &self.triple
    }

    /// Everything that tells this toolchain from another one.
    pub(crate) fn identity(&self) -> String {
        format!("{}{}", self.version, self.sysroot.display())
    }

    /// The folder of `wasm-component-ld`, `rust-lld` and their wrappers.
    pub(crate) fn linkers(&self) -> Result<PathBuf, Failure> {
        let folder = self
            .sysroot
            .join("lib/rustlib")
            .join(&self.triple)
            .join("bin");
        if folder.join("wasm-component-ld").exists() {
            return Ok(folder);
        }
        Err(Failure::new(format!(
            "{} has no wasm-component-ld, which links guests; install Rust with rustup",
            folder.display()
        )))
    }
}
