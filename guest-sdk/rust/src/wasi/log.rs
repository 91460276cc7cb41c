//! `wasi:logging/logging`.

use super::imports::wasi::logging::logging as wasi;
use crate::log::Level;

pub(crate) fn write(level: Level, context: &str, message: &str) {
    let level = match level {
        Level::Trace => wasi::Level::Trace,
        Level::Debug => wasi::Level::Debug,
        Level::Info => wasi::Level::Info,
        Level::Warn => wasi::Level::Warn,
        Level::Error => wasi::Level::Error,
        Level::Critical => wasi::Level::Critical,
    };
    wasi::log(level, context, message);
}
