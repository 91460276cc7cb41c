//! The deterministic profile in whole nodes: two processes and a restarted one give the same
//! bytes and the same fuel.

use serde_json::Value;

use crate::examples::example;
use crate::harness::Fabric;

const GUEST: &str = include_str!("../../host/runtime/tests/guests/deterministic.wat");

fn manifest(seed: Option<u64>) -> String {
    let seed = seed.map_or_else(String::new, |seed| format!("deterministic_seed = {seed}\n"));
    format!("name = \"det\"\n[[component]]\nname = \"main\"\nsource = \"det.wat\"\n{seed}")
}

fn deploy(fabric: &Fabric, seed: Option<u64>) {
    fabric.write("det.wat", GUEST);
    fabric.write("det.toml", &manifest(seed));
    fabric.nexus(&["deploy", "det.toml"]).ok();
}

/// Result and fuel of every call.
fn answers(fabric: &Fabric) -> Vec<Value> {
    let calls: [&[&str]; 4] = [
        &["run", "5000"],
        &["chance"],
        &["time"],
        &["busy", "1000000"],
    ];
    let ask = |call: &[&str]| {
        let arguments = [&["invoke", "det"], call, &["-o", "json"]].concat();
        fabric.nexus(&arguments).json()
    };
    calls.into_iter().map(ask).collect()
}

#[test]
fn two_nodes_and_a_restarted_one_give_the_same_bytes_and_fuel() {
    let (one, other) = (Fabric::start(), Fabric::start());
    deploy(&one, Some(7));
    deploy(&other, Some(7));
    let expected = answers(&one);
    assert!(
        expected
            .iter()
            .all(|answer| answer["fuel_used"].as_u64() > Some(0))
    );
    assert_eq!(answers(&other), expected, "another process");
    let folder = one.stop();
    let again = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    crate::harness::eventually("it runs again", || {
        (again.state("det").as_deref() == Some("running")).then_some(())
    });
    assert_eq!(answers(&again), expected, "after a restart");
    deploy(&other, Some(8));
    assert_ne!(answers(&other)[1], expected[1], "another seed");
    deploy(&other, None);
    // Its sleep of an hour would now take one.
    let chance = || {
        other
            .nexus(&["invoke", "det", "chance", "-o", "json"])
            .json()
    };
    assert_ne!(chance()["result"], expected[1]["result"]);
    assert_ne!(chance(), chance(), "chance of the machine");
    other.stop();
    again.stop();
}

#[test]
fn the_monte_carlo_example_is_repeatable() {
    let (one, other) = (Fabric::start(), Fabric::start());
    let run = |fabric: &Fabric| {
        fabric
            .nexus(&["invoke", "monte-carlo", "run", "5000", "-o", "json"])
            .json()
    };
    let mut seen = Vec::new();
    for fabric in [&one, &other] {
        let Some(manifest) = example(fabric, "monte-carlo") else {
            return;
        };
        fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
        seen.extend([run(fabric), run(fabric)]);
    }
    assert!(seen.iter().all(|answer| *answer == seen[0]), "{seen:#?}");
    assert!(
        seen[0]["fuel_used"].as_u64() > Some(1_000_000),
        "{}",
        seen[0]
    );
    let manifest = other.folder.path().join("monte-carlo/app.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    for (seed, what) in [
        ("deterministic_seed = 8\n", "another seed"),
        ("", "no seed"),
    ] {
        std::fs::write(&manifest, text.replace("deterministic_seed = 7\n", seed)).unwrap();
        other.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
        assert_ne!(run(&other)["result"], seen[0]["result"], "{what}");
    }
    one.stop();
    other.stop();
}

#[test]
fn a_deterministic_component_gets_nothing_that_differs() {
    let fabric = Fabric::start();
    fabric.write("det.wat", GUEST);
    fabric.write("a.conf", "");
    for (addition, said) in [
        (
            "[component.capabilities]\nhttp_outgoing = [\"a.example\"]\n",
            "capabilities",
        ),
        (
            "[[component.file]]\nsource = \"a.conf\"\npath = \"/etc/a.conf\"\n",
            "files",
        ),
    ] {
        fabric.write("det.toml", &format!("{}{addition}", manifest(Some(1))));
        let refusal = fabric.nexus(&["deploy", "det.toml"]).failed(5);
        assert!(
            refusal.contains("deterministic_seed") && refusal.contains(said),
            "{refusal}"
        );
    }
    fabric.stop();
}
