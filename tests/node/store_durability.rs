//! Stores of guests in whole nodes: kills lose no acknowledged write, a removal leaves nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::durability::next;
use crate::harness::{Fabric, eventually};

const KEYVALUE: &str = include_str!("../../host/runtime/tests/guests/keyvalue.wat");
const LIBC: &str = include_str!("../../host/runtime/tests/guests/libc.wat");
const MANIFEST: &str = "name = \"kv\"\n[[component]]\nname = \"kv\"\nsource = \"kv.wat\"\n\
    [component.capabilities]\nkeyvalue = \"1MiB\"\n";
const ROUNDS: u64 = 4;
/// A kill comes this long after the first write of its round, at most.
const KILL_WITHIN_MS: u64 = 600;

fn deploy(fabric: &Fabric) {
    fabric.write("kv.wat", &KEYVALUE.replace(";;{libc}", LIBC));
    fabric.write("app.toml", MANIFEST);
    fabric.nexus(&["deploy", "app.toml"]).ok();
}

/// Writes number after number until the node is gone; the first that was not acknowledged.
fn write_until_it_fails(fabric: &Fabric, mut number: u64) -> u64 {
    loop {
        let (key, value) = (format!("\"k{number}\""), format!("[{}]", number % 256));
        let ran = fabric.nexus(&["invoke", "kv", "set", "\"b\"", &key, &value]);
        if ran.code != 0 || ran.out.trim() != "ok" {
            return number;
        }
        number += 1;
    }
}

#[test]
fn no_acknowledged_write_is_lost_by_kills_at_random_instants() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut seed = std::env::var("HYPERMESH_SEED").map_or_else(
        |_| u64::try_from(now.as_nanos()).unwrap_or(1),
        |seed| seed.parse().unwrap(),
    );
    println!("HYPERMESH_SEED={seed} chooses these instants again");
    let mut fabric = Fabric::start();
    deploy(&fabric);
    let mut written = 0;
    for _ in 0..ROUNDS {
        let pause = Duration::from_millis(next(&mut seed) % KILL_WITHIN_MS);
        written = std::thread::scope(|scope| {
            let writes = scope.spawn(|| write_until_it_fails(&fabric, written));
            std::thread::sleep(pause);
            fabric.process.signal(Signal::KILL);
            writes.join().unwrap()
        });
        let Fabric {
            mut process,
            folder,
        } = fabric;
        process.ends();
        fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
        eventually("the guest runs again", || {
            (fabric.state("kv").as_deref() == Some("running")).then_some(())
        });
        for number in 0..written {
            let key = format!("\"k{number}\"");
            let found = fabric.nexus(&["invoke", "kv", "get", "\"b\"", &key]).ok();
            let wanted = format!("ok(some([{}]))\n", number % 256);
            assert_eq!(found, wanted, "{key} was acknowledged");
        }
    }
    println!("{written} writes were acknowledged in {ROUNDS} rounds");
    fabric.stop();
}

#[test]
fn a_workload_that_was_removed_finds_nothing_when_it_comes_back() {
    let fabric = Fabric::start();
    deploy(&fabric);
    let get = || {
        fabric
            .nexus(&["invoke", "kv", "get", "\"b\"", "\"k\""])
            .ok()
    };
    fabric
        .nexus(&["invoke", "kv", "set", "\"b\"", "\"k\"", "[7]"])
        .ok();
    fabric.nexus(&["restart", "kv"]).ok();
    assert_eq!(get(), "ok(some([7]))\n", "a restart keeps what was stored");
    fabric.nexus(&["rm", "kv"]).ok();
    deploy(&fabric);
    assert_eq!(get(), "ok(none)\n");
    fabric.stop();
}

const UNFINISHED: &str = include_str!("../../host/runtime/tests/guests/blob-unfinished.wat");

/// Dropping both ends stores the value, in either order; a trap before that stores nothing.
#[test]
fn a_value_that_cannot_be_finished_is_stored_whole_or_not_at_all() {
    let fabric = Fabric::start();
    fabric.write("blob.wat", &UNFINISHED.replace(";;{libc}", LIBC));
    fabric.write(
        "app.toml",
        "name = \"blob\"\n[[component]]\nname = \"blob\"\nsource = \"blob.wat\"\n\
        [component.capabilities]\nblobstore = \"1MiB\"\n",
    );
    fabric.nexus(&["deploy", "app.toml"]).ok();
    for (ending, stored) in [
        ("0", true),
        ("1", true),
        ("2", false),
        ("3", false),
        ("4", false),
    ] {
        let name = format!("\"object-{ending}\"");
        let put = fabric.nexus(&["invoke", "blob", "put", &name, ending]);
        assert_eq!(put.code == 0, stored, "{put:#?}");
        let has = fabric.nexus(&["invoke", "blob", "has", &name]).ok();
        assert_eq!(has.trim(), stored.to_string(), "ending {ending}");
    }
    fabric.stop();
}
