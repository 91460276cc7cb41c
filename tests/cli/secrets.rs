//! `nexus secret`: values go in and never come out; a component waits for its secrets.

use std::io::Write as _;
use std::process::Stdio;

use crate::harness::{Fabric, binary};

const VALUE: &str = "hunter2-do-not-print";

fn set_from_input(fabric: &Fabric, name: &str) -> String {
    let mut command = binary();
    command
        .args(["secret", "set", name, "--data"])
        .arg(fabric.data());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(VALUE.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    format!("{output:?}")
}

#[test]
fn secrets_are_set_listed_by_name_and_removed() {
    let fabric = Fabric::start();
    let mut said = set_from_input(&fabric, "token");
    let file = fabric.folder.path().join("value.txt");
    std::fs::write(&file, VALUE).unwrap();
    said += &fabric
        .nexus(&[
            "secret",
            "set",
            "other",
            "--from-file",
            file.to_str().unwrap(),
        ])
        .ok();
    let listed = fabric.nexus(&["secret", "list"]).ok();
    assert_eq!(listed, "other\ntoken\n");
    said += &listed;
    said += &fabric.nexus(&["secret", "list", "-o", "json"]).ok();
    said += &fabric.nexus(&["secret", "rm", "other"]).ok();
    said += &fabric.nexus(&["secret", "rm", "other"]).failed(4);
    assert_eq!(fabric.nexus(&["secret", "list"]).ok(), "token\n");
    assert!(!said.contains(VALUE), "{said}");
}

#[test]
fn a_component_waits_for_its_secrets() {
    let fabric = Fabric::start();
    let wasm = fabric.folder.path().join("empty.wat");
    std::fs::write(&wasm, "(component)").unwrap();
    let manifest = fabric.folder.path().join("app.toml");
    let text = "name = \"app\"\n[[component]]\nname = \"app\"\nsource = \"empty.wat\"\nsecrets = [\"token\"]\n";
    std::fs::write(&manifest, text).unwrap();
    let path = manifest.to_str().unwrap();
    let refused = fabric.nexus(&["deploy", path]).failed(5);
    assert!(refused.contains("nexus secret set token"), "{refused}");
    set_from_input(&fabric, "token");
    let mut said = fabric.nexus(&["deploy", path]).ok();
    said += &fabric.nexus(&["describe", "app", "-o", "json"]).ok();
    said += &fabric.nexus(&["logs", "app"]).ok();
    assert!(!said.contains(VALUE), "{said}");
}

const READER: &str = include_str!("../../host/runtime/tests/guests/config.wat");
const LIBC: &str = include_str!("../../host/runtime/tests/guests/libc.wat");

/// Files below `folder` that hold the value, by path.
fn holders(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            holders(&path, found);
        } else if entry.file_type().unwrap().is_file() {
            let bytes = std::fs::read(&path).unwrap();
            if bytes
                .windows(VALUE.len())
                .any(|piece| piece == VALUE.as_bytes())
            {
                found.push(path);
            }
        }
    }
}

#[test]
fn a_secret_is_shown_to_its_component_and_to_nobody_else() {
    let fabric = Fabric::start();
    fabric.write("reader.wat", &READER.replace(";;{libc}", LIBC));
    let manifest = |name: &str, secrets: &str| {
        format!(
            "name = \"{name}\"\n[[component]]\nname = \"{name}\"\nsource = \"reader.wat\"\n{secrets}"
        )
    };
    fabric.write("app.toml", &manifest("app", "secrets = [\"token\"]\n"));
    fabric.write("other.toml", &manifest("other", ""));
    set_from_input(&fabric, "token");
    let mut said = fabric.nexus(&["deploy", "app.toml"]).ok();
    said += &fabric.nexus(&["deploy", "other.toml"]).ok();
    let get = |name: &str, export: &str| fabric.nexus(&["invoke", name, export, "\"token\""]).ok();
    for export in ["get", "get-draft"] {
        assert_eq!(get("app", export), format!("some(\"{VALUE}\")\n"));
        assert_eq!(get("other", export), "none\n");
    }
    said += &fabric.nexus(&["describe", "app", "-o", "json"]).ok();
    said += &fabric.nexus(&["ps", "-o", "json"]).ok();
    said += &fabric.nexus(&["logs", "app"]).ok();
    said += &fabric.nexus(&["node", "status", "-o", "json"]).ok();
    said += &fabric.log();
    assert!(!said.contains(VALUE), "{said}");
    let folder = fabric.stop();
    let mut found = Vec::new();
    holders(folder.path(), &mut found);
    assert!(!found.is_empty(), "the node keeps its secrets");
    let secrets = folder.path().join("data/secrets");
    assert!(
        found.iter().all(|path| path.starts_with(&secrets)),
        "{found:?}"
    );
}

#[test]
fn a_start_without_its_secret_fails_with_the_command_that_sets_it() {
    let fabric = Fabric::start();
    fabric.write("reader.wat", &READER.replace(";;{libc}", LIBC));
    fabric.write(
        "app.toml",
        "name = \"app\"\n[[component]]\nname = \"app\"\nsource = \"reader.wat\"\nsecrets = [\"token\"]\n",
    );
    set_from_input(&fabric, "token");
    fabric.nexus(&["deploy", "app.toml"]).ok();
    fabric.nexus(&["secret", "rm", "token"]).ok();
    let ran = fabric.nexus(&["restart", "app"]);
    let described = fabric.nexus(&["describe", "app"]);
    assert_ne!(ran.code, 0, "{ran:#?} {described:#?}");
    let said = format!("{ran:?}{described:?}");
    assert!(said.contains("token") && !said.contains(VALUE), "{said}");
}
