//! `cargo xtask test`: guests, tests, doc tests and documents, stopping at the first failure.

use std::path::Path;

use crate::failure::Failure;
use crate::project::Project;
use crate::{foreign, guests, process, readme};

/// Tells tests where the example guests lie.
const GUESTS_VARIABLE: &str = "HYPERMESH_GUESTS";

/// Tells tests where the components of other people lie. Not set if no registry gave any.
const FOREIGN_VARIABLE: &str = "HYPERMESH_FOREIGN";

/// Runs everything that must hold before a change lands.
pub(crate) fn run(project: &Project) -> Result<String, Failure> {
    let guests = guests::run(project)?;
    let natively = guests::test_natively(project)?;
    let foreign = foreign::prepare()?;
    build_host(project)?;
    let runner = run_tests(project, foreign.as_deref())?;
    let mut doc_tests = project.cargo();
    doc_tests.args(["test", "--doc", "--workspace"]);
    process::show(
        "cargo test --doc",
        doc_tests.env(GUESTS_VARIABLE, project.guests()),
    )?;
    let documents = readme::check(project)?;
    Ok(format!(
        "{guests}; {natively}; {runner} and doc tests passed; {documents}"
    ))
}

/// Builds every program and test with the features that the tests see, so that nothing is compiled
/// twice and `nexus` is there for tests that start it.
pub(crate) fn build_host(project: &Project) -> Result<(), Failure> {
    let mut build = project.cargo();
    process::show(
        "cargo build",
        build.args(["build", "--workspace", "--bins", "--tests"]),
    )
}

fn run_tests(project: &Project, foreign: Option<&Path>) -> Result<&'static str, Failure> {
    let mut tests = project.cargo();
    let has_nextest = process::works("cargo-nextest", &["nextest", "--version"]);
    let (runner, words): (_, &[_]) = if has_nextest {
        (
            "cargo nextest",
            &["nextest", "run", "--workspace", "--no-fail-fast"],
        )
    } else {
        println!("xtask: cargo-nextest is not installed; using cargo test");
        (
            "cargo test",
            &["test", "--workspace", "--all-targets", "--no-fail-fast"],
        )
    };
    tests.args(words).env(GUESTS_VARIABLE, project.guests());
    if let Some(foreign) = foreign {
        tests.env(FOREIGN_VARIABLE, foreign);
    }
    process::show(runner, &mut tests)?;
    Ok(runner)
}
