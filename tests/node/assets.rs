//! Assets and leases as their owners and holders meet them: registered by a real node, leased,
//! refused beyond what there is, free again in time. Real processes.

use crate::harness::{Fabric, eventually};

/// What the node registers, by its id.
fn register(fabric: &Fabric, arguments: &[&str]) -> String {
    let report = fabric.nexus(&[&["asset", "register"], arguments, &["-o", "json"]].concat());
    report.json()["asset"].as_str().unwrap().to_owned()
}

fn grant(fabric: &Fabric, asset: &str, amount: &str, term: &str) -> String {
    let granted = fabric.nexus(&[
        "lease", "grant", asset, amount, "--term", term, "-o", "json",
    ]);
    granted.json()["lease"].as_str().unwrap().to_owned()
}

#[test]
fn an_asset_is_registered_leased_and_free_again() {
    let fabric = Fabric::start();
    let empty = fabric.nexus(&["asset", "list"]).ok();
    assert_eq!(empty.lines().count(), 1, "{empty}");
    let cpu = register(&fabric, &["cpu", "--share", "50", "--label", "site=lab 2"]);
    let status = fabric.nexus(&["asset", "show", &cpu, "-o", "json"]).json();
    let cores = status["facts"]["cpu"]["cores_milli"].as_u64().unwrap();
    assert!(cores > 0, "{status}");
    assert_eq!(status["shared"].as_u64().unwrap(), cores / 2);
    assert_eq!(status["policy"]["privacy"], "private");
    let shown = fabric.nexus(&["asset", "show", &cpu]).ok();
    assert!(
        shown.contains("site=lab 2") && shown.contains("50 %"),
        "{shown}"
    );

    let all = format!("{}.{:03}", cores / 2 / 1_000, cores / 2 % 1_000);
    let half = format!("{}.{:03}", cores / 4 / 1_000, cores / 4 % 1_000);
    let proven = fabric.nexus(&["lease", "grant", &cpu, &half, "--term", "1h", "-o", "json"]);
    let proven = proven.json();
    let id = proven["transaction"].as_str().unwrap();
    let proofs = fabric.nexus(&["proof", "verify", id, "-o", "json"]).json();
    assert_eq!(proofs["proofs"].as_array().unwrap().len(), 4);
    let shown = fabric.nexus(&["proof", "show", id]).ok();
    for kind in ["space", "stake", "work", "time"] {
        assert!(shown.contains(kind), "{shown}");
    }
    assert!(!shown.contains("no: "), "{shown}");
    let half = proven["lease"].as_str().unwrap();
    fabric.nexus(&["lease", "release", half]).ok();
    let lease = grant(&fabric, &cpu, &all, "1h");
    let over = fabric.nexus(&["lease", "grant", &cpu, "0.001", "--term", "1h"]);
    let reason = over.failed(5);
    assert!(reason.contains("0 cores are free"), "{reason}");
    let leased = fabric.nexus(&["asset", "usage", &cpu, "-o", "json"]).json();
    assert_eq!(leased["leased"].as_u64().unwrap(), cores / 2);
    assert_eq!(leased["leases"][0]["id"], lease.as_str());
    fabric
        .nexus(&["lease", "renew", &lease, "--term", "2h"])
        .ok();
    let shown = fabric.nexus(&["lease", "show", &lease]).ok();
    assert!(shown.contains(&cpu), "{shown}");
    let held = fabric.nexus(&["lease", "list"]).ok();
    assert!(held.contains(&lease), "{held}");
    fabric.nexus(&["asset", "retire", &cpu]).failed(5);
    fabric.nexus(&["lease", "release", &lease]).ok();
    let free = fabric.nexus(&["asset", "show", &cpu, "-o", "json"]).json();
    assert_eq!(free["leased"], 0);
    fabric.nexus(&["lease", "show", &lease]).failed(4);

    // What is not given back ends by itself, as far as ledger time goes.
    grant(&fabric, &cpu, &all, "1s");
    eventually("the short lease is over", || {
        let again = fabric.nexus(&["lease", "grant", &cpu, &all, "--term", "1s"]);
        (again.code == 0).then_some(())
    });

    fabric.nexus(&["asset", "drain", &cpu]).ok();
    let drained = fabric.nexus(&["lease", "grant", &cpu, &all, "--term", "1s"]);
    assert!(drained.failed(5).contains("drained"));
    let twice = fabric.nexus(&["asset", "register", "cpu"]).failed(5);
    assert!(twice.contains("registered this already"), "{twice}");
    fabric.nexus(&["asset", "remeasure", &cpu]).ok();
    eventually("the asset is retired", || {
        let retired = fabric.nexus(&["asset", "retire", &cpu]);
        (retired.code == 0).then_some(())
    });
    let list = fabric.nexus(&["asset", "list"]).ok();
    assert!(!list.contains(&cpu), "{list}");
}

#[test]
fn what_a_node_lacks_and_what_makes_no_sense_is_refused() {
    let fabric = Fabric::start();
    let network = fabric.nexus(&["asset", "register", "network"]);
    let reason = network.failed(4);
    assert!(reason.contains("this node has no network"), "{reason}");
    fabric.nexus(&["asset", "register", "disk"]).failed(2);
    fabric
        .nexus(&["asset", "register", "memory", "--share", "0"])
        .failed(2);
    let memory = register(&fabric, &["memory", "--privacy", "public-network"]);
    let wrong = fabric.nexus(&["lease", "grant", &memory, "64", "--term", "1m"]);
    wrong.failed(2);
    let long = fabric.nexus(&["lease", "grant", &memory, "1MiB", "--term", "25h"]);
    assert!(long.failed(5).contains("lasts 1000 to 86400000 ms"));
    let key = "a1".repeat(32);
    let stranger = fabric.nexus(&[
        "lease", "grant", &memory, "1MiB", "--term", "1m", "--to", &key,
    ]);
    assert!(stranger.failed(5).contains("public-network"));
    let none = format!("memory-{}", "00".repeat(32));
    fabric.nexus(&["asset", "show", &none]).failed(4);
    fabric.nexus(&["asset", "drain", &none]).failed(4);
}
