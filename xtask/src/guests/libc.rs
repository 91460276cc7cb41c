//! The C library of guests: one file of one pinned package, with what it lacks put in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::process;

/// The package and its hash, for pip.
pub(super) const PIN: &str = include_str!("../../guest-toolchain/libc.txt");

/// Downloads the pinned package below `scratch` and returns its `libc.a`.
pub(super) fn fetch(scratch: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(scratch).map_err(|error| Failure::file("create", scratch, &error))?;
    let pin = scratch.join("libc.txt");
    fs::write(&pin, PIN).map_err(|error| Failure::file("write", &pin, &error))?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]);
    pip.args(["--only-binary=:all:", "--require-hashes", "--requirement"])
        .arg(&pin);
    process::read(pip.arg("--dest").arg(scratch))
        .map_err(|failure| failure.advise("the guests' libc comes by pip: install python3-pip"))?;
    let wheel = find(scratch, &|path| {
        path.extension().is_some_and(|end| end == "whl")
    })?;
    let unpacked = scratch.join("wheel");
    let mut unzip = Command::new("python3");
    process::read(
        unzip
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&unpacked),
    )?;
    find(&unpacked, &|path| {
        path.ends_with("lib/wasm32-wasip1/libc.a")
    })
}

/// Appends `objects` to `archive`.
pub(super) fn append(archive: &Path, objects: &[PathBuf]) -> Result<(), Failure> {
    process::read(Command::new("ar").arg("q").arg(archive).args(objects)).map(|_| ())
}

/// The first file below `folder` that is `wanted`.
fn find(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<PathBuf, Failure> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|error| Failure::file("list", &folder, &error))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if wanted(&path) {
                return Ok(path);
            }
        }
    }
    Err(Failure::new(format!(
        "the libc package has other contents than expected: {PIN}"
    )))
}
