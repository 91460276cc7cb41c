//! Stores on a whole node against guests that fill them, misname things and look for the stores of
//! others: each bound holds, on disk too, and the neighbour keeps what it has.

use std::path::Path;

use crate::harness::Fabric;

const LIBC: &str = include_str!("../../host/runtime/tests/guests/libc.wat");
const KEYVALUE: &str = include_str!("../../host/runtime/tests/guests/keyvalue.wat");
const BATCH: &str = include_str!("../../host/runtime/tests/guests/keyvalue-batch.wat");
const BLOBS: &str = include_str!("../../host/runtime/tests/guests/blobs.wat");

/// Deploys a guest as a workload of this name, with one right and room for large calls.
fn deploy(fabric: &Fabric, name: &str, text: &str, right: &str) {
    fabric.write(&format!("{name}.wat"), &text.replace(";;{libc}", LIBC));
    fabric.write(
        &format!("{name}.toml"),
        &format!(
            "name = \"{name}\"\n[[component]]\nname = \"{name}\"\nsource = \"{name}.wat\"\n\
             [component.capabilities]\n{right}\n[component.limits]\nwall_time = \"120s\"\n"
        ),
    );
    let manifest = format!("{name}.toml");
    fabric.nexus(&["deploy", &manifest]).ok();
}

fn call(fabric: &Fabric, workload: &str, export: &str, args: &[&str]) -> String {
    let command = [&["invoke", workload, export], args].concat();
    fabric.nexus(&command).ok().trim().to_owned()
}

/// Bytes of all files below `folder`.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| {
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                bytes_below(&entry.path())
            } else {
                about.len()
            }
        })
        .sum()
}

#[test]
fn a_blobstore_quota_holds_on_disk_and_for_its_own_workload_only() {
    let fabric = Fabric::start();
    for name in ["greedy", "modest"] {
        deploy(&fabric, name, BLOBS, "blobstore = \"64KiB\"");
    }
    let blobs = fabric.data().join("stores/blobs");
    for object in ["\"a\"", "\"b\"", "\"c\""] {
        let answer: i64 = call(&fabric, "greedy", "put", &[object, "400"])
            .parse()
            .unwrap();
        assert!(answer < -1, "{answer}: finished above its quota");
        assert_eq!(call(&fabric, "greedy", "has", &[object]), "false");
    }
    assert_eq!(call(&fabric, "greedy", "begin", &[]), "64");
    assert_eq!(bytes_below(&blobs), 0, "what was refused leaves nothing");
    assert_eq!(call(&fabric, "greedy", "put", &["\"full\"", "15"]), "15");
    // The neighbour has a quota and containers of its own.
    assert_eq!(call(&fabric, "modest", "has", &["\"full\""]), "false");
    assert_eq!(call(&fabric, "modest", "put", &["\"mine\"", "15"]), "15");
    assert_eq!(call(&fabric, "greedy", "has", &["\"mine\""]), "false");
    fabric.nexus(&["rm", "greedy"]).ok();
    assert_eq!(call(&fabric, "modest", "has", &["\"mine\""]), "true");
    fabric.stop();
}

#[test]
fn odd_names_and_ranges_of_objects_are_answered_and_lead_nowhere() {
    let fabric = Fabric::start();
    deploy(&fabric, "odd", BLOBS, "blobstore = \"64KiB\"");
    let (long, longer) = ("x".repeat(255), "x".repeat(256));
    for name in ["", &longer, "a\\u{0}b", "\\n"] {
        let made = call(&fabric, "odd", "make", &[&format!("\"{name}\"")]);
        assert!(made.starts_with("err("), "{name:?}: {made}");
    }
    // Names are no paths: these are as good as any.
    for name in ["../up", "/etc", ".", "..", &long] {
        let made = call(&fabric, "odd", "make", &[&format!("\"{name}\"")]);
        assert_eq!(made, "ok", "{name:?}");
        let object = format!("\"{name}\"");
        assert_eq!(call(&fabric, "odd", "put", &[&object, "1"]), "1");
        assert_eq!(call(&fabric, "odd", "has", &[&object]), "true");
    }
    assert!(!fabric.data().join("stores/up").exists());
    assert!(!fabric.data().join("up").exists());
    let end = u64::MAX.to_string();
    for (start, end, answer) in [
        ("4095", end.as_str(), "ok([0])"),
        ("4096", end.as_str(), "ok([])"),
        (end.as_str(), end.as_str(), "ok([])"),
        ("2", "1", "ok([])"),
    ] {
        let got = call(&fabric, "odd", "get", &["\"..\"", start, end]);
        assert_eq!(got, answer, "{start} to {end}");
    }
    let absent = call(&fabric, "odd", "get", &["\"absent\"", "0", "1"]);
    assert!(absent.starts_with("err("), "{absent}");
    fabric.stop();
}

