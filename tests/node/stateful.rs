//! Stateful libraries in whole nodes: `kill -9` at random instants loses no step.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::durability::next;
use crate::harness::{Fabric, eventually};

const COUNTER: &str = include_str!("../../host/runtime/tests/guests/counter.wat");
const LIBC: &str = include_str!("../../host/runtime/tests/guests/libc.wat");
const ROUNDS: u64 = 5;
/// A kill comes this long after the first call of its round, at most.
const KILL_WITHIN_MS: u64 = 600;

fn counter() -> String {
    COUNTER.replace(";;{libc}", LIBC)
}

fn value(fabric: &Fabric) -> u64 {
    let out = fabric.nexus(&["invoke", "counter", "value"]).ok();
    out.trim().parse().unwrap()
}

fn restarted(folder: TempDir) -> Fabric {
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    eventually("the counter runs again", || {
        (fabric.state("counter").as_deref() == Some("running")).then_some(())
    });
    fabric
}

/// Calls one after another until the node is killed. Each call is acknowledged or not; of the last
/// one nobody can say whether its step was kept before the node died.
#[test]
fn no_acknowledged_step_is_lost_by_kills_at_random_instants() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut seed = std::env::var("HYPERMESH_SEED").map_or_else(
        |_| u64::try_from(now.as_nanos()).unwrap_or(1),
        |seed| seed.parse().unwrap(),
    );
    println!("HYPERMESH_SEED={seed} chooses these instants again");
    let mut fabric = Fabric::start();
    fabric.write("counter.wat", &counter());
    fabric.nexus(&["deploy", "counter.wat"]).ok();
    let mut kept = 0;
    for round in 0..ROUNDS {
        let pause = Duration::from_millis(next(&mut seed) % KILL_WITHIN_MS);
        let acknowledged = std::thread::scope(|scope| {
            let calls = scope.spawn(|| increment_until_it_fails(&fabric));
            std::thread::sleep(pause);
            fabric.process.signal(Signal::KILL);
            calls.join().unwrap()
        });
        let Fabric {
            mut process,
            folder,
        } = fabric;
        process.ends();
        fabric = restarted(folder);
        let found = value(&fabric);
        println!("round {round}: {acknowledged} acknowledged, {kept} before, {found} found");
        let expected = kept + acknowledged;
        assert!(
            found == expected || found == expected + 1,
            "{found} steps, {expected} were acknowledged and one was in flight"
        );
        kept = found;
    }
    assert!(kept > 0, "no call was acknowledged in any round");
    fabric.stop();
}

fn increment_until_it_fails(fabric: &Fabric) -> u64 {
    let mut acknowledged = 0;
    while fabric.nexus(&["invoke", "counter", "increment"]).code == 0 {
        acknowledged += 1;
    }
    acknowledged
}

#[test]
fn state_follows_its_workload_and_goes_with_it() {
    let fabric = Fabric::start();
    fabric.write("counter.wat", &counter());
    fabric.nexus(&["deploy", "counter.wat"]).ok();
    for _ in 0..3 {
        fabric.nexus(&["invoke", "counter", "increment"]).ok();
    }
    let status = fabric.nexus(&["describe", "counter", "-o", "json"]).json();
    let replica = &status["components"][0]["replicas"][0];
    assert_eq!(
        replica["checkpoint"],
        serde_json::json!({"sequence": 3, "bytes": 8})
    );
    let exports = status["components"][0]["exports"].to_string();
    assert!(!exports.contains("restore"), "{exports}");
    // Another binary, the same state.
    fabric.write(
        "counter.wat",
        &counter().replace("not a counter", "no counter!!!"),
    );
    fabric.nexus(&["deploy", "counter.wat"]).ok();
    assert_eq!(value(&fabric), 3);
    // One that cannot read it: the deployment is taken back, the state stays.
    let other = counter().replace("(i32.ne (local.get $bytes) (i32.const 8))", "(i32.const 1)");
    assert_ne!(other, counter());
    fabric.write("counter.wat", &other);
    let refusal = fabric.nexus(&["deploy", "counter.wat"]).failed(6);
    assert!(refusal.contains("refused checkpoint"), "{refusal}");
    assert_eq!(value(&fabric), 3);
    fabric.nexus(&["rm", "counter"]).ok();
    fabric.write("counter.wat", &counter());
    fabric.nexus(&["deploy", "counter.wat"]).ok();
    assert_eq!(value(&fabric), 0);
    fabric.stop();
}

#[test]
fn a_damaged_checkpoint_is_named_and_not_restored() {
    let fabric = Fabric::start();
    fabric.write("counter.wat", &counter());
    fabric.nexus(&["deploy", "counter.wat"]).ok();
    fabric.nexus(&["invoke", "counter", "increment"]).ok();
    let status = fabric.nexus(&["describe", "counter", "-o", "json"]).json();
    let component = status["components"][0]["name"].as_str().unwrap();
    let file = fabric
        .data()
        .join(format!("checkpoints/counter/{component}.0"));
    let folder = fabric.stop();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    let said = eventually("the start is refused", || {
        let status = fabric.nexus(&["describe", "counter", "-o", "json"]).json();
        status["reason"].as_str().map(ToOwned::to_owned)
    });
    assert!(
        said.contains("damaged") && said.contains("checkpoints/counter"),
        "{said}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "it stays as it is");
    fabric.stop();
}
