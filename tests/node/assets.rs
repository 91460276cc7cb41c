//! Assets and leases as their owners and holders meet them: registered by a real node, leased,
//! refused beyond what there is, free again in time; transport and containers as they were measured.
//! Real processes.

use crate::four::Four;
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
    assert!(
        reason.contains("this node has no network: absent: "),
        "{reason}"
    );
    assert!(reason.contains("nexus stoq sessions"), "{reason}");
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

/// A component that takes a while to carry: 8 MiB of data that it never looks at.
pub(crate) fn heavy() -> String {
    let data = "hypermesh ballast ".repeat((8 << 20) / 18);
    format!(r#"(component (core module (memory 129) (data (i32.const 0) "{data}")))"#)
}

/// A workload `app` of one component `load`, from `load.wat`.
pub(crate) fn workload(replicas: u8) -> String {
    format!(
        "name = \"app\"\n\n[[component]]\nname = \"load\"\nsource = \"load.wat\"\nreplicas = {replicas}\n"
    )
}

/// What the sessions of a node showed, as far as they showed anything.
fn measured(node: &Fabric) -> Vec<u64> {
    let stoq = node.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let sessions = stoq["sessions"].as_array().unwrap();
    let rates = sessions.iter().map(|session| &session["measured"]);
    rates
        .filter_map(|known| known["bytes_per_s"].as_u64())
        .collect()
}

#[test]
fn transport_is_registered_as_sessions_showed_it() {
    let four = Four::start();
    let first = &four.nodes[0];
    first.write("load.wat", &heavy());
    first.write("app.toml", &workload(4));
    first.nexus(&["deploy", "app.toml"]).ok();
    // The others fetch 8 MiB, and nobody else has them at first.
    let before = eventually("what a session carried is measured", || {
        Some(measured(first)).filter(|rates| !rates.is_empty())
    });
    let network = register(first, &["network", "--share", "50"]);
    let status = first.nexus(&["asset", "show", &network, "-o", "json"]);
    let status = status.json();
    let facts = &status["facts"]["network"];
    let after = measured(first);
    // It is what the sessions showed, of which none carries less meanwhile.
    let greatest = |rates: &[u64]| rates.iter().max().copied().unwrap();
    let registered = facts["bytes_per_s"].as_u64().unwrap();
    let rates = [greatest(&before), registered, greatest(&after)];
    assert!(rates.is_sorted() && rates[0] > 0, "{rates:?}");
    let sessions = usize::try_from(facts["sessions"].as_u64().unwrap()).unwrap();
    assert!((before.len()..=after.len()).contains(&sessions), "{facts}");
    assert!(facts["rtt_us"].as_u64().unwrap() > 0, "{facts}");
    assert_eq!(status["shared"].as_u64().unwrap(), registered / 2);
    let shown = first.nexus(&["stoq", "sessions"]).ok();
    assert!(shown.contains("MEASURED"), "{shown}");

    first.nexus(&["asset", "remeasure", &network]).ok();
    let twice = first.nexus(&["asset", "register", "network"]).failed(5);
    assert!(twice.contains("registered this already"), "{twice}");
    grant(first, &network, "1KiB", "1m");
}

#[test]
fn a_container_is_as_many_replicas_as_run() {
    let fabric = Fabric::start();
    let named = ["container", "--workload", "app", "--component", "load"];
    let asked = |words: &[&str]| fabric.nexus(&[&["asset", "register"], words].concat());
    asked(&["container"]).failed(2);
    asked(&["container", "--workload", "app"]).failed(2);
    asked(&["cpu", "--workload", "app", "--component", "load"]).failed(2);
    let none = asked(&named).failed(4);
    assert!(none.contains("no replica of component load"), "{none}");

    fabric.write("load.wat", "(component)");
    fabric.write("app.toml", &workload(2));
    fabric.nexus(&["deploy", "app.toml"]).ok();
    let container = register(&fabric, &named);
    let instances = || {
        let shown = fabric.nexus(&["asset", "show", &container, "-o", "json"]);
        shown.json()["facts"]["container"]["instances"].as_u64()
    };
    assert_eq!(instances(), Some(2));
    let twice = asked(&named).failed(5);
    assert!(twice.contains("registered this already"), "{twice}");
    let lease = grant(&fabric, &container, "2", "1h");
    let over = fabric.nexus(&["lease", "grant", &container, "1", "--term", "1m"]);
    over.failed(5);

    fabric.nexus(&["scale", "app", "3"]).ok();
    eventually("the third replica is counted, too", || {
        fabric.nexus(&["asset", "remeasure", &container]).ok();
        (instances() == Some(3)).then_some(())
    });
    grant(&fabric, &container, "1", "1m");
    fabric.nexus(&["lease", "release", &lease]).ok();
    fabric.nexus(&["rm", "app"]).ok();
    let gone = eventually("none is left to count", || {
        let ran = fabric.nexus(&["asset", "remeasure", &container]);
        (ran.code != 0).then_some(ran)
    });
    gone.failed(4);
}
