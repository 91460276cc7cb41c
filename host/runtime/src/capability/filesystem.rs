//! `wasi:filesystem`: preopened directories and nothing above them. Without files in the manifest
//! a guest has no directory at all.
//!
//! wasmtime-wasi resolves every path below the directory's own descriptor: `..`, absolute paths
//! and symbolic links that lead out are refused with `not-permitted`.

use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::{Package, WASI_VERSION};
use crate::host::{Host, Preopen};

pub(super) const PACKAGE: Package = Package {
    name: "wasi:filesystem",
    version: WASI_VERSION,
    interfaces: &["preopens", "types"],
    grant: None,
    link,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    filesystem::preopens::add_to_linker::<Host, WasiFilesystem>(linker, Host::filesystem)?;
    filesystem::types::add_to_linker::<Host, WasiFilesystem>(linker, Host::filesystem)
}

/// Opens every directory.
pub(crate) fn preopen(builder: &mut WasiCtxBuilder, dirs: &[Preopen]) -> wasmtime::Result<()> {
    for dir in dirs {
        let perms = if dir.writable {
            FsPerms::ReadWrite
        } else {
            FsPerms::ReadOnly
        };
        builder.preopened_dir(&dir.host_dir, &dir.guest_path, perms)?;
    }
    Ok(())
}
