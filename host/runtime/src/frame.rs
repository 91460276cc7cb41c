//! Frames of a wasm backtrace as people read them: names demangled, source lines where the binary
//! has them, everything bounded. Knows nothing of how a call ended.

use std::fmt::{self, Write as _};

use wasmtime::{Error, FrameInfo, FrameSymbol, WasmBacktrace};

use crate::bounds::{BACKTRACE_FRAMES_MAX, FRAME_NAME_BYTES_MAX};

/// One frame of a wasm backtrace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasmFrame {
    /// The function's name, if the binary names it: demangled where it is Rust's, without control
    /// characters.
    pub function: Option<String>,
    /// Its index in its core module; for what was inlined, that of the function around it.
    pub index: u32,
    /// Where in the source, if the binary says it.
    pub source: Option<SourceLocation>,
}

/// A place in a guest's source, as its compiler wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLocation {
    /// The file's name, without control characters.
    pub file: String,
    /// The line, from 1.
    pub line: Option<u32>,
}

impl fmt::Display for WasmFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(name) => f.write_str(name)?,
            None => write!(f, "function {}", self.index)?,
        }
        match &self.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// The frames that an error carries, innermost first.
pub(crate) fn backtrace(error: &Error) -> Vec<WasmFrame> {
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map(WasmBacktrace::frames);
    let frames = frames.unwrap_or_default().iter().flat_map(expanded);
    frames.take(BACKTRACE_FRAMES_MAX).collect()
}

/// A frame of the machine, as the frames of the source that were inlined into it, innermost first.
fn expanded(frame: &FrameInfo) -> Vec<WasmFrame> {
    let index = frame.func_index();
    let own_name = || frame.func_name().map(demangled);
    let symbols = frame.symbols();
    let Some(outermost) = symbols.len().checked_sub(1) else {
        return vec![WasmFrame {
            function: own_name(),
            index,
            source: None,
        }];
    };
    let symbols = symbols.iter().take(BACKTRACE_FRAMES_MAX).enumerate();
    symbols
        .map(|(at, symbol)| WasmFrame {
            function: match symbol.name() {
                Some(name) => Some(demangled(name)),
                None if at == outermost => own_name(),
                None => None,
            },
            index,
            source: source(symbol),
        })
        .collect()
}

fn source(symbol: &FrameSymbol) -> Option<SourceLocation> {
    symbol.file().map(|file| SourceLocation {
        file: bounded(format_args!("{file}")),
        line: symbol.line(),
    })
}

/// A Rust name without its hash; other names as they are.
fn demangled(name: &str) -> String {
    match rustc_demangle::try_demangle(name) {
        Ok(name) => bounded(format_args!("{name:#}")),
        Err(_) => bounded(format_args!("{name}")),
    }
}

/// At most [`FRAME_NAME_BYTES_MAX`] of a text that a guest chose. Demangling can multiply a name,
/// and a line end could make one look like a line of the node's.
fn bounded(text: fmt::Arguments<'_>) -> String {
    let mut short = Short(String::new());
    if short.write_fmt(text).is_err() {
        short.0.push('…');
    }
    short.0
}

/// Takes no more than fits.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() + c.len_utf8() > FRAME_NAME_BYTES_MAX {
                return Err(fmt::Error);
            }
            self.0.push(if c.is_control() { '\u{fffd}' } else { c });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_guests_are_demangled_bounded_and_one_line() {
        let mangled = "_ZN4core9panicking5panic17h0123456789abcdefE";
        assert_eq!(demangled(mangled), "core::panicking::panic");
        assert_eq!(demangled("a\nb"), "a\u{fffd}b");
        let long = demangled(&"ä".repeat(FRAME_NAME_BYTES_MAX));
        assert_eq!(long.len(), FRAME_NAME_BYTES_MAX + '…'.len_utf8());
    }

    #[test]
    fn a_frame_reads_as_name_and_place() {
        let mut frame = WasmFrame {
            function: Some("shop::total".to_owned()),
            index: 7,
            source: Some(SourceLocation {
                file: "src/lib.rs".to_owned(),
                line: Some(12),
            }),
        };
        assert_eq!(frame.to_string(), "shop::total (src/lib.rs:12)");
        frame.function = None;
        frame.source = None;
        assert_eq!(frame.to_string(), "function 7");
    }
}
