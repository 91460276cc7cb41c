//! Whether a command of a document exists: program, subcommand path, options.

use super::help::Help;
use crate::failure::Failure;

/// Programs that readers have; what they are told to do with them is not checked.
const PLAIN_PROGRAMS: &[&str] = &[
    "cat", "cd", "curl", "echo", "git", "jq", "ls", "rustup", "sleep",
];

/// Subcommands of cargo that need no further check.
const PLAIN_CARGO: &[&str] = &[
    "build", "clippy", "deny", "doc", "fmt", "install", "nextest", "test", "tree",
];

/// What documents may name.
pub(super) struct Known<'a> {
    /// The help page of `nexus` with these subcommands.
    pub(super) nexus_help: &'a dyn Fn(&[&str]) -> Result<String, Failure>,
    pub(super) benches: Vec<&'a str>,
    pub(super) has_task: fn(&str) -> bool,
    /// Whether a path exists from the root of the repository.
    pub(super) has_file: &'a dyn Fn(&str) -> bool,
}

/// Checks one command.
///
/// # Errors
/// What is not there, and what is.
pub(super) fn check(words: &[String], known: &Known<'_>) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["nexus" | "./target/release/nexus", rest @ ..] => nexus(rest, known),
        ["cargo", "run", "--release", "--", rest @ ..] => nexus(rest, known),
        ["cargo", "xtask", task] if (known.has_task)(task) => Ok(()),
        ["cargo", "xtask", rest @ ..] => {
            Err(format!("`cargo xtask {}` does not exist", rest.join(" ")))
        }
        ["cargo", "bench", rest @ ..] => bench(rest, known),
        ["cargo", command, ..] if PLAIN_CARGO.contains(command) => Ok(()),
        ["cargo", rest @ ..] => Err(format!(
            "`cargo {}` is not a command that these checks know; see PLAIN_CARGO in xtask",
            rest.join(" ")
        )),
        ["bash" | "sh", script, ..] if (known.has_file)(script) => Ok(()),
        ["bash" | "sh", script, ..] => Err(format!("there is no script `{script}`")),
        [program, ..] if PLAIN_PROGRAMS.contains(program) => Ok(()),
        [program, ..] => Err(format!(
            "`{program}` is not a program that these checks know; see PLAIN_PROGRAMS in xtask"
        )),
        [] => Ok(()),
    }
}

fn bench(words: &[&str], known: &Known<'_>) -> Result<(), String> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let name = match word.strip_prefix("--bench") {
            Some("") => rest.next().copied(),
            Some(joined) => joined.strip_prefix('='),
            None if *word == "--" => break,
            None => continue,
        };
        let name = name.ok_or_else(|| format!("`{word}` names no bench"))?;
        if !known.benches.contains(&name) {
            return Err(format!(
                "there is no bench `{name}`; there are {:?}",
                known.benches
            ));
        }
    }
    Ok(())
}

/// Follows the words from help page to help page.
fn nexus(words: &[&str], known: &Known<'_>) -> Result<(), String> {
    let mut path: Vec<&str> = Vec::new();
    let mut help = page(&path, known)?;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let shown = || {
            ["nexus"]
                .iter()
                .chain(&path)
                .copied()
                .collect::<Vec<_>>()
                .join(" ")
        };
        if *word == "--" {
            break;
        }
        if word.len() > 1 && word.starts_with('-') {
            let (name, value) = match word.split_once('=') {
                Some((name, _)) => (name, true),
                None => (*word, false),
            };
            let takes_value = help
                .option_takes_value(name)
                .ok_or_else(|| format!("`{}` has no option `{name}`", shown()))?;
            if takes_value && !value && rest.next().is_none() {
                return Err(format!("`{} {name}` lacks its value", shown()));
            }
        } else if help.has_subcommands() {
            if !help.has_subcommand(word) {
                return Err(format!(
                    "`{}` has no subcommand `{word}`; it has {}",
                    shown(),
                    help.subcommands()
                ));
            }
            path.push(word);
            help = page(&path, known)?;
        }
    }
    Ok(())
}

fn page(path: &[&str], known: &Known<'_>) -> Result<Help, String> {
    match (known.nexus_help)(path) {
        Ok(text) => Ok(Help::parse(&text)),
        Err(failure) => Err(format!(
            "no help page of nexus {}: {failure}",
            path.join(" ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(path: &[&str]) -> Result<String, Failure> {
        Ok(match path {
            [] => "Commands:\n  up  Start\n  node  Nodes\n\nOptions:\n  --data <DIR>  Where\n",
            ["up"] => "Options:\n  --demo  Demo\n  --data <DIR>  Where\n",
            ["node"] => "Commands:\n  status  Show\n\nOptions:\n  -h, --help  Print\n",
            ["node", "status"] => "Options:\n  -o, --output <FORMAT>  How\n",
            _ => return Err(Failure::new("unexpected")),
        }
        .to_owned())
    }

    fn verdict(line: &str) -> Result<(), String> {
        let known = Known {
            nexus_help: &help,
            benches: vec!["invoke"],
            has_task: |name| name == "test",
            has_file: &|path| path == ".ci/run",
        };
        check(
            &line.split(' ').map(str::to_owned).collect::<Vec<_>>(),
            &known,
        )
    }

    #[test]
    fn existing_commands_pass() {
        for line in [
            "nexus up --demo",
            "cargo run --release -- up --data=/tmp/x --demo",
            "nexus --data up node status -o json",
            "nexus node status",
            "cargo xtask test",
            "cargo bench --bench invoke -- --quick",
            "cargo bench -p x",
            "bash .ci/run",
            "curl -s http://localhost",
        ] {
            assert_eq!(verdict(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn missing_parts_are_named() {
        for (line, said) in [
            (
                "nexus down",
                "`nexus` has no subcommand `down`; it has up, node",
            ),
            ("nexus up --dem", "`nexus up` has no option `--dem`"),
            ("nexus node stats", "`nexus node` has no subcommand `stats`"),
            ("nexus node status -o", "lacks its value"),
            ("cargo xtask fly", "`cargo xtask fly` does not exist"),
            ("cargo bench --bench fly", "there is no bench `fly`"),
            ("cargo fly", "PLAIN_CARGO"),
            ("bash missing", "no script `missing`"),
            ("fly me", "PLAIN_PROGRAMS"),
        ] {
            let problem = verdict(line).unwrap_err();
            assert!(problem.contains(said), "{line}: {problem}");
        }
    }
}
