//! How packages become a compiler for guests: unpack, build std, add start files and libc.
//!
//! The packaged rustc ships std for the host only, but also its source; the linkers come from the
//! host's own Rust. The result works from any folder, so it is built aside and renamed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::apt::Offer;
use super::host::Host;
use super::toolchain::isolated_cargo;
use super::{TARGET, libc};
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::process;

/// The compiler below a prefix.
pub(super) const RUSTC: &str = "bin/rustc";

/// Objects of our own: file stem and source. Start files keep the names that rustc looks for.
const OBJECTS: [(&str, &str); 3] = [
    (
        "crt1-command",
        include_str!("../../guest-toolchain/start_command.rs"),
    ),
    (
        "crt1-reactor",
        include_str!("../../guest-toolchain/start_reactor.rs"),
    ),
    ("sockets", include_str!("../../guest-toolchain/sockets.rs")),
];

/// Finds its libraries beside itself: nothing of it is installed.
const WRAPPER: &str = r#"#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd)
libraries=$(echo "$here"/usr/lib/*-linux-gnu)
LD_LIBRARY_PATH=$libraries exec "$here/usr/bin/rustc" "$@"
"#;

/// Names what this recipe makes. Versions of packages are left out: a compiler that works stays.
pub(super) fn stamp(host: &Host) -> String {
    let mut fingerprint = Fingerprint::new();
    fingerprint.add("recipe", include_bytes!("recipe.rs"));
    fingerprint.add("libc", libc::PIN.as_bytes());
    fingerprint.add("host", host.identity().as_bytes());
    for (name, source) in OBJECTS {
        fingerprint.add(name, source.as_bytes());
    }
    fingerprint.finish()
}

/// Builds the compiler in `prefix`, an empty folder.
pub(super) fn build(host: &Host, offer: &Offer, prefix: &Path) -> Result<(), Failure> {
    // What can fail quickly goes first.
    let linkers = host.linkers()?;
    process::read(Command::new("ar").arg("--version"))
        .map_err(|failure| failure.advise("install binutils"))?;
    let scratch = prefix.join("scratch");
    let archive = libc::fetch(&scratch)?;

    timed("unpacking the packaged compiler", || offer.unpack(prefix))?;
    let rustlib = prefix.join("usr/lib/rustlib");
    let linkers_link = rustlib.join(host.triple()).join("bin");
    symlink(&linkers, &linkers_link)
        .map_err(|error| Failure::file("link", &linkers_link, &error))?;
    let rustc = prefix.join(RUSTC);
    create_folder(&prefix.join("bin"))?;
    fs::write(&rustc, WRAPPER).map_err(|error| Failure::file("write", &rustc, &error))?;
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755))
        .map_err(|error| Failure::file("make executable", &rustc, &error))?;

    let libraries = rustlib.join(TARGET).join("lib");
    let own = libraries.join("self-contained");
    create_folder(&own)?;
    timed("building std for guests, once", || {
        build_std(&rustc, prefix, &scratch, &libraries)
    })?;

    let [command, reactor, sockets] = OBJECTS.map(|(name, _)| scratch.join(format!("{name}.o")));
    for (name, source) in OBJECTS {
        compile_object(&rustc, &scratch, name, source)?;
    }
    copy(&archive, &own.join("libc.a"))?;
    libc::append(&own.join("libc.a"), &[sockets])?;
    copy(&command, &own.join("crt1-command.o"))?;
    copy(&reactor, &own.join("crt1-reactor.o"))?;

    for folder in [scratch, prefix.join("usr/src")] {
        fs::remove_dir_all(&folder).map_err(|error| Failure::file("delete", &folder, &error))?;
    }
    Ok(())
}

fn build_std(rustc: &Path, prefix: &Path, scratch: &Path, libraries: &Path) -> Result<(), Failure> {
    let target = scratch.join("std");
    let mut cargo = isolated_cargo();
    cargo
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--features=panic-unwind",
        ])
        .args(["--target", TARGET, "--manifest-path"])
        .arg(std_source(prefix)?.join("std/Cargo.toml"))
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "RUSTFLAGS",
            "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes",
        )
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_TARGET_DIR", &target);
    process::read(&mut cargo)?;
    let built = target.join(TARGET).join("release/deps");
    let entries = fs::read_dir(&built).map_err(|error| Failure::file("list", &built, &error))?;
    for entry in entries.flatten() {
        if entry.path().extension().is_some_and(|end| end == "rlib") {
            copy(&entry.path(), &libraries.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// `library/` of the unpacked source, whose folder name carries a version.
fn std_source(prefix: &Path) -> Result<PathBuf, Failure> {
    let sources = prefix.join("usr/src");
    let entries =
        fs::read_dir(&sources).map_err(|error| Failure::file("list", &sources, &error))?;
    let mut libraries = entries.flatten().map(|entry| entry.path().join("library"));
    libraries
        .find(|path| path.is_dir())
        .ok_or_else(|| Failure::new("the source package has no `library` folder"))
}

fn compile_object(rustc: &Path, scratch: &Path, name: &str, source: &str) -> Result<(), Failure> {
    let path = scratch.join(format!("{}.rs", name.replace('-', "_")));
    fs::write(&path, source).map_err(|error| Failure::file("write", &path, &error))?;
    let mut compile = Command::new(rustc);
    compile
        .args([
            "--target",
            TARGET,
            "--edition=2024",
            "--crate-type=lib",
            "-Copt-level=s",
        ])
        .args([
            "-Cpanic=abort",
            "-Ccodegen-units=1",
            "-Crelocation-model=static",
        ])
        .arg(format!(
            "--emit=obj={}",
            scratch.join(format!("{name}.o")).display()
        ))
        .arg(&path);
    process::read(&mut compile).map(|_| ())
}

fn create_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| Failure::file("create", path, &error))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to)
        .map(|_| ())
        .map_err(|error| Failure::file("write", to, &error))
}

fn timed(what: &str, step: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    println!("xtask: {what}");
    let started = Instant::now();
    step()?;
    println!("xtask: {what}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}
