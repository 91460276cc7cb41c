//! Validators that change: nodes that joined by ticket get a vote and give it back. Real processes.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Fabric, eventually};
use crate::joining::{acquainted, founder, id, join, ticket};

/// What a node says of the validators.
fn validators(at: &Fabric) -> Value {
    at.nexus(&["validator", "list", "-o", "json"]).json()
}

/// Waits until so many nodes vote, and nobody else is to.
fn so_many(at: &Fabric, count: usize) {
    eventually("that many validators", || {
        let list = validators(at)["validators"].as_array().unwrap().clone();
        let settled = list
            .iter()
            .all(|one| one["now"] == true && one["next"] == true);
        (settled && list.len() == count).then_some(())
    });
}

/// A fact for the ledger, told to the founder by its operator; every one of `nodes` has it soon.
fn agree(founder: &Fabric, nodes: &[&Fabric], key: u8) {
    let key = format!("{key:02x}").repeat(32);
    founder.nexus(&["role", "grant", "viewer", &key]).ok();
    for node in nodes {
        eventually("the fact is here", || {
            node.nexus(&["role", "list"])
                .ok()
                .contains(&key)
                .then_some(())
        });
    }
}

#[test]
fn nodes_that_joined_get_a_vote_and_give_it_back() {
    let founder = founder();
    let others: Vec<_> = (0..3)
        .map(|_| join(&ticket(&founder), &["--stoq", "127.0.0.1:0"]))
        .collect();
    for (index, one) in others.iter().enumerate() {
        acquainted(&founder, one);
        for other in &others[..index] {
            acquainted(one, other);
        }
    }
    founder.nexus(&["trust", "audit"]).ok();
    let refused = others[0].nexus(&["validator", "add", &id(&others[0])]);
    assert!(
        refused.err.contains("is not a validator"),
        "{}",
        refused.err
    );
    // Alone the founder decides; as soon as the first has a vote, it must agree.
    for other in &others {
        founder.nexus(&["validator", "add", &id(other)]).ok();
    }
    for node in [&others[0], &others[1]] {
        for other in &others {
            let vote = node.nexus(&["validator", "add", &id(other)]);
            assert!(
                vote.code == 0
                    || vote.err.contains("is a validator")
                    || vote.err.contains("is not a validator"),
                "{}",
                vote.err
            );
        }
    }
    let everyone: Vec<_> = std::iter::once(&founder).chain(&others).collect();
    for node in &everyone {
        so_many(node, 4);
    }
    let nodes: Vec<_> = others.iter().collect();
    agree(&founder, &nodes, 0xa0);
    proven(&founder, &others[0]);
    // What was audited before goes on across the change, and from the beginning on another node.
    founder.nexus(&["trust", "audit"]).ok();
    others[2].nexus(&["trust", "audit"]).ok();
    let gone = id(&others[1]);
    others[1].process.signal(Signal::KILL);
    agree(&founder, &[&others[0], &others[2]], 0xa1);
    // One is dead, so all that live must consent.
    for node in [&founder, &others[0], &others[2]] {
        let vote = node.nexus(&["validator", "remove", &gone]);
        // The last vote may find that it is done.
        assert!(
            vote.code == 0 || vote.err.contains("is not a validator"),
            "{}",
            vote.err
        );
    }
    so_many(&founder, 3);
    for node in [&others[0], &others[2]] {
        node.nexus(&["validator", "resign"]).ok();
    }
    so_many(&founder, 1);
    agree(&founder, &[&others[0], &others[2]], 0xa2);
    let last = founder.nexus(&["validator", "resign"]);
    assert!(last.err.contains("is the last validator"), "{}", last.err);
}

/// A proof made by a node that got its vote later convinces whoever knows the fabric's id only.
fn proven(founder: &Fabric, by: &Fabric) {
    let fabric = founder.nexus(&["node", "status", "-o", "json"]).json()["fabric"].clone();
    let file = by.folder.path().join("fabric.proof");
    let file = file.to_str().unwrap();
    by.nexus(&["ledger", "proof", "fabric", "--out", file]).ok();
    let verified = founder.nexus(&[
        "ledger",
        "verify",
        file,
        "--fabric",
        fabric.as_str().unwrap(),
    ]);
    let text = verified.ok();
    assert!(text.contains("fabric"), "{text}");
}
