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
