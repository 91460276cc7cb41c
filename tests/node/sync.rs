//! A node that joins long after the first block takes over the state of its peers instead of
//! executing every block, shows the same, and goes on. Real processes.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Fabric, Ran, eventually, run};
use crate::joining::{founder, join, ticket};

/// More than an epoch and a half: a newcomer goes on from the end of the first.
const BLOCKS: u64 = 200;

fn ledger(node: &Fabric) -> Value {
    node.nexus(&["ledger", "status", "-o", "json"]).json()
}

/// An audit that remembers in `memory`.
fn audit(node: &Fabric, memory: &Path, arguments: &[&str]) -> Ran {
    let mut command = node.command(&["trust", "audit"]);
    run(command.args(arguments).env("XDG_STATE_HOME", memory))
}

/// A member that took the state over, and a founder with all blocks, which knows `key` at most.
fn audited(late: &Fabric, founder: Fabric, remembered: &Path, mut key: u64) {
    let fresh = tempfile::tempdir().unwrap();
    let said = audit(late, fresh.path(), &[]).ok();
    assert!(said.contains("the oldest that this node has"), "{said}");
    assert!(said.contains("older ones are in the state"), "{said}");
    let found = audit(late, fresh.path(), &["-o", "json"]).json();
    let number = |field: &str| found[field].as_u64().unwrap();
    assert!((2..=BLOCKS).contains(&number("first")), "{found}");
    // The founder's certificate is older, the newcomer's is not.
    let older = number("certificates_older");
    assert!(
        older > 0 && older < number("certificates_checked"),
        "{found}"
    );
    // What was audited before the beginning of its history could be another one.
    let said = audit(late, remembered, &[]).failed(1);
    assert!(said.contains("only later blocks"), "{said}");
    let said = audit(&founder, remembered, &[]).ok();
    assert!(said.contains("since height"), "{said}");
    audit(late, remembered, &[]).ok();

    let stoq = founder.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let address = stoq["listening"].as_str().unwrap().to_owned();
    let folder = founder.stop();
    let forked = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut copy = Command::new("cp");
    let copied = copy.arg("-a").arg(data).arg(forked.path()).status();
    assert!(copied.unwrap().success());
    let founder = Fabric::start_in(folder, &["--stoq", &address]);
    let mut grant = |node: &Fabric| {
        key += 1;
        let granted = format!("{key:064x}");
        node.nexus(&["role", "grant", "viewer", &granted]).ok();
        granted
    };
    let granted = grant(&founder);
    eventually("the newcomer follows", || {
        let roles = late.nexus(&["role", "list"]).ok();
        roles.contains(&granted).then_some(())
    });
    audit(late, fresh.path(), &[]).ok();
    drop(founder.stop());
    let forked = Fabric::start_in(forked, &[]);
    let said = audit(&forked, fresh.path(), &[]).failed(5);
    assert!(said.contains("cut short"), "{said}");
    for _ in 0..6 {
        grant(&forked);
    }
    let said = audit(&forked, fresh.path(), &[]).failed(5);
    assert!(said.contains("forked"), "{said}");
}

#[test]
fn a_newcomer_takes_over_the_state_of_a_long_ledger() {
    let founder = founder();
    let remembered = tempfile::tempdir().unwrap();
    audit(&founder, remembered.path(), &[]).ok();
    let mut key = 0_u64;
    while ledger(&founder)["height"].as_u64().unwrap() < BLOCKS {
        for _ in 0..16 {
            key += 1;
            let granted = format!("{key:064x}");
            founder.nexus(&["role", "grant", "viewer", &granted]).ok();
        }
    }
    let beyond = ["--stoq", "127.0.0.1:0", "--sync-beyond", "32"];
    let late = join(&ticket(&founder), &beyond);
    let last = format!("{key:064x}");
    eventually("the newcomer has the last fact", || {
        let roles = late.nexus(&["role", "list"]).ok();
        roles.contains(&last).then_some(())
    });
    let taken_over = late.log().contains("went on from the state of peers");
    assert!(taken_over, "{}", late.log());
    let status = ledger(&late);
    let at = status["height"].as_u64().unwrap();
    let block = |node: &Fabric| {
        let block = node.nexus(&["ledger", "block", &at.to_string(), "-o", "json"]);
        block.json()["digest"].clone()
    };
    assert_eq!(block(&late), block(&founder));
    // The first blocks are not here, and it says so.
    let first = late.nexus(&["ledger", "block", "1"]);
    assert_ne!(first.code, 0, "{}", first.out);
    // What it shows of the old facts is proven all the same.
    let role = format!("principal/{:064x}", 1);
    let proof = late.nexus(&["ledger", "get", &role]).ok();
    assert!(proof.contains("viewer"), "{proof}");
    // It goes on, and starts again, from there.
    let next = format!("{:064x}", key + 1);
    founder.nexus(&["role", "grant", "viewer", &next]).ok();
    eventually("the newcomer follows", || {
        let roles = late.nexus(&["role", "list"]).ok();
        roles.contains(&next).then_some(())
    });
    audited(&late, founder, remembered.path(), key + 1);
}
