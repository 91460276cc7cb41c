//! `wasi:logging`: messages with a level and a context, into the replica's log.
//!
//! *Grant*: none. *Limits*: `limits.log_rate`, shared with standard output and error. *Denial*:
//! what is above the rate is dropped and counted, as [`crate::Breach::LogRate`] says once.

use wasmtime::component::{HasSelf, Linker};

use self::bindings::wasi::logging::logging::{self, Level};
use super::Package;
use crate::host::Host;
use crate::observer::LogStream;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:logging",
    version: "0.1.0-draft",
    interfaces: &["logging"],
    grant: None,
    link,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-logging-0.1.0-draft",
        world: "wasi:logging/imports",
        imports: { default: trappable },
    });
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    logging::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

impl logging::Host for Host {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
        };
        let mark = if context.is_empty() { "" } else { " " };
        let line = format!("{level}{mark}{context}: {message}\n");
        self.log_output().write(LogStream::Stderr, line.as_bytes());
        Ok(())
    }
}
