//! `wasi:clocks`: the machine's wall and monotonic clocks.

use wasmtime::component::Linker;
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::clocks;

use super::{Package, WASI_VERSION};
use crate::host::Host;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:clocks",
    version: WASI_VERSION,
    interfaces: &["monotonic-clock", "wall-clock"],
    grant: None,
    link,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    clocks::wall_clock::add_to_linker::<Host, WasiClocks>(linker, Host::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Host, WasiClocks>(linker, Host::clocks)
}
