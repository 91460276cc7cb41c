//! The example of leased memory, as its script runs it.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use crate::harness::{binary, run};

#[test]
fn the_example_of_shared_memory_loses_no_addition_and_gives_its_memory_back() {
    let Some(guests) = std::env::var_os("HYPERMESH_GUESTS") else {
        println!("skipped: HYPERMESH_GUESTS is not set; `cargo xtask test` builds the guests");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let free = |base: &u16| {
        let bound = (1..=4).map(|number| UdpSocket::bind(("127.0.0.1", base + number)));
        bound.collect::<Result<Vec<_>, _>>().is_ok()
    };
    // Elsewhere than where other tests look first.
    let first = 10_004 + u16::try_from(std::process::id() % 2_000).unwrap() * 8;
    let base = (first..30_000).step_by(8).find(free).unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/shared-memory/run.sh"
    );
    let mut example = Command::new("sh");
    example
        .arg(script)
        .env("NEXUS", binary().get_program())
        .env("GUEST", Path::new(&guests).join("shared-memory.wasm"))
        .env("PORT", base.to_string())
        .env("HOME", "/nonexistent")
        .env("TMPDIR", folder.path())
        .current_dir(folder.path());
    let said = run(&mut example).ok();
    for line in [
        "node 1 leased a region",
        "node 1 counts ok(1000)",
        "node 2 counts ok(1000)",
        "node 2 says: err(\"the lease of the region has ended\")",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the script leaves its folder behind");
}
