//! Host interfaces, one file each: what is offered, in which version, and under which grant.

mod blob_streams;
mod blobstore;
pub(crate) mod cli;
mod clocks;
mod config;
mod consensus;
mod cpu;
mod evidence;
pub(crate) mod filesystem;
mod http;
mod http_error;
mod http_send;
mod io;
mod keyvalue;
mod keyvalue_draft2;
mod logging;
mod memory;
pub(crate) mod messaging;
mod network;
mod random;
mod socket_policy;
mod sockets;
mod store_calls;
mod virtual_clocks;
mod volumes;
mod wasi_0_3;

pub(crate) use blobstore::finishes_values;
pub(crate) use http::{Outgoing, OutgoingPolicy};
pub(crate) use http_send::tls_config;
pub(crate) use socket_policy::SocketPolicy;
pub(crate) use sockets::Sockets;
pub(crate) use store_calls::Stores;

use types::Capability;
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
    pub(crate) grant: Option<Grant>,
    link: fn(&mut Linker<Host>) -> wasmtime::Result<()>,
}

/// The right that some interfaces of a package need.
pub(crate) struct Grant {
    pub(crate) interfaces: &'static [&'static str],
    /// The manifest line that gives it.
    pub(crate) line: &'static str,
    /// Whether a capability is that right.
    pub(crate) covers: fn(&Capability) -> bool,
}

/// What any engine can link. A package stands here once per version line.
const PACKAGES: &[Package] = &[
    blobstore::PACKAGE,
    cli::PACKAGE,
    clocks::PACKAGE,
    config::PACKAGE,
    config::DRAFT,
    config::DATED_DRAFT,
    consensus::PACKAGE,
    cpu::PACKAGE,
    filesystem::PACKAGE,
    http::PACKAGE,
    io::PACKAGE,
    keyvalue::PACKAGE,
    keyvalue_draft2::PACKAGE,
    logging::PACKAGE,
    memory::PACKAGE,
    messaging::PACKAGE,
    network::PACKAGE,
    random::PACKAGE,
    sockets::PACKAGE,
    volumes::PACKAGE,
];

/// Every package that a guest can be linked to.
pub(crate) fn packages() -> impl Iterator<Item = &'static Package> {
    PACKAGES.iter().chain(wasi_0_3::PACKAGES)
}

/// Adds every interface; what was not granted is refused before linking and denied when called.
/// Those of WASI 0.3 only where the engine is `concurrent`; their guests import 0.2 as well.
pub(crate) fn link(linker: &mut Linker<Host>, concurrent: bool) -> wasmtime::Result<()> {
    let add = |package: &Package| (package.link)(linker);
    if concurrent {
        packages().try_for_each(add)
    } else {
        PACKAGES.iter().try_for_each(add)
    }
}

/// Puts clocks that only the guest moves in place of the machine's.
pub(crate) fn link_virtual_clocks(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let linked = virtual_clocks::link(linker);
    linker.allow_shadowing(false);
    linked
}
