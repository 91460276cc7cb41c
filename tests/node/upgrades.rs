//! Validators that decide on rules which no program knows: all stop before the height, say why, say
//! it again when they are started, and keep what they had. Real processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::four::{Four, grant};
use crate::harness::{eventually, run};

/// More than the blocks that a change must be decided ahead, so that three votes fit before.
const AHEAD: u64 = 48;

fn ledger(four: &Four, index: usize) -> Value {
    four.nodes[index]
        .nexus(&["ledger", "status", "-o", "json"])
        .json()
}

/// Every file of a node's final blocks, their certificates and its votes, with its bytes. What the
/// stores note about themselves is written anew by every start.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.to_str().unwrap().to_owned();
            if ["blocks-", "certificates-", "votes-"]
                .iter()
                .any(|kind| name.contains(kind) && !name.contains("-metadata"))
            {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn nodes_stop_before_rules_that_they_do_not_know_and_keep_what_they_have() {
    let mut four = Four::start();
    let key = |number: u64| format!("{number:064x}");
    assert!(grant(&mut four.nodes[0].command(&[]), &key(0xa0)));
    let before = ledger(&four, 0);
    assert_eq!(before["rules"]["version"], 1);
    assert_eq!(before["rules"]["known_newest"], 1);
    let at = before["height"].as_u64().unwrap() + AHEAD;
    let height = at.to_string();
    let vote = ["validator", "upgrade", "2", "--at", &height];
    let refused = four.nodes[0].nexus(&vote).failed(5);
    assert!(refused.contains("knows rules up to 1"), "{refused}");
    for node in &four.nodes[..3] {
        node.nexus(&[&vote[..], &["--unknown"]].concat()).ok();
    }
    let coming = format!("2 from height {at} on: this node will stop there");
    for node in &four.nodes {
        eventually("the node tells of the change", || {
            let status = node.nexus(&["ledger", "status"]).ok();
            status.contains(&coming).then_some(())
        });
        let shown = node.nexus(&["node", "status"]).ok();
        assert!(shown.contains(&coming), "{shown}");
        assert!(shown.contains("(this node knows 1)"), "{shown}");
        let shown = node.nexus(&["node", "status", "-o", "json"]).json();
        let next = serde_json::json!({"version": 2, "height": at});
        assert_eq!(shown["rules"]["next"], next, "{shown}");
        assert_eq!(shown["rules"]["known_newest"], 1, "{shown}");
        assert!(
            node.log().contains("this nexus will stop"),
            "{}",
            node.log()
        );
    }
    for number in 0.. {
        let now = ledger(&four, 0)["height"].as_u64().unwrap();
        if now + 1 >= at {
            break;
        }
        assert!(grant(&mut four.nodes[0].command(&[]), &key(number + 1)));
    }
    let sentence = format!(
        "this fabric runs rules 2 since block {at}; this nexus knows rules 1: install a newer nexus \
         and start it again"
    );
    for node in &mut four.nodes {
        assert_eq!(node.process.ends(), 1, "{}", node.log());
        assert!(node.log().contains(&sentence), "{}", node.log());
    }
    for (index, node) in four.nodes.iter().enumerate() {
        let kept = files(&node.data());
        // It speaks into a log that begins anew.
        run(&mut four.up(index)).failed(1);
        assert!(node.log().contains(&sentence), "{}", node.log());
        let mut now = files(&node.data());
        // Until it has read the state it may vote to end a round, which adds to its votes.
        now.retain(|name, _| kept.contains_key(name) || !name.contains("votes-"));
        assert!(now.keys().eq(kept.keys()), "files of {index} came or went");
        now.retain(|name, bytes| !name.contains("votes-") && kept[name] != *bytes);
        let changed: Vec<_> = now.keys().collect();
        assert!(changed.is_empty(), "{index}: {changed:?}");
    }
}
