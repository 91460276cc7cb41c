//! Running other programs: what is shown of them, and what is said when they fail.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use crate::failure::Failure;

/// Runs `command` with its output on ours, with a heading before and its duration after.
pub(crate) fn show(what: &str, command: &mut Command) -> Result<(), Failure> {
    println!("xtask: {what}");
    let started = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::new(format!("cannot start {}: {error}", name(command))))?;
    if !status.success() {
        return Err(Failure::new(format!(
            "{what}: {} ended with {status}",
            name(command)
        )));
    }
    println!("xtask: {what}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs `command` silently and returns what it printed; its error output appears if it fails.
pub(crate) fn read(command: &mut Command) -> Result<String, Failure> {
    let output = output(command)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "{} ended with {}: {}",
            name(command),
            output.status,
            last_lines(&said)
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `program` with `arguments` can be started here and succeeds.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    output(Command::new(program).args(arguments)).is_ok_and(|output| output.status.success())
}

/// Runs `command` silently, whatever its end.
pub(crate) fn output(command: &mut Command) -> Result<Output, Failure> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::new(format!("cannot start {}: {error}", name(command))))
}

fn name(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args().take(2));
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    format!("`{}`", words.join(" "))
}

/// The end of a long error output: the cause stands there, after pages of progress.
fn last_lines(text: &str) -> String {
    const LINES: usize = 20;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    lines
        .into_iter()
        .skip(skipped)
        .collect::<Vec<_>>()
        .join("\n")
}
