//! `wasi:random`: secure and insecure random data, bounded per call.

use wasmtime::component::Linker;
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::random;
use wasmtime_wasi::random::WasiRandom;

use super::{Package, WASI_VERSION};
use crate::host::Host;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:random",
    version: WASI_VERSION,
    interfaces: &["insecure", "insecure-seed", "random"],
    grant: None,
    link,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    random::random::add_to_linker::<Host, WasiRandom>(linker, |host| host.ctx().ctx.random())?;
    random::insecure::add_to_linker::<Host, WasiRandom>(linker, |host| host.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<Host, WasiRandom>(linker, |host| host.ctx().ctx.random())
}
