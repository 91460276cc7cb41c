//! Compiled code on disk: a second start compiles nothing, and what was tampered with is made anew.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::admin_api::ask;
use crate::components::service;
use crate::guests::trap;
use crate::harness::{Fabric, binary, eventually, run};

const ARGUMENTS: [&str; 2] = ["--http", "127.0.0.1:0"];

/// The files of compiled code in a data directory.
fn entries(data: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(data.join("compiled"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// Waits until one component's code is whole on disk.
fn kept(fabric: &Fabric) -> PathBuf {
    eventually("the code is on disk", || {
        let found = entries(&fabric.data());
        let whole = |path: &PathBuf| !path.to_str().unwrap().contains("writing-");
        (found.len() == 1 && found.iter().all(whole)).then(|| found[0].clone())
    })
}

/// The value of a counter of the node.
fn counter(fabric: &Fabric, name: &str) -> u64 {
    let (status, text) = ask(fabric, "GET", "/metrics", "");
    assert_eq!(status, 200);
    let line = text
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    let value = line.unwrap().rsplit(' ').next().unwrap();
    value.parse().unwrap()
}

fn runs(fabric: &Fabric) {
    eventually("the workload runs", || {
        (fabric.state("first").as_deref() == Some("running")).then_some(())
    });
    assert_eq!(fabric.get("/hello").0, 200);
}

#[test]
fn a_node_that_starts_again_takes_compiled_code_from_disk() {
    let fabric = Fabric::start();
    fabric.write("first.wat", &service("first"));
    fabric.nexus(&["deploy", "first.wat", "--route", "/"]).ok();
    assert_eq!(counter(&fabric, "nexus_components_compiled_total"), 1);
    let entry = kept(&fabric);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fabric.data().join("compiled")), 0o700);
    assert_eq!(mode(&fabric.data().join("compiled.key")), 0o600);
    assert_eq!(mode(&entry), 0o600);
    // A kill while code is written leaves this.
    let left = fabric.data().join("compiled/writing-9");
    fs::write(&left, "half").unwrap();

    let fabric = Fabric::start_in(fabric.stop(), &ARGUMENTS);
    runs(&fabric);
    assert_eq!(counter(&fabric, "nexus_components_compiled_total"), 0);
    assert_eq!(counter(&fabric, "nexus_code_cache_hits_total"), 1);
    assert!(!left.exists(), "what a killed node left is cleared");
    assert!(fabric.log().contains("taken from the cache"));

    let folder = fabric.stop();
    let mut bad = fs::read(&entry).unwrap();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&entry, &bad).unwrap();
    let fabric = Fabric::start_in(folder, &ARGUMENTS);
    runs(&fabric);
    assert_eq!(counter(&fabric, "nexus_code_cache_rejected_total"), 1);
    assert_eq!(counter(&fabric, "nexus_components_compiled_total"), 1);
    assert_eq!(fabric.log().matches("is not used and made anew").count(), 1);
    eventually("the code is replaced", || {
        fs::read(&entry)
            .is_ok_and(|found| found != bad)
            .then_some(())
    });

    // A lost key is a lost cache, nothing more.
    let folder = fabric.stop();
    fs::remove_file(folder.path().join("data/compiled.key")).unwrap();
    let fabric = Fabric::start_in(folder, &ARGUMENTS);
    runs(&fabric);
    assert_eq!(counter(&fabric, "nexus_code_cache_rejected_total"), 1);
    fabric.stop();
}

#[test]
fn a_trap_leaves_a_backtrace_in_the_log() {
    let fabric = Fabric::start();
    fabric.write("bad.wat", &trap());
    fabric.nexus(&["deploy", "bad.wat", "--route", "/"]).ok();
    assert_eq!(fabric.get("/").0, 502);
    let log = fabric.nexus(&["logs", "bad"]).ok();
    let frames: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split("    at ").nth(1))
        .collect();
    assert_eq!(frames.first(), Some(&"inner-function"), "{log}");
    assert!(frames.len() > 1, "{log}");
    fabric.stop();
}

#[test]
fn the_pool_is_as_large_as_told_or_as_the_machine_allows() {
    let folder = tempfile::tempdir().unwrap();
    let fabric = Fabric::start_in(folder, &["--instances", "77"]);
    let status = fabric.nexus(&["node", "status"]).ok();
    assert!(status.contains("0 of 77 in use"), "{status}");
    let fabric = Fabric::start_in(fabric.stop(), &[]);
    let status = fabric.nexus(&["node", "status", "-o", "json"]).json();
    let derived = status["instances_max"].as_u64().unwrap();
    assert!((1..=10_000).contains(&derived), "{status}");
    fabric.stop();
    let refused = run(binary().args(["up", "--instances", "10001"]));
    assert_eq!(refused.code, 2, "{refused:?}");
}
