//! The admin API over its socket: document, metrics, refusals, privacy.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use crate::components::service;
use crate::guests;
use crate::harness::Fabric;

/// Status and body of one request.
pub(crate) fn ask(fabric: &Fabric, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut socket = UnixStream::connect(fabric.data().join("admin.sock")).unwrap();
    let length = body.len();
    // At once: an answer may come, and the connection end, before the last of many pieces.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    // Some answers are bytes; what a test looks for in them is text.
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Answers for as long as it is listened to; `ledger.rs` does.
pub(crate) const ENDLESS: &str = "/v1/ledger/watch";

#[test]
fn every_documented_operation_is_served_and_nothing_else() {
    let fabric = Fabric::start();
    let (status, text) = ask(&fabric, "GET", "/v1/openapi.json", "");
    assert_eq!(status, 200);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 10, "{paths:?}");
    for (path, item) in paths {
        let concrete = path
            .replace("{name}", "nobody")
            .replace("{id}", &"0".repeat(64))
            .replace("{digest}", &format!("blake3:{}", "0".repeat(64)));
        if path == ENDLESS {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            let (status, text) = ask(&fabric, &method.to_uppercase(), &concrete, "{}");
            assert!(
                status != 405 && !text.contains("the admin API has no"),
                "{method} {path}"
            );
            let documented = operation["responses"].as_object().unwrap();
            let known = documented.contains_key(&status.to_string());
            assert!(
                known,
                "{method} {path} answers {status}, which is not documented: {text}"
            );
        }
    }
    let (status, text) = ask(&fabric, "GET", "/v1/nothing", "");
    assert_eq!((status, text.contains("not-found")), (404, true), "{text}");
    fabric.stop();
}

#[test]
fn metrics_parse_and_count_calls_traps_and_limits() {
    let fabric = Fabric::start();
    fabric.write("hello.wat", &service("hello"));
    fabric.write("trap.wat", &guests::trap());
    fabric.nexus(&["deploy", "hello.wat", "--route", "/"]).ok();
    fabric
        .nexus(&["deploy", "trap.wat", "--route", "/trap"])
        .ok();
    for _ in 0..3 {
        assert_eq!(fabric.get("/hello").0, 200);
    }
    fabric.get("/trap");
    let (status, text) = ask(&fabric, "GET", "/metrics", "");
    assert_eq!(status, 200);
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let samples = prometheus_parse::Scrape::parse(lines).unwrap().samples;
    let value = |metric: &str, workload: &str| {
        let found = samples.iter().find(|sample| {
            let label = sample.labels.get("workload");
            let end = sample.labels.get("end").unwrap_or("ok");
            sample.metric == metric
                && (workload.is_empty() || label == Some(workload))
                && end == "ok"
        });
        match found.map(|sample| &sample.value) {
            Some(
                prometheus_parse::Value::Counter(value)
                | prometheus_parse::Value::Gauge(value)
                | prometheus_parse::Value::Untyped(value),
            ) => *value,
            other => panic!("{metric} of {workload}: {other:?} in {text}"),
        }
    };
    assert!((value("nexus_calls_total", "hello") - 3.0).abs() < 0.5);
    assert!((value("nexus_traps_total", "trap") - 1.0).abs() < 0.5);
    assert!(value("nexus_memory_peak_bytes", "hello") >= 65_536.0);
    assert!(value("nexus_ledger_height", "") >= 3.0);
    assert!(
        text.contains("nexus_call_duration_seconds_bucket"),
        "{text}"
    );
    fabric.stop();
}

#[test]
fn only_the_owner_can_reach_the_socket_and_the_keys() {
    let fabric = Fabric::start();
    for file in ["admin.sock", "node.key", "operator.key"] {
        let metadata = std::fs::metadata(fabric.data().join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
    }
    let folder = std::fs::metadata(fabric.data()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    fabric.stop();
}

#[test]
fn garbage_is_refused_in_words_and_changes_nothing() {
    let fabric = Fabric::start();
    let before = fabric.nexus(&["node", "status", "-o", "json"]).json();
    for (method, path, body, wanted) in [
        ("POST", "/v1/transactions", "garbage", 400),
        ("POST", "/v1/check", "{", 400),
        ("GET", "/v1/workloads/NOT_A_NAME", "", 400),
        ("GET", "/v1/workloads/nobody?wait=1", "", 400),
        ("GET", "/v1/workloads/nobody", "", 404),
        ("GET", "/v1/artifacts/nonsense", "", 400),
        ("POST", "/v1/workloads/nobody/invoke", "{\"export\":1}", 400),
    ] {
        let (status, text) = ask(&fabric, method, path, body);
        let error: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status, wanted, "{method} {path}: {error}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    let digest = format!("blake3:{}", "0".repeat(64));
    let (status, text) = ask(
        &fabric,
        "PUT",
        &format!("/v1/artifacts/{digest}"),
        "other content",
    );
    assert_eq!(status, 400, "{text}");
    let after = fabric.nexus(&["node", "status", "-o", "json"]).json();
    assert_eq!(before["height"], after["height"]);
    fabric.stop();
}
