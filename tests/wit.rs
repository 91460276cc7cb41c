//! The contracts of `wit/`: they parse, every item says what it means, the pages about them are true.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::{Docs, PackageId, Resolve, TypeDefKind, UnresolvedPackageGroup};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Sub-folders of `wit/` or of `wit/deps/`, sorted.
fn folders(below: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(below)).expect("the folder is there");
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "deps")
        .collect();
    names.sort();
    names
}

fn parse(folder: &Path) -> UnresolvedPackageGroup {
    UnresolvedPackageGroup::parse_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error:?}", folder.display()))
}

/// One of our packages with everything that it names.
fn resolved(name: &str) -> (Resolve, PackageId) {
    let deps = folders("wit/deps")
        .iter()
        .map(|dep| parse(&root().join("wit/deps").join(dep)))
        .collect();
    let main = parse(&root().join("wit").join(name));
    let mut resolve = Resolve::default();
    let package = resolve
        .push_groups(main, deps)
        .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    (resolve, package)
}

#[test]
fn every_item_of_ours_says_what_it_means() {
    let mut silent = Vec::new();
    for name in folders("wit") {
        let (resolve, package) = resolved(&name);
        let package = &resolve.packages[package];
        let mut check = |docs: &Docs, item: String| {
            if docs
                .contents
                .as_deref()
                .is_none_or(|text| text.trim().is_empty())
            {
                silent.push(format!("{}: {item}", package.name));
            }
        };
        for (world, id) in &package.worlds {
            check(&resolve.worlds[*id].docs, format!("world {world}"));
        }
        for (interface, id) in &package.interfaces {
            let found = &resolve.interfaces[*id];
            check(&found.docs, format!("interface {interface}"));
            for (function, found) in &found.functions {
                check(&found.docs, format!("{interface}.{function}"));
            }
            for (kind, id) in &found.types {
                let found = &resolve.types[*id];
                let item = format!("{interface}.{kind}");
                check(&found.docs, item.clone());
                match &found.kind {
                    TypeDefKind::Record(of) => {
                        of.fields
                            .iter()
                            .for_each(|part| check(&part.docs, format!("{item}.{}", part.name)));
                    }
                    TypeDefKind::Variant(of) => {
                        of.cases
                            .iter()
                            .for_each(|part| check(&part.docs, format!("{item}.{}", part.name)));
                    }
                    TypeDefKind::Enum(of) => {
                        of.cases
                            .iter()
                            .for_each(|part| check(&part.docs, format!("{item}.{}", part.name)));
                    }
                    TypeDefKind::Flags(of) => {
                        of.flags
                            .iter()
                            .for_each(|part| check(&part.docs, format!("{item}.{}", part.name)));
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(silent.is_empty(), "without a doc comment: {silent:#?}");
}

#[test]
fn each_package_has_its_worlds_and_one_interface_per_file() {
    for name in folders("wit") {
        let (resolve, package) = resolved(&name);
        for interface in resolve.packages[package].interfaces.keys() {
            let file = root()
                .join("wit")
                .join(&name)
                .join(format!("{interface}.wit"));
            assert!(file.is_file(), "{} is missing", file.display());
        }
    }
    let (resolve, package) = resolved("workload");
    for world in ["http-service", "worker", "command", "library", "stateful"] {
        assert!(
            resolve.packages[package].worlds.contains_key(world),
            "{world}"
        );
    }
}

/// Rows of the tables of a page, as cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join(page)).expect("the page is there");
    text.lines()
        .filter(|line| {
            line.starts_with("| ")
                && !line.starts_with("| package ")
                && !line.starts_with("| folder ")
        })
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

#[test]
fn the_table_of_our_packages_is_true() {
    let rows = rows("wit/README.md");
    let mut said = Vec::new();
    for row in &rows {
        let [package, version, stability, file] = row.as_slice() else {
            panic!("a row of four cells, not {row:?}");
        };
        let named = package.split(['[', ']']).nth(1).unwrap_or(package);
        let folder = named.rsplit(':').next().unwrap_or(named);
        let (resolve, id) = resolved(folder);
        assert_eq!(
            resolve.packages[id].name.to_string(),
            format!("{named}@{version}")
        );
        assert!(root().join(file).is_file(), "{file} does not exist");
        assert!(!stability.is_empty());
        said.push(folder.to_owned());
    }
    said.sort();
    assert_eq!(
        said,
        folders("wit"),
        "wit/README.md names every package once"
    );
}

#[test]
fn the_table_of_the_packages_of_others_is_complete() {
    let mut said: Vec<String> = rows("wit/deps/README.md")
        .iter()
        .filter_map(|row| row.first())
        .map(|cell| cell.trim_matches('`').to_owned())
        .collect();
    said.sort();
    assert_eq!(said, folders("wit/deps"));
    for folder in said {
        let parsed = parse(&root().join("wit/deps").join(&folder));
        let name = parsed.main.name.to_string();
        assert_eq!(name.replace([':', '@'], "-"), folder);
    }
}
