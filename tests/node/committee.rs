//! Four machines that found a fabric together: they agree, go on without one, stop without two.
//! Real processes.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::components::LIBRARY;
use crate::discovery::is;
use crate::harness::{Fabric, Running, binary, eventually, run};

/// Longer than it takes four validators to agree, many times.
const LONG: Duration = Duration::from_secs(5);

/// Addresses that are free now; nobody takes them within a test but by accident.
fn addresses(count: usize) -> Vec<String> {
    let sockets = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let sockets: Vec<_> = sockets.collect();
    let address = |socket: &UdpSocket| socket.local_addr().unwrap().to_string();
    sockets.iter().map(address).collect()
}

/// Four validators, each operator of which may administer the fabric.
fn four() -> Vec<Fabric> {
    let folders: Vec<TempDir> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let addresses = addresses(4);
    let written = folders[0].path().join("fabric.json");
    let mut found = binary();
    found.args(["fabric", "found"]).arg(&written);
    for (folder, address) in folders.iter().zip(&addresses) {
        let mut prepare = binary();
        prepare.arg("--data").arg(folder.path().join("data"));
        let ids = run(prepare.args(["node", "prepare", "-o", "json"])).json();
        let (node, operator) = (ids["node"].as_str().unwrap(), ids["operator"].as_str());
        found.args(["--validator", &format!("{node}@{address}")]);
        found.args(["--operator", operator.unwrap()]);
    }
    run(&mut found).ok();
    // All at once: none is ready before three of them are up.
    std::thread::scope(|scope| {
        let starts = folders
            .into_iter()
            .zip(&addresses)
            .map(|(folder, address)| {
                let written = written.to_str().unwrap();
                scope.spawn(move || {
                    Fabric::start_in(folder, &["--stoq", address, "--founding", written])
                })
            });
        let starts: Vec<_> = starts.collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    })
}

/// A fact for the ledger, told to one node.
fn grant(at: &Fabric, key: u8) {
    at.nexus(&["role", "grant", "viewer", &format!("{key:02x}").repeat(32)])
        .ok();
}

/// Waits until a node has the fact.
fn has(at: &Fabric, key: u8) {
    eventually("the fact is here", || {
        let roles = at.nexus(&["role", "list"]).ok();
        roles
            .contains(&format!("{key:02x}").repeat(32))
            .then_some(())
    });
}

#[test]
fn four_nodes_agree_and_go_on_without_one() {
    let mut nodes = four();
    for (key, node) in (0xa0..).zip(&nodes) {
        grant(node, key);
    }
    for node in &nodes {
        for key in 0xa0..0xa4 {
            has(node, key);
        }
    }
    let killed = nodes.remove(0);
    killed.process.signal(Signal::KILL);
    for (key, node) in (0xb0..).zip(&nodes) {
        grant(node, key);
    }
    let folder = killed.folder;
    drop(killed.process);
    // Its address is in nobody's way any more, and in everybody's book.
    let back = Fabric::start_in(folder, &["--stoq", "127.0.0.1:0"]);
    for key in 0xb0..0xb3 {
        has(&back, key);
    }
    grant(&back, 0xc0);
    for node in &nodes {
        has(node, 0xc0);
    }
}

/// Wherever the ledger places it, whoever deploys sees it run.
#[test]
fn a_workload_runs_where_it_is_placed_and_everyone_sees_it() {
    let nodes = four();
    nodes[0].write("library.wat", LIBRARY);
    let component = nodes[0].folder.path().join("library.wat");
    let component = component.to_str().unwrap();
    let mut hosts = BTreeSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let name = format!("app-{index}");
        node.nexus(&["deploy", component, "--name", &name]).ok();
        for node in &nodes {
            eventually("everyone sees it run", || {
                let status = node.nexus(&["describe", &name, "-o", "json"]);
                let status = (status.code == 0).then(|| status.json())?;
                let replica = status["components"][0]["replicas"][0].clone();
                hosts.insert(replica["node"].as_str()?.to_owned());
                (status["state"] == "running" && replica["state"] == "running").then_some(())
            });
        }
    }
    assert!(hosts.len() > 1, "all on one node: {hosts:?}");
    let listed = nodes[1].nexus(&["ps", "-o", "json"]).json();
    let listed = listed["workloads"].as_array().unwrap().clone();
    assert!(listed.iter().all(|workload| workload["state"] == "running"));
    assert_eq!(listed.len(), 4);
    nodes[2].nexus(&["rm", "app-0"]).ok();
}

