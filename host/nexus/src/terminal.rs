//! Everything that reaches the terminal passes here: results, notes, progress. Knows no commands.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use crate::exit::{Exit, Failure, Outcome};

/// Work that takes longer shows that it goes on.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);
/// How often a progress line is written anew.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Writes `text` and a line end to standard output: a command's result.
///
/// # Errors
/// [`Failure`] if it cannot be written; a reader that went away ends the program without an error.
pub(crate) fn print(text: &str) -> Outcome {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(text.as_bytes())
        .and_then(|()| output.write_all(b"\n"))
        .and_then(|()| output.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::output_closed(),
        _ => Failure::new(Exit::Failed, format!("cannot write the output: {error}")),
    })
}

/// Writes `text` and a line end to standard error: what people should know beside the result.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes why the command failed.
pub(crate) fn report(failure: &Failure) {
    if failure.message().is_empty() {
        return;
    }
    let (on, off) = if coloured() {
        ("\u{1b}[1;31m", "\u{1b}[0m")
    } else {
        ("", "")
    };
    note(&format!("{on}error:{off} {}", printable(failure.message())));
}

/// Whether standard output goes to a person.
pub(crate) fn output_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether standard error goes to a person.
pub(crate) fn notes_are_read() -> bool {
    io::stderr().is_terminal()
}

/// Awaits `work`; if that takes longer than a second and a person watches, says so on one line that
/// goes away again.
pub(crate) async fn progress<T>(what: &str, work: impl Future<Output = T>) -> T {
    progress_of(|| what.to_owned(), work).await
}

/// The same for work whose parts have names: `what` is asked each time the line is written.
pub(crate) async fn progress_of<T>(what: impl Fn() -> String, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let begun = Instant::now();
    let mut next = begun + PROGRESS_AFTER;
    let mut shown = false;
    loop {
        tokio::select! {
            result = &mut work => {
                if shown {
                    redraw("");
                }
                return result;
            }
            () = tokio::time::sleep_until(next) => {
                if notes_are_read() {
                    shown = true;
                    redraw(&format!("{} … {} s", what(), begun.elapsed().as_secs()));
                }
                next = Instant::now() + PROGRESS_EVERY;
            }
        }
    }
}

/// Replaces the line that the cursor is on.
fn redraw(line: &str) {
    let mut output = io::stderr().lock();
    let _ = write!(output, "\r\u{1b}[2K{line}").and_then(|()| output.flush());
}

/// `text` without what could steer a terminal: guests and peers choose some of what is printed.
pub(crate) fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Colour only for people who did not ask to be spared (<https://no-color.org>).
pub(crate) fn coloured() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    notes_are_read() && !refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        assert_eq!(
            printable("a\u{1b}[2Jb\r\u{9b}c"),
            "a\\u{1b}[2Jb\\u{d}\\u{9b}c"
        );
        assert_eq!(printable("tab\tline\nä"), "tab\tline\nä");
    }
}
