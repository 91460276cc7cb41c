//! A secret that a guest reads is nowhere else: not in any answer of the admin API, not in the
//! metrics, not in a file of the data directory beside the one that keeps secrets.

use std::path::{Path, PathBuf};

use crate::admin_api::ENDLESS;
use crate::admin_api::ask;
use crate::harness::Fabric;

const VALUE: &str = "correct-horse-battery-staple-41";
const READER: &str = include_str!("../../host/runtime/tests/guests/config.wat");
const LIBC: &str = include_str!("../../host/runtime/tests/guests/libc.wat");

/// The value as it is and as programs like to write bytes down.
fn forms() -> Vec<Vec<u8>> {
    let hex: String = VALUE.bytes().map(|byte| format!("{byte:02x}")).collect();
    let listed: Vec<String> = VALUE.bytes().map(|byte| byte.to_string()).collect();
    let reversed: String = VALUE.chars().rev().collect();
    // Base64 of the value at each of the three places that it can begin at, without its ends.
    let base64 = [
        "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZS00",
        "vcnJlY3QtaG9yc2UtYmF0dGVyeS1zdGFwbGUtND",
        "jb3JyZWN0LWhvcnNlLWJhdHRlcnktc3RhcGxlLTQx",
    ];
    let texts = [VALUE.to_owned(), hex, listed.join(","), reversed];
    let texts = texts
        .into_iter()
        .chain(base64.into_iter().map(str::to_owned));
    texts.map(String::into_bytes).collect()
}

fn holds(bytes: &[u8]) -> bool {
    forms()
        .iter()
        .any(|form| bytes.windows(form.len()).any(|piece| piece == form))
}

/// Files below `folder` that hold the value in any form.
fn holders(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(holders(&path));
        } else if kind.is_file() && holds(&std::fs::read(&path).unwrap_or_default()) {
            found.push(path);
        }
    }
    found
}

/// Everything that the admin API says when it is asked for it, and the path of each answer.
fn answers(fabric: &Fabric) -> Vec<(String, String)> {
    let (_, document) = ask(fabric, "GET", "/v1/openapi.json", "");
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let readable = paths
        .iter()
        .filter(|(path, item)| item.get("get").is_some() && *path != ENDLESS)
        .map(|(path, _)| path.replace("{name}", "app"));
    let answer = |path: String| {
        let (status, text) = ask(fabric, "GET", &path, "");
        assert_ne!(status, 405, "{path}");
        (path, text)
    };
    readable
        .chain(["/metrics".to_owned()])
        .map(answer)
        .collect()
}

#[test]
fn a_secret_is_in_no_answer_and_no_file_but_its_own() {
    let fabric = Fabric::start();
    fabric.write("reader.wat", &READER.replace(";;{libc}", LIBC));
    fabric.write("value", VALUE);
    fabric.write(
        "app.toml",
        "name = \"app\"\n[[component]]\nname = \"app\"\nsource = \"reader.wat\"\n\
         secrets = [\"token\"]\n",
    );
    fabric
        .nexus(&["secret", "set", "token", "--from-file", "value"])
        .ok();
    fabric.nexus(&["deploy", "app.toml"]).ok();
    let read = fabric.nexus(&["invoke", "app", "get", "\"token\""]).ok();
    assert_eq!(read, format!("some(\"{VALUE}\")\n"));
    // Calls that fail are told of in more places.
    fabric
        .nexus(&["invoke", "app", "get", "\"token\"", "1"])
        .failed(2);
    fabric
        .nexus(&["invoke", "app", "has-long", "20000000"])
        .failed(7);
    let said = answers(&fabric);
    for path in ["/v1/workloads/app", "/metrics", "/v1/secrets"] {
        let found = said.iter().find(|(asked, _)| asked == path);
        let (_, text) = found.unwrap_or_else(|| panic!("{path} was not asked: {said:?}"));
        assert!(text.contains("app") || text.contains("token"), "{text}");
    }
    for (path, text) in &said {
        assert!(!holds(text.as_bytes()), "{path}: {text}");
    }
    assert!(!holds(fabric.log().as_bytes()), "{}", fabric.log());
    for is_running in [true, false] {
        let found = holders(&fabric.data());
        let secrets = fabric.data().join("secrets");
        assert!(!found.is_empty(), "the node keeps its secrets");
        let elsewhere = |path: &&PathBuf| !path.starts_with(&secrets);
        let elsewhere: Vec<_> = found.iter().filter(elsewhere).collect();
        assert!(elsewhere.is_empty(), "{elsewhere:?}, running: {is_running}");
        if is_running {
            fabric.process.signal(rustix::process::Signal::INT);
            crate::harness::eventually("the node is gone", || {
                (fabric.nexus(&["node", "status"]).code == 3).then_some(())
            });
        }
    }
}
