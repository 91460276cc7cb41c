//! `nexus version`: which release this is.

use serde::Serialize;

use crate::cli::Global;
use crate::exit::Outcome;
use crate::session::format;
use crate::terminal;

/// This program's release.
#[derive(Serialize)]
struct Version {
    version: &'static str,
}

pub(crate) fn run(global: &Global) -> Outcome {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
    };
    terminal::print(&format(global.output, &version, || {
        format!("nexus {}", version.version)
    })?)
}
