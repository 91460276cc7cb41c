//! What the benchmarks share: the hello component, percentiles, tables. Measures nothing itself.

mod fabric;

use std::fmt::Write as _;
use std::time::Duration;

pub use fabric::{Fabric, Failure, hello_spec};

/// What every guest text shares.
const SHARED: [(&str, &str); 2] = [
    (
        ";;{streams}",
        include_str!("../host/runtime/tests/guests/streams.wat"),
    ),
    (
        ";;{libc}",
        include_str!("../host/runtime/tests/guests/libc.wat"),
    ),
];

/// A WASI 0.2 HTTP service that answers `hello, world`, put together from the texts that the
/// runtime's tests use.
///
/// # Panics
/// If the texts do not assemble: then the tests do not pass either.
#[must_use]
pub fn hello_component() -> Vec<u8> {
    http_component(include_str!(
        "../host/runtime/tests/guests/handle-hello.wat"
    ))
}

/// As [`hello_component`], but it sends back what it is sent.
///
/// # Panics
/// If the texts do not assemble.
#[must_use]
pub fn echo_component() -> Vec<u8> {
    http_component(include_str!("../host/runtime/tests/guests/handle-echo.wat"))
}

/// A WASI 0.3 HTTP service that answers as [`hello_component`] does.
///
/// # Panics
/// If the texts do not assemble.
#[must_use]
pub fn hello_component_0_3() -> Vec<u8> {
    const FRAME: &str = include_str!("../host/runtime/tests/guests/http-0.3.wat");
    const HANDLE: &str = include_str!("../host/runtime/tests/guests/handle3-hello.wat");
    assemble(
        FRAME,
        &[(";;{handle}", HANDLE), (";;{error-code}", ERROR_CODE)],
    )
}

const ERROR_CODE: &str = include_str!("../host/runtime/tests/guests/error-code.wat");

fn http_component(handle: &str) -> Vec<u8> {
    const FRAME: &str = include_str!("../host/runtime/tests/guests/http.wat");
    let parts = [(";;{handle}", handle), (";;{error-code}", ERROR_CODE)];
    assemble(FRAME, &parts)
}

/// A WASI 0.2 command whose `run` is this function of its core module.
///
/// # Panics
/// If the texts do not assemble.
#[must_use]
pub fn command_component(run: &str) -> Vec<u8> {
    const FRAME: &str = include_str!("../host/runtime/tests/guests/command.wat");
    assemble(FRAME, &[(";;{run}", run)])
}

/// A guest from its text, with the allocator that guests of tests share put in.
///
/// # Panics
/// If the text does not assemble.
#[must_use]
pub fn guest_component(text: &str) -> Vec<u8> {
    assemble(text, &[])
}

fn assemble(frame: &str, parts: &[(&str, &str)]) -> Vec<u8> {
    let all = parts.iter().chain(&SHARED);
    let text = all.fold(frame.to_owned(), |text, (mark, part)| {
        text.replace(mark, part)
    });
    runtime::assemble_text(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// The value below which `per_mille` thousandths of `samples` lie; zero of none.
#[must_use]
pub fn percentile(samples: &mut [Duration], per_mille: usize) -> Duration {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    samples
        .get(last * per_mille / 1_000)
        .copied()
        .unwrap_or_default()
}

/// A duration in milliseconds with three decimals.
#[must_use]
pub fn ms(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1e3)
}

/// Rows under a head, columns aligned, as Markdown.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}
