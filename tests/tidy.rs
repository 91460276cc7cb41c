//! The rules of the house that a compiler does not check, held against the repository itself.
//!
//! Each rule is a function from text to offences, tested beside it. A failing test lists every
//! offender at once, with its place and what to do.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

#[path = "tidy/decoders.rs"]
mod decoders;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/edges.rs"]
mod edges;
#[path = "tidy/offence.rs"]
mod offence;
#[path = "tidy/repository.rs"]
mod repository;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/words.rs"]
mod words;

use offence::{Offence, report};
use repository::{Repository, SourceFile};

/// Folders whose Rust files keep to the limits on size.
const SIZED: &[&str] = &[
    "benches/",
    "examples/",
    "guest-sdk/",
    "host/",
    "tests/",
    "xtask/",
];

#[test]
fn crates_import_only_what_the_table_allows() {
    report(edges::offences(&Repository::open().metadata()));
}

#[test]
fn files_and_functions_stay_small() {
    let sized = |file: &SourceFile| SIZED.iter().any(|folder| file.path.starts_with(folder));
    report(each_rust_file(|file| {
        if sized(file) {
            sizes::offences(file)
        } else {
            Vec::new()
        }
    }));
}

#[test]
fn every_rust_file_opens_with_what_it_owns() {
    report(each_rust_file(|file| {
        words::missing_header(file).into_iter().collect()
    }));
}

#[test]
fn no_unfinished_code_and_no_unexplained_exception() {
    report(each_rust_file(words::in_code));
}

#[test]
fn no_leftovers_in_text() {
    let repository = Repository::open();
    report(
        repository
            .text_files()
            .iter()
            .flat_map(words::in_text)
            .collect(),
    );
}

#[test]
fn every_decoder_has_a_fuzz_target() {
    report(decoders::offences(&Repository::open().text_files()));
}

#[test]
fn readme_has_exactly_the_two_headline_commands() {
    report(documents::readme(
        Repository::open().read("README.md").as_deref(),
    ));
}

#[test]
fn architecture_names_every_crate() {
    let repository = Repository::open();
    let crates = repository.crate_folders();
    report(documents::architecture(
        repository.read("host/ARCHITECTURE.md").as_deref(),
        &crates,
    ));
}

fn each_rust_file(rule: impl Fn(&SourceFile) -> Vec<Offence>) -> Vec<Offence> {
    let files = Repository::open().text_files();
    files
        .iter()
        .filter(|file| file.is_rust())
        .flat_map(rule)
        .collect()
}
