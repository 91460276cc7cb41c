//! Host interfaces, one file each: what is offered, in which version, and under which grant.

pub(crate) mod cli;
mod clocks;
mod config;
pub(crate) mod filesystem;
mod http;
mod http_send;
mod io;
mod random;

pub(crate) use http::{Outgoing, OutgoingPolicy};
pub(crate) use http_send::tls_config;

use wasmtime::component::Linker;

use crate::host::Host;

/// The WASI 0.2 release that wasmtime-wasi and wasmtime-wasi-http implement here.
const WASI_VERSION: &str = "0.2.12";

/// One package's interfaces.
pub(crate) struct Package {
    /// `wasi:cli`.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) interfaces: &'static [&'static str],
    /// Interfaces among them that need a right.
    pub(crate) granted: &'static [&'static str],
    link: fn(&mut Linker<Host>) -> wasmtime::Result<()>,
}

/// Everything that a guest can be linked to.
pub(crate) const PACKAGES: [Package; 7] = [
    cli::PACKAGE,
    clocks::PACKAGE,
    config::PACKAGE,
    filesystem::PACKAGE,
    http::PACKAGE,
    io::PACKAGE,
    random::PACKAGE,
];

/// Adds every interface; what was not granted is refused before linking and denied when called.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    PACKAGES
        .iter()
        .try_for_each(|package| (package.link)(linker))
}
