//! `cargo xtask fuzz [--seconds N] [TARGET...]`: builds `tests/fuzz` instrumented, runs its targets in
//! turn, says what they reached, and stops at the first that breaks a rule.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;
use crate::process;
use crate::project::Project;

/// How long each target runs unless told otherwise.
const SECONDS: u32 = 5;
/// An input that takes longer than this many seconds hangs a decoder.
const HANG_SECONDS: u32 = 2;
/// More memory than this means that a decoder believed a length: the largest legal input has a few MiB,
/// the engine and its corpus take the rest.
const MEMORY_MIB: u32 = 768;
/// The platform is named so that build scripts are not instrumented.
const PLATFORM: &str = match cfg!(target_arch = "aarch64") {
    true => "aarch64-unknown-linux-gnu",
    false => "x86_64-unknown-linux-gnu",
};
/// What the engine needs of the compiler: counters of blocks and the operands of comparisons.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    seconds: u32,
    targets: Vec<String>,
}

/// What one run reached.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reached {
    executions: u64,
    edges: u64,
}

/// Runs the chosen targets, or all.
pub(crate) fn run(project: &Project, words: &[String]) -> Result<String, Failure> {
    let wanted = wanted(words)?;
    if !process::works("c++", &["--version"]) {
        return Err(
            Failure::new("the engine, libFuzzer, is C++ and there is no `c++` here").advise(
                "install a C++ compiler (g++); `cargo xtask test` runs the targets without one",
            ),
        );
    }
    let folder = project.target().join("fuzz");
    let program = build(project, &folder)?;
    let names = process::read(&mut Command::new(&program))?;
    let names: Vec<_> = names.lines().map(str::to_owned).collect();
    let unknown = wanted.targets.iter().find(|name| !names.contains(name));
    if let Some(unknown) = unknown {
        let known = names.join(", ");
        return Err(Failure::new(format!(
            "there is no target `{unknown}`: choose of {known}"
        )));
    }
    let chosen = if wanted.targets.is_empty() {
        names
    } else {
        wanted.targets
    };
    let mut executions = 0;
    for name in &chosen {
        let reached = fuzz(&program, &folder, name, wanted.seconds)?;
        println!(
            "{name:<24} {:>9} executions, {:>6} edges",
            reached.executions, reached.edges
        );
        executions += reached.executions;
    }
    Ok(format!("{} targets, {executions} executions", chosen.len()))
}

fn wanted(words: &[String]) -> Result<Wanted, Failure> {
    let mut wanted = Wanted {
        seconds: SECONDS,
        targets: Vec::new(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word != "--seconds" {
            wanted.targets.push(word.clone());
            continue;
        }
        let seconds = words.next().and_then(|number| number.parse().ok());
        let usage = || Failure::new("usage: cargo xtask fuzz [--seconds N] [TARGET...]");
        wanted.seconds = seconds.filter(|seconds| *seconds > 0).ok_or_else(usage)?;
    }
    Ok(wanted)
}

/// The instrumented program. It has a target folder of its own: nothing else is built like it.
fn build(project: &Project, folder: &Path) -> Result<PathBuf, Failure> {
    let mut build = project.cargo();
    build
        .args([
            "build",
            "-p",
            "hypermesh-fuzz",
            "--features",
            "engine",
            "--bin",
            "fuzz",
        ])
        .args(["--target", PLATFORM, "--target-dir"])
        .arg(folder)
        // Between flags stands this byte, as cargo documents.
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    process::show("cargo build, instrumented", &mut build)?;
    Ok(folder.join(PLATFORM).join("debug/fuzz"))
}

fn fuzz(program: &Path, folder: &Path, name: &str, seconds: u32) -> Result<Reached, Failure> {
    let (corpus, crashes) = (
        folder.join("corpus").join(name),
        folder.join("crashes").join(name),
    );
    for made in [&corpus, &crashes] {
        fs::create_dir_all(made).map_err(|error| Failure::file("create", made, &error))?;
    }
    let mut run = Command::new(program);
    run.arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={HANG_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg("-print_final_stats=1")
        .env("FUZZ_TARGET", name)
        .env("FUZZ_SEEDS", &corpus);
    let output = process::output(&mut run)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(reached(&said));
    }
    let written = said
        .lines()
        .find_map(|line| line.split_once("Test unit written to "));
    let input = written.map_or("the input above", |(_, path)| path);
    let cause = said.lines().find(|line| line.contains("panicked at"));
    eprintln!("{said}");
    Err(Failure::new(format!(
        "{name} broke a rule ({}); again: FUZZ_TARGET={name} {} {input}",
        cause.unwrap_or("see above"),
        program.display(),
    )))
}

/// Reads the engine's report.
fn reached(said: &str) -> Reached {
    let number = |text: &str| text.split_whitespace().next()?.parse().ok();
    let after = |mark: &str| {
        let mut lines = said.lines().rev();
        lines.find_map(|line| number(line.split_once(mark)?.1))
    };
    Reached {
        executions: after("number_of_executed_units:").unwrap_or(0),
        edges: after(" cov: ").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn seconds_and_targets_are_read_and_nonsense_is_refused() {
        let wanted = |text: &str| wanted(&words(text)).ok();
        assert_eq!(wanted("").unwrap().seconds, SECONDS);
        let both = wanted("stoq_header --seconds 60 types_words").unwrap();
        assert_eq!(both.seconds, 60);
        assert_eq!(both.targets, words("stoq_header types_words"));
        assert_eq!(wanted("--seconds"), None);
        assert_eq!(wanted("--seconds 0"), None);
        assert_eq!(wanted("--seconds soon"), None);
    }

    #[test]
    fn the_report_of_the_engine_is_read() {
        let said = "#2\tINITED cov: 40 ft: 41 corp: 1/1b\n#9\tDONE   cov: 57 ft: 80 corp: 5/9b\n\
                    stat::number_of_executed_units: 4321\n";
        let expected = Reached {
            executions: 4_321,
            edges: 57,
        };
        assert_eq!(reached(said), expected);
        assert_eq!(reached(""), Reached::default());
    }
}
