//! `cargo xtask simulate [--seeds N] [--from S] [--nodes n]`, or `--traffic n [--followers m]`: builds
//! the simulator for release and hands the words on. It says which seed failed, and with which scenario.

use crate::failure::Failure;
use crate::process;
use crate::project::Project;

/// The words that the simulator takes, each with a number behind it.
const OPTIONS: [&str; 5] = ["--seeds", "--from", "--nodes", "--traffic", "--followers"];

/// Runs the simulator with `words`.
pub(crate) fn run(project: &Project, words: &[String]) -> Result<String, Failure> {
    check(words)?;
    let mut simulate = project.cargo();
    simulate.args([
        "run",
        "--release",
        "-p",
        "hypermesh-sim",
        "--bin",
        "simulate",
        "--",
    ]);
    process::show("simulate", simulate.args(words))?;
    Ok("no checker objected".to_owned())
}

/// Whether the simulator will understand `words`: a release build is a long way to a wrong word.
fn check(words: &[String]) -> Result<(), Failure> {
    let usage = || {
        Failure::new(
            "usage: cargo xtask simulate [--seeds N] [--from S] [--nodes n] | --traffic n [--followers m]",
        )
    };
    for pair in words.chunks(2) {
        match pair {
            [option, number]
                if OPTIONS.contains(&option.as_str()) && number.parse::<u64>().is_ok() => {}
            _ => return Err(usage()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_words_are_refused_before_anything_is_built() {
        let check = |text: &str| {
            let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            check(&words).is_ok()
        };
        assert!(check(""));
        assert!(check("--seeds 5 --from 9 --nodes 7"));
        assert!(!check("--seeds"));
        assert!(!check("--seeds many"));
        assert!(!check("--speed 5"));
    }
}