#[test]
fn keys_and_values_beyond_their_bounds_are_refused_and_the_rest_stays() {
    let fabric = Fabric::start();
    deploy(&fabric, "kv", KEYVALUE, "keyvalue = \"16MiB\"");
    deploy(&fabric, "other", KEYVALUE, "keyvalue = \"16MiB\"");
    let set = |key: &str| call(&fabric, "kv", "set", &["\"b\"", key, "[1]"]);
    let value_max = 2 << 20;
    for (bytes, answer) in [(value_max, "ok"), (value_max + 1, "err(other(")] {
        let bytes = bytes.to_string();
        let filled = call(&fabric, "kv", "fill", &["\"b\"", "\"big\"", &bytes]);
        assert!(filled.starts_with(answer), "{bytes}: {filled}");
    }
    let (long, longer) = ("k".repeat(1_024), "k".repeat(1_025));
    assert_eq!(set(&format!("\"{long}\"")), "ok");
    assert!(set(&format!("\"{longer}\"")).starts_with("err(other("));
    for bucket in ["\"\"", &format!("\"{}\"", "b".repeat(256))] {
        let opened = call(&fabric, "kv", "get", &[bucket, "\"k\""]);
        assert_eq!(opened, "err(no-such-store)", "{bucket}");
    }
    // A bucket is no path, and the separator of another store's keys is no way into it.
    for bucket in ["../other", "other/b", "b", "."] {
        let bucket = format!("\"{bucket}\"");
        let mine = call(&fabric, "kv", "set", &[&bucket, "\"mine\"", "[7]"]);
        assert_eq!(mine, "ok", "{bucket}");
        let theirs = call(&fabric, "other", "get", &[&bucket, "\"mine\""]);
        assert_eq!(theirs, "ok(none)", "{bucket}");
    }
    // What is no number is not counted up, and stays.
    let counted = call(&fabric, "kv", "increment", &["\"b\"", "\"mine\"", "1"]);
    assert!(counted.starts_with("err(other("), "{counted}");
    let kept = call(&fabric, "kv", "get", &["\"b\"", "\"mine\""]);
    assert_eq!(kept, "ok(some([7]))");
    fabric.stop();
}

#[test]
fn floods_of_keys_buckets_and_batches_end_at_their_bounds() {
    let fabric = Fabric::start();
    // Sixteen bytes a key and its value.
    deploy(&fabric, "flood", BATCH, "keyvalue = \"1600B\"");
    deploy(&fabric, "many", BATCH, "keyvalue = \"16MiB\"");
    assert_eq!(call(&fabric, "flood", "flood", &["\"b\"", "1000"]), "100");
    let there = |workload: &str, key: &str| call(&fabric, workload, "exists", &["\"b\"", key]);
    assert_eq!(there("flood", "\"aaaaaagd\""), "ok(true)", "the hundredth");
    assert_eq!(there("flood", "\"aaaaaage\""), "ok(false)");
    assert_eq!(there("many", "\"aaaaaaaa\""), "ok(false)");
    let many =
        |export: &str, args: &[&str]| call(&fabric, "many", export, &[&["\"b\""], args].concat());
    // All or nothing: of a batch above a bound not one key is set.
    let refused = many("set-many", &["1001", "1", "1"]);
    assert!(refused.starts_with("err(other("), "{refused}");
    let refused = many("set-many", &["5", "2000000", "1"]);
    assert!(refused.starts_with("err(other("), "{refused}");
    assert_eq!(there("many", "\"aaaaaaaa\""), "ok(false)");
    assert_eq!(many("set-many", &["1000", "1", "1"]), "ok");
    assert_eq!(
        many("set-many", &["1000", "1", "0"]),
        "ok",
        "one key, often"
    );
    assert_eq!(there("many", "\"aaaaadoh\""), "ok(true)", "the last");
    for export in ["get-many", "delete-many"] {
        let refused = many(export, &["1001"]);
        assert!(refused.starts_with("err(other("), "{export}: {refused}");
    }
    assert_eq!(many("get-many", &["1000"]), "ok");
    assert_eq!(many("delete-many", &["1000"]), "ok");
    assert_eq!(many("get-many", &["0"]), "ok");
    assert_eq!(there("many", "\"aaaaaaaa\""), "ok(false)");
    assert_eq!(call(&fabric, "many", "buckets", &["2000"]), "1024");
    fabric.stop();
}