#[test]
fn two_of_four_nodes_wait_for_a_third() {
    let nodes = four();
    grant(&nodes[0], 0xa0);
    for node in &nodes[2..] {
        has(node, 0xa0);
        node.process.signal(Signal::STOP);
    }
    let mut asked = nodes[0].command(&["role", "grant", "viewer", &"b0".repeat(32)]);
    let mut asked = Running::new(&mut asked);
    std::thread::sleep(LONG);
    assert!(!asked.has_ended(), "two of four nodes decided something");
    nodes[2].process.signal(Signal::CONT);
    assert_eq!(asked.ends(), 0);
    has(&nodes[2], 0xb0);
    nodes[3].process.signal(Signal::CONT);
    has(&nodes[3], 0xb0);
}

#[test]
fn a_stranger_to_the_founding_and_a_changed_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("fabric.json");
    let id = "ab".repeat(32);
    let mut found = binary();
    found.args(["fabric", "found"]).arg(&written);
    found.args(["--validator", &format!("{id}@127.0.0.1:7400")]);
    found.args(["--operator", &id]);
    run(&mut found).ok();
    let twice = run(&mut found).failed(1);
    assert!(twice.contains("fabric.json"), "{twice}");
    let start = || {
        let mut up = binary();
        up.arg("--data").arg(folder.path().join("data"));
        run(up.args(["up", "--founding"]).arg(&written)).failed(1)
    };
    let stranger = start();
    assert!(stranger.contains("not among the validators"), "{stranger}");
    let text = std::fs::read_to_string(&written).unwrap();
    std::fs::write(
        &written,
        text.replace("began_at_ms\": 1", "began_at_ms\": 2"),
    )
    .unwrap();
    let changed = start();
    assert!(changed.contains("it was changed"), "{changed}");
}

/// The script that newcomers paste.
#[test]
fn the_example_of_four_runs_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/fabric-of-four/run.sh"
    );
    let free = |base: &u16| {
        let bound = (1..=4).map(|number| UdpSocket::bind(("127.0.0.1", base + number)));
        bound.collect::<Result<Vec<_>, _>>().is_ok()
    };
    // Elsewhere than where the system hands out ports, and not where another such test looks first.
    let first = 10_000 + u16::try_from(std::process::id() % 2_000).unwrap() * 8;
    let base = (first..30_000).step_by(8).find(free).unwrap();
    let mut example = Command::new("sh");
    example
        .arg(script)
        .env("NEXUS", binary().get_program())
        .env("PORT", base.to_string())
        .env("HOME", "/nonexistent")
        .env("TMPDIR", folder.path())
        .current_dir(folder.path());
    let said = run(&mut example).ok();
    for line in [
        "node 4 has it",
        "node 4 was killed",
        "is nothing since height",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the script leaves its folder behind");
}

/// What the ledger says of the absence of a node.
fn absence(at: &Fabric, node: &str) -> Option<Value> {
    let list = at.nexus(&["validator", "list", "-o", "json"]).json();
    let mut absent = list["absent"].as_array().unwrap().iter();
    absent.find(|absence| absence["node"] == node).cloned()
}

#[test]
fn who_is_killed_is_absent_by_two_witnesses_until_it_is_back() {
    let mut nodes = four();
    let killed = nodes.remove(3);
    let status = killed.nexus(&["node", "status", "-o", "json"]).json();
    let id = status["node"].as_str().unwrap();
    // Nobody misses whom nobody ever met.
    for node in &nodes {
        is(node, id, "alive");
    }
    killed.process.signal(Signal::KILL);
    let folder = killed.folder;
    drop(killed.process);
    for node in &nodes {
        let absence = eventually("it is absent", || {
            absence(node, id).filter(|absence| absence["since"].is_u64())
        });
        assert!(absence["witnesses"].as_u64().unwrap() >= 2, "{absence}");
        assert_eq!(absence["needed"], 2);
        let shown = node.nexus(&["validator", "list"]).ok();
        assert!(shown.contains(&format!("{id} is absent since")), "{shown}");
    }
    let back = Fabric::start_in(folder, &["--stoq", "127.0.0.1:0"]);
    nodes.push(back);
    for node in &nodes {
        eventually("nobody is absent", || {
            let list = node.nexus(&["validator", "list", "-o", "json"]).json();
            let absent = list["absent"].as_array().unwrap();
            absent.is_empty().then_some(())
        });
    }
}
