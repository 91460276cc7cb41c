//! `cargo xtask`: every chore of the repository that is more than one cargo command.
//!
//! It runs other programs and says what they did. It links nothing of the node, so that it compiles
//! in seconds before anything else exists.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to the person who ran it"
)]

mod failure;
mod fingerprint;
mod foreign;
mod fuzz;
mod guests;
mod process;
mod project;
mod readme;
mod simulate;
mod suite;

use std::process::ExitCode;
use std::time::Instant;

use failure::Failure;
use project::Project;

/// One subcommand. A new one is a new line here: the usage text and the README checks read this
/// table.
struct Task {
    name: &'static str,
    about: &'static str,
    run: Run,
}

/// How it is run.
enum Run {
    /// It takes no words.
    Plain(fn(&Project) -> Result<String, Failure>),
    /// It takes the words behind its name.
    With(fn(&Project, &[String]) -> Result<String, Failure>),
}

const TASKS: &[Task] = &[
    Task {
        name: "test",
        about: "set up the guest toolchain, build the example guests, run every test and check",
        run: Run::Plain(suite::run),
    },
    Task {
        name: "guests",
        about: "set up the guest toolchain and build the example guests",
        run: Run::Plain(guests::run),
    },
    Task {
        name: "foreign",
        about: "fetch the components of other people that tests run unchanged",
        run: Run::Plain(foreign::run),
    },
    Task {
        name: "readme",
        about: "check that the commands and links of the documents exist",
        run: Run::Plain(readme::run),
    },
    Task {
        name: "fuzz",
        about: "run the fuzz targets with coverage: [--seconds N] [TARGET...]",
        run: Run::With(fuzz::run),
    },
    Task {
        name: "simulate",
        about: "run whole fabrics under seeds: [--seeds N] [--from S] [--nodes n]",
        run: Run::With(simulate::run),
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = words.split_first() else {
        eprintln!("{}", usage());
        return ExitCode::from(2);
    };
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("xtask has no subcommand `{name}`\n{}", usage());
        return ExitCode::from(2);
    };
    if matches!(task.run, Run::Plain(_)) && !rest.is_empty() {
        eprintln!("xtask {name} takes no arguments\n{}", usage());
        return ExitCode::from(2);
    }
    let started = Instant::now();
    let run = |project: Project| match task.run {
        Run::Plain(run) => run(&project),
        Run::With(run) => run(&project, rest),
    };
    match Project::find().and_then(run) {
        Ok(summary) => {
            println!(
                "xtask {name}: ok, {summary} ({:.1} s)",
                started.elapsed().as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("xtask {name}: failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = String::from("usage: cargo xtask SUBCOMMAND");
    for Task { name, about, .. } in TASKS {
        text += &format!("\n  {name:<8} {about}");
    }
    text
}

/// Whether `cargo xtask NAME` exists, for the README checks.
fn has_task(name: &str) -> bool {
    TASKS.iter().any(|task| task.name == name)
}
