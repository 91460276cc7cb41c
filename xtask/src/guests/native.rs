//! The guest SDK and the guests that use it, compiled for this machine: lints and unit tests.

use std::path::Path;

use super::examples;
use crate::failure::Failure;
use crate::process;
use crate::project::Project;

/// The SDK, from the root of the repository.
const SDK: &str = "guest-sdk/rust";

/// Checks the SDK with all its features, then runs the unit tests of every guest that uses it.
pub(crate) fn test(project: &Project) -> Result<String, Failure> {
    let sdk = project.root().join(SDK);
    let steps: [&[&str]; 3] = [
        &["fmt", "--check"],
        &[
            "clippy",
            "--quiet",
            "--locked",
            "--all-targets",
            "--features",
            "log",
            "--",
            "-D",
            "warnings",
        ],
        &["test", "--quiet", "--locked", "--features", "log"],
    ];
    for words in steps {
        run(project, &sdk, words)?;
    }
    let mut tested = 0;
    for folder in examples::folders(project)? {
        if uses_the_sdk(&folder) {
            run(project, &folder, &["test", "--quiet", "--locked"])?;
            tested += 1;
        }
    }
    Ok(format!("the guest SDK and {tested} guests pass natively"))
}

fn run(project: &Project, folder: &Path, words: &[&str]) -> Result<(), Failure> {
    let mut cargo = project.cargo();
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let what = format!("cargo {} of {name}", words.first().unwrap_or(&""));
    cargo
        .current_dir(folder)
        .args(words)
        // One folder for all: they have the same dependencies.
        .env("CARGO_TARGET_DIR", project.guests().join("native"));
    process::show(&what, &mut cargo)
}

fn uses_the_sdk(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|text| text.contains("hypermesh-guest"))
}
