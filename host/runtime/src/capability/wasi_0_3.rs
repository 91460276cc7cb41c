//! WASI 0.3: the same rights as in 0.2, for guests of an engine with component-model concurrency.
//!
//! wasmtime-wasi links this release by package. Known of 48.0.8: the future that `request.new`
//! gives a guest says that the request was sent also when it never was (denied, not connected);
//! the result of `client.send` tells the truth.

use types::Capability;
use wasmtime::component::Linker;

use super::{Grant, Package};
use crate::host::Host;

/// The WASI 0.3 release that wasmtime-wasi and wasmtime-wasi-http implement here.
const VERSION: &str = "0.3.0";

pub(super) const PACKAGES: &[Package] = &[CLI, CLOCKS, FILESYSTEM, HTTP, RANDOM];

const CLI: Package = Package {
    name: "wasi:cli",
    version: VERSION,
    interfaces: &[
        "environment",
        "exit",
        "stderr",
        "stdin",
        "stdout",
        "terminal-input",
        "terminal-output",
        "terminal-stderr",
        "terminal-stdin",
        "terminal-stdout",
        "types",
    ],
    grant: None,
    link: wasmtime_wasi::p3::cli::add_to_linker::<Host>,
};

const CLOCKS: Package = Package {
    name: "wasi:clocks",
    version: VERSION,
    interfaces: &["monotonic-clock", "system-clock", "types"],
    grant: None,
    link: wasmtime_wasi::p3::clocks::add_to_linker::<Host>,
};

const FILESYSTEM: Package = Package {
    name: "wasi:filesystem",
    version: VERSION,
    interfaces: &["preopens", "types"],
    grant: None,
    link: wasmtime_wasi::p3::filesystem::add_to_linker::<Host>,
};

const HTTP: Package = Package {
    name: "wasi:http",
    version: VERSION,
    interfaces: &["client", "types"],
    grant: Some(Grant {
        interfaces: &["client"],
        line: "capabilities.http_outgoing = [\"HOST\"]",
        covers: |capability| matches!(capability, Capability::HttpOutgoing { .. }),
    }),
    link,
};

const RANDOM: Package = Package {
    name: "wasi:random",
    version: VERSION,
    interfaces: &["insecure", "insecure-seed", "random"],
    grant: None,
    link: wasmtime_wasi::p3::random::add_to_linker::<Host>,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p3::add_to_linker(linker)
}
