//! Guests that write on the ledger of a real node: what they wrote outlives the node's process, is
//! proven to others, and goes with its workload.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::examples::example;
use crate::guests;
use crate::harness::{Fabric, eventually};

const MANIFEST: &str = r#"
name = "scribe"

[[component]]
name = "hand"
source = "scribe.wat"

[component.capabilities]
consensus = { records = 2 }
"#;

fn scribe(fabric: &Fabric) -> String {
    let folder = fabric.folder.path();
    std::fs::write(folder.join("scribe.wat"), guests::ledger_user()).unwrap();
    let manifest = folder.join("scribe.toml");
    std::fs::write(&manifest, MANIFEST).unwrap();
    manifest.to_str().unwrap().to_owned()
}

fn call(fabric: &Fabric, export: &str, args: &[&str]) -> String {
    let words = [&["invoke", "scribe", export], args].concat();
    fabric.nexus(&words).ok().trim_end().to_owned()
}

#[test]
fn records_outlive_the_process_and_go_with_their_workload() {
    let fabric = Fabric::start();
    let manifest = scribe(&fabric);
    fabric.nexus(&["deploy", &manifest]).ok();
    let put = |fabric: &Fabric, key: &str, life: &str| {
        call(fabric, "put", &[key, "[104, 105]", life, "true"])
    };
    let first = put(&fabric, "\"a\"", "none");
    assert!(first.starts_with("ok("), "{first}");
    assert_eq!(put(&fabric, "\"a\"", "none"), "err(exists)");
    assert!(put(&fabric, "\"b\"", "some(1000)").starts_with("ok("));
    let third = put(&fabric, "\"c\"", "none");
    assert!(third.starts_with("err(quota("), "{third}");
    for (key, life) in [("\"\"", "none"), ("\"a b\"", "none"), ("\"d\"", "some(15)")] {
        let refused = put(&fabric, key, life);
        assert!(
            refused.starts_with("err(invalid("),
            "{key} {life}: {refused}"
        );
    }
    let proven = call(&fabric, "proven", &["\"a\""]);
    assert!(
        proven.contains("workload: \"scribe\", key: \"a\""),
        "{proven}"
    );
    assert!(proven.contains("value: [104, 105]"), "{proven}");
    let absent = call(&fabric, "proven", &["\"c\""]);
    assert!(
        absent.starts_with("ok(") && !absent.contains("value"),
        "{absent}"
    );
    assert!(call(&fabric, "verify", &["[1, 2, 3]"]).starts_with("err("));
    let height: u64 = call(&fabric, "height", &[]).parse().unwrap();
    let beacon = call(&fabric, "beacon", &[&format!("some({height})")]);
    assert!(
        beacon.starts_with(&format!("ok({{height: {height}, ")),
        "{beacon}"
    );
    let ahead = call(&fabric, "beacon", &["some(1000000)"]);
    assert!(ahead.starts_with("err(invalid("), "{ahead}");

    let folder = fabric.stop();
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    let found = eventually("it runs again", || {
        let ran = fabric.nexus(&["invoke", "scribe", "read", "\"a\""]);
        (ran.code == 0).then_some(ran.out)
    });
    assert!(found.contains("value: [104, 105]"), "{found}");
    assert_eq!(
        call(&fabric, "beacon", &[&format!("some({height})")]),
        beacon
    );
    assert!(call(&fabric, "delete", &["\"b\""]).starts_with("ok("));
    assert_eq!(call(&fabric, "delete", &["\"b\""]), "err(absent)");

    fabric.nexus(&["rm", "scribe"]).ok();
    fabric.nexus(&["deploy", &manifest]).ok();
    let gone = call(&fabric, "read", &["\"a\""]);
    assert!(gone.starts_with("ok(") && !gone.contains("value"), "{gone}");
    fabric.stop();
}

#[test]
fn a_component_without_the_grant_is_told_the_line() {
    let fabric = Fabric::start();
    let manifest = scribe(&fabric);
    let denied = MANIFEST.replace("consensus = { records = 2 }", "");
    std::fs::write(&manifest, denied).unwrap();
    let refused = fabric.nexus(&["deploy", &manifest]).failed(5);
    assert!(
        refused.contains("hypermesh:consensus/ledger@0.1.0"),
        "{refused}"
    );
    assert!(
        refused.contains("capabilities.consensus = { records = N }"),
        "{refused}"
    );
    let greedy = MANIFEST.replace("records = 2", "records = 513");
    std::fs::write(&manifest, greedy).unwrap();
    let refused = fabric.nexus(&["deploy", &manifest]);
    assert_ne!(refused.code, 0);
    fabric.stop();
}

/// The whole answer to a request, head and body.
fn exchange(http: &str, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(http).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
    (status, answer.split_off(end + 4))
}

fn told(http: &str, head: &str, body: &[u8]) -> (u16, String) {
    let (status, body) = exchange(http, head, body);
    (status, String::from_utf8(body).unwrap())
}

/// SHA-256 of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[test]
fn the_notary_example_records_once_and_its_proof_convinces_without_a_node() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "notary") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    let http = fabric.http();
    let (status, recorded) = told(&http, "POST /", b"hello");
    assert_eq!(status, 201, "{recorded}");
    assert!(
        recorded.starts_with(&format!("{HELLO} recorded in block ")),
        "{recorded}"
    );
    // The second comes too late, and is told since when it is there.
    assert_eq!(told(&http, "POST /", b"hello"), (200, recorded.clone()));
    assert_eq!(
        told(&http, &format!("GET /{HELLO}"), b""),
        (200, recorded.clone())
    );
    let other = "0".repeat(64);
    assert_eq!(told(&http, &format!("GET /{other}"), b"").0, 404);

    let (status, proof) = exchange(&http, &format!("GET /{HELLO}/proof"), b"");
    assert_eq!(status, 200);
    let (status, proven) = told(&http, "POST /verify", &proof);
    assert_eq!(status, 200, "{proven}");
    assert!(proven.ends_with(&recorded), "{proven}");
    let mut forged = proof.clone();
    let middle = forged.len() / 2;
    forged[middle] ^= 1;
    assert_eq!(told(&http, "POST /verify", &forged).0, 400);

    let status = fabric.nexus(&["node", "status", "-o", "json"]).json();
    let id = status["fabric"].as_str().unwrap().to_owned();
    let file = fabric.folder.path().join("hello.proof");
    std::fs::write(&file, &proof).unwrap();
    // The proof needs no node.
    let file = file.to_str().unwrap();
    let folder = fabric.stop();
    let verified = crate::harness::nexus(&["ledger", "verify", file, "--fabric", &id]).ok();
    drop(folder);
    assert!(verified.contains(HELLO), "{verified}");
}
