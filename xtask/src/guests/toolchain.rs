//! Which compiler guests get, in the order: installed target, packages, rustup.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{Apt, Offer};
use super::cache::Cache;
use super::host::Host;
use super::{TARGET, recipe};
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::process;
use crate::project::cargo_program;

/// A compiler for guests that is ready for use.
pub(crate) struct Toolchain {
    /// Set for the packaged compiler; the installed one is cargo's default.
    rustc: Option<PathBuf>,
    identity: String,
}

impl Toolchain {
    /// Differs whenever guests must be compiled anew.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// A cargo command for guests. Only this command sees the packaged rustc.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = isolated_cargo();
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        command
    }
}

/// cargo without the settings of the environment that are meant for host builds.
pub(super) fn isolated_cargo() -> Command {
    let mut command = Command::new(cargo_program());
    for name in [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(name);
    }
    // Left over from `cargo run`: the host toolchain's libraries.
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// Makes sure that guests can be compiled, and says in one line how.
pub(crate) fn prepare() -> Result<Toolchain, Failure> {
    let host = Host::find()?;
    if host.has_guest_target() {
        say(&format!(
            "the installed {TARGET} target, because this rustc has one"
        ));
        return Ok(installed(&host));
    }
    let cache = Cache::open("guests")?;
    let stamp = recipe::stamp(&host);
    let prefix = cache.prefix(&stamp);
    if prefix.is_dir() {
        say(&format!(
            "the packaged compiler built earlier in {}, because this rustc has no {TARGET} target",
            prefix.display()
        ));
        return Ok(packaged(&prefix, stamp));
    }
    let held = cache.lock()?;
    if prefix.is_dir() {
        say(&format!(
            "the packaged compiler that another xtask just built in {}",
            prefix.display()
        ));
        return Ok(packaged(&prefix, stamp));
    }
    let partial = held.partial()?;
    match Apt::refresh(&partial.path().join("apt")).and_then(Apt::offer) {
        Ok(offer) => {
            say(&format!(
                "the packaged compiler, because this rustc has no {TARGET} target and apt offers \
                 {offer}"
            ));
            build_packaged(&host, &offer, partial.path())
                .map_err(|failure| failure.advise(&advice(&host)))?;
            partial.keep_as(&prefix)?;
            Ok(packaged(&prefix, stamp))
        }
        Err(why) => add_with_rustup(&host, &why),
    }
}

fn build_packaged(host: &Host, offer: &Offer, folder: &Path) -> Result<(), Failure> {
    recipe::build(host, offer, folder)?;
    offer.forget_lists()
}

fn advice(host: &Host) -> String {
    format!(
        "run it again once the package registries answer, or give the toolchain of {} the target \
         with `rustup target add {TARGET}`",
        host.triple()
    )
}

/// The last resort: a download that only machines with open networks can do.
fn add_with_rustup(host: &Host, why: &Failure) -> Result<Toolchain, Failure> {
    say(&format!(
        "`rustup target add {TARGET}`, because this rustc has none and {why}"
    ));
    process::show(
        "rustup target add",
        Command::new("rustup").args(["target", "add", TARGET]),
    )
    .map_err(|failure| failure.advise(&format!("install the {TARGET} target by hand")))?;
    if host.has_guest_target() {
        return Ok(installed(host));
    }
    Err(Failure::new(format!(
        "rustup added {TARGET} to another toolchain than the `rustc` on PATH; make them the same"
    )))
}

fn say(which: &str) {
    println!("xtask: guest toolchain: {which}");
}

fn installed(host: &Host) -> Toolchain {
    let mut fingerprint = Fingerprint::new();
    fingerprint.add("installed", host.identity().as_bytes());
    Toolchain {
        rustc: None,
        identity: fingerprint.finish(),
    }
}

fn packaged(prefix: &Path, stamp: String) -> Toolchain {
    Toolchain {
        rustc: Some(prefix.join(recipe::RUSTC)),
        identity: stamp,
    }
}
