//! Documents keep their word: their commands and links exist.

mod blocks;
mod commands;
mod help;
mod links;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::failure::Failure;
use crate::project::Project;
use crate::{process, suite};
use commands::Known;

/// Documents whose relative links are checked.
const LINKED: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "host/ARCHITECTURE.md",
    "SECURITY.md",
];

/// The document whose commands are checked.
const COMMANDS: &str = "README.md";

/// `cargo xtask readme`: builds the program that the commands name, then checks.
pub(crate) fn run(project: &Project) -> Result<String, Failure> {
    suite::build_host(project)?;
    check(project)
}

/// Checks the documents against the `nexus` that was built last.
pub(crate) fn check(project: &Project) -> Result<String, Failure> {
    let text = read(project.root(), COMMANDS)?;
    let nexus = project.target().join("debug").join("nexus");
    let known = Known {
        nexus_help: &|path| {
            process::read(
                Command::new(&nexus)
                    .args(path)
                    .arg("--help")
                    .env("NO_COLOR", "1"),
            )
        },
        benches: project.targets_of_kind("bench"),
        has_task: crate::has_task,
        has_file: &|path| project.root().join(path).exists(),
    };
    let mut problems = Vec::new();
    let mut commands = 0;
    match blocks::shell_commands(&text) {
        Ok(found) => {
            for command in &found {
                commands += 1;
                if let Err(problem) = commands::check(&command.words, &known) {
                    problems.push(format!("{COMMANDS}:{}: {problem}", command.line));
                }
            }
        }
        Err(problem) => problems.push(format!("{COMMANDS}:{problem}")),
    }
    let mut links = 0;
    for document in LINKED {
        let text = read(project.root(), document)?;
        for link in links::relative(&text) {
            links += 1;
            let folder = Path::new(document).parent().unwrap_or(Path::new(""));
            if !project.root().join(folder).join(link.path).exists() {
                problems.push(format!(
                    "{document}:{}: the link `{}` leads nowhere",
                    link.line, link.path
                ));
            }
        }
    }
    if problems.is_empty() {
        return Ok(format!("{commands} commands and {links} links exist"));
    }
    Err(Failure::new(format!(
        "the documents name what is not there:\n{}",
        problems.join("\n")
    )))
}

fn read(root: &Path, document: &str) -> Result<String, Failure> {
    let path = root.join(document);
    fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))
}
