//! A node that joins long after the first block takes over the state of its peers instead of
//! executing every block, shows the same, and goes on. Real processes.

use serde_json::Value;

use crate::harness::{Fabric, eventually};
use crate::joining::{founder, join, ticket};

/// More than an epoch and a half: a newcomer goes on from the end of the first.
const BLOCKS: u64 = 200;

fn ledger(node: &Fabric) -> Value {
    node.nexus(&["ledger", "status", "-o", "json"]).json()
}

#[test]
fn a_newcomer_takes_over_the_state_of_a_long_ledger() {
    let founder = founder();
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
    let audit = late.nexus(&["trust", "audit"]);
    assert_ne!(audit.code, 0, "{}", audit.out);
    founder.nexus(&["role", "grant", "viewer", &next]).ok();
    eventually("the newcomer follows", || {
        let roles = late.nexus(&["role", "list"]).ok();
        roles.contains(&next).then_some(())
    });
}
