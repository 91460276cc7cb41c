//! Messages between workloads of a node: passed on, tried again, given up, refused when a queue is
//! full.

use crate::guests::{worker, worker_of};
use crate::harness::{Fabric, eventually};

/// Deploys a worker that subscribes to `topic`.
fn subscribe(fabric: &Fabric, name: &str, component: &str, topic: &str, more: &str) {
    fabric.write(&format!("{name}.wat"), component);
    let manifest = format!(
        "name = \"{name}\"\n[[component]]\nname = \"main\"\nsource = \"{name}.wat\"\n\
         subscriptions = [\"{topic}\"]\n[component.capabilities]\npublish = [\"echoes\"]\n{more}"
    );
    let file = format!("{name}.toml");
    fabric.write(&file, &manifest);
    fabric.nexus(&["deploy", &file]).ok();
}

/// What `nexus describe` counts of a workload's only replica.
fn count(fabric: &Fabric, name: &str, what: &str) -> u64 {
    let status = fabric.nexus(&["describe", name, "-o", "json"]).json();
    let counted = &status["components"][0]["replicas"][0][what];
    counted.as_u64().unwrap()
}

#[test]
fn a_message_reaches_every_subscriber_and_what_they_publish_goes_on() {
    let fabric = Fabric::start();
    subscribe(&fabric, "echo", &worker("echo"), "orders", "");
    subscribe(&fabric, "copy", &worker("echo"), "orders", "");
    subscribe(&fabric, "sink", &worker_of(ACCEPT), "echoes", "");
    let described = fabric.nexus(&["describe", "echo"]).ok();
    assert!(described.contains("Subscriptions"), "{described}");
    let said = fabric.nexus(&["publish", "orders", "--text", "ping"]).ok();
    assert_eq!(said, "queued for 2 components\n");
    eventually("both echoes arrive", || {
        (count(&fabric, "sink", "calls") == 2).then_some(())
    });
    assert_eq!(count(&fabric, "echo", "calls"), 1);
    assert_eq!(count(&fabric, "copy", "calls"), 1);
    // Standard input is empty, and an empty message is one, too.
    let said = fabric
        .nexus(&["publish", "nobody/cares", "-o", "json"])
        .json();
    assert_eq!(said["subscribers"], 0);
    let err = fabric.nexus(&["publish", "no topic"]).failed(2);
    assert!(err.contains("`no topic` is not a topic"), "{err}");
    fabric.stop();
}

#[test]
fn a_handler_that_always_traps_is_tried_again_and_then_given_up() {
    let fabric = Fabric::start();
    subscribe(&fabric, "bad", &worker("trap"), "orders", "");
    subscribe(&fabric, "good", &worker_of(ACCEPT), "orders", "");
    fabric.nexus(&["publish", "orders", "--text", "x"]).ok();
    eventually("the message is given up", || {
        let log = fabric.nexus(&["logs", "bad"]).ok();
        log.contains("message to orders given up after 5 attempts")
            .then_some(())
    });
    assert_eq!(count(&fabric, "bad", "calls"), 5);
    assert_eq!(
        count(&fabric, "good", "calls"),
        1,
        "the neighbour got it once"
    );
    fabric.stop();
}

#[test]
fn a_full_queue_is_told_to_the_publisher_and_empties_with_its_subscriber() {
    let fabric = Fabric::start();
    let slow = "[component.limits]\nwall_time = \"1h\"\nrequests_in_flight = 1\n";
    subscribe(&fabric, "slow", &worker("spin"), "orders", slow);
    let big = "x".repeat(100_000);
    // 8 MiB are 84 of these.
    let refused = (0..100).find_map(|_| {
        let ran = fabric.nexus(&["publish", "orders", "--text", &big]);
        (ran.code != 0).then_some(ran.err)
    });
    let refused = refused.unwrap();
    assert!(
        refused.contains("the queue of slow/main is full"),
        "{refused}"
    );
    fabric.nexus(&["rm", "slow"]).ok();
    let said = fabric
        .nexus(&["publish", "orders", "--text", &big, "-o", "json"])
        .json();
    assert_eq!(said["subscribers"], 0);
    fabric.stop();
}

/// Handles every message and does nothing.
const ACCEPT: &str = "(func (export \"handle\") (param i32) (result i32)
    (i32.store (i32.const 256) (i32.const 0)) (i32.const 256))";
