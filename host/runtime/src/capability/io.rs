//! `wasi:io`: streams and polling. Rights come with the streams, so none is needed here.

use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::p2::bindings::io;

use super::{Package, WASI_VERSION};
use crate::host::Host;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:io",
    version: WASI_VERSION,
    interfaces: &["error", "poll", "streams"],
    grant: None,
    link,
};

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// The table alone: a guest that only has streams of HTTP never pays for a `WasiCtx`.
fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    io::error::add_to_linker::<Host, Table>(linker, Host::table)?;
    io::poll::add_to_linker::<Host, Table>(linker, Host::table)?;
    io::streams::add_to_linker::<Host, Table>(linker, Host::table)
}
