//! `wasi:config/store`: the settings that the manifest gives a component.

use wasmtime::component::Linker;

use super::Package;
use crate::host::Host;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:config",
    version: "0.2.0-rc.1",
    interfaces: &["store"],
    grant: None,
    link,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wasmtime_wasi_config::add_to_linker(linker, Host::config)
}
