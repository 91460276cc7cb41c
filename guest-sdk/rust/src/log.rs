//! Log records with a level, by `wasi:logging/logging`. Plain text goes by `println!` as well.

use std::fmt::{self, Display};

use crate::host;

/// How urgent a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The flow of control and the values in it.
    Trace,
    /// For somebody who looks for a fault.
    Debug,
    /// For somebody who watches.
    Info,
    /// Something that may become an error.
    Warn,
    /// Something that failed.
    Error,
    /// The component cannot go on.
    Critical,
}

impl Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        })
    }
}

/// Writes one record. `context` groups records, such as the module or the request they are about;
/// the host cuts what is longer than it allows and drops what comes faster than the log rate of the
/// manifest.
///
/// ```
/// use hypermesh_guest::log::{self, Level};
/// use hypermesh_guest::mock;
///
/// mock::reset();
/// log::write(Level::Info, "orders", format_args!("{} arrived", 3));
/// assert_eq!(mock::logs(), [(Level::Info, "orders".to_owned(), "3 arrived".to_owned())]);
/// ```
pub fn write(level: Level, context: &str, message: impl Display) {
    host::log::write(level, context, &message.to_string());
}

/// Writes one record of [`Level::Debug`] without context.
pub fn debug(message: impl Display) {
    write(Level::Debug, "", message);
}

/// Writes one record of [`Level::Info`] without context.
pub fn info(message: impl Display) {
    write(Level::Info, "", message);
}

/// Writes one record of [`Level::Warn`] without context.
pub fn warn(message: impl Display) {
    write(Level::Warn, "", message);
}

/// Writes one record of [`Level::Error`] without context.
pub fn error(message: impl Display) {
    write(Level::Error, "", message);
}

/// Sends what the macros of the crate `log` write here, with the target as the context. Call it once,
/// first thing; further calls change nothing.
#[cfg(feature = "log")]
pub fn facade() {
    struct Facade;
    impl ::log::Log for Facade {
        fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &::log::Record<'_>) {
            let level = match record.level() {
                ::log::Level::Error => Level::Error,
                ::log::Level::Warn => Level::Warn,
                ::log::Level::Info => Level::Info,
                ::log::Level::Debug => Level::Debug,
                ::log::Level::Trace => Level::Trace,
            };
            write(level, record.target(), record.args());
        }
        fn flush(&self) {}
    }
    if ::log::set_logger(&Facade).is_ok() {
        ::log::set_max_level(::log::LevelFilter::Trace);
    }
}
