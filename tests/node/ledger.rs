//! The ledger as people read it: blocks, transactions, entries, proofs that hold without any node,
//! and blocks as they come. Real processes.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::Signal;

use crate::harness::{Fabric, Ran, Running, binary, eventually, run};
use crate::joining::{founder, id, join, ticket};

/// A role for a key of nobody: one change of the ledger, and the transaction's id.
fn grant(fabric: &Fabric, key: u8) -> String {
    let key = format!("{key:02x}").repeat(32);
    let report = fabric.nexus(&["role", "grant", "viewer", &key, "-o", "json"]);
    report.json()["id"].as_str().unwrap().to_owned()
}

fn fabric_id(fabric: &Fabric) -> String {
    let status = fabric.nexus(&["ledger", "status", "-o", "json"]).json();
    status["fabric"].as_str().unwrap().to_owned()
}

/// `nexus ledger verify` where there is no node, no data directory and no home.
fn verify(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = binary();
    command.args(["ledger", "verify"]).args(arguments);
    let empty = folder.join("nowhere");
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        command.env(variable, &empty);
    }
    run(command.current_dir(folder))
}

#[test]
fn blocks_transactions_and_entries_are_read() {
    let fabric = Fabric::start();
    let transaction = grant(&fabric, 0xa1);
    let status = fabric.nexus(&["ledger", "status"]).ok();
    assert!(
        status.contains("(validator)") && status.contains("Epoch:"),
        "{status}"
    );
    let list = fabric
        .nexus(&["ledger", "blocks", "--from", "1", "-o", "json"])
        .json();
    let blocks = list["blocks"].as_array().unwrap();
    for (below, block) in blocks.iter().zip(&blocks[1..]) {
        assert_eq!(block["parent"], below["digest"]);
    }
    let few = fabric.nexus(&["ledger", "blocks", "--limit", "1"]).ok();
    assert_eq!(few.lines().count(), 2, "{few}");
    // The transaction, its block by height and by digest: all say the same.
    let found = fabric
        .nexus(&["ledger", "tx", &transaction, "-o", "json"])
        .json();
    assert_eq!(found["outcome"]["state"], "applied", "{found}");
    let asks = found["asks"].as_str().unwrap();
    assert!(asks.starts_with("grant role viewer to a1a1"), "{asks}");
    let height = found["height"].to_string();
    let block = fabric
        .nexus(&["ledger", "block", &height, "-o", "json"])
        .json();
    assert_eq!(block["transactions"][0], found);
    let digest = block["block"]["digest"].as_str().unwrap();
    let same = fabric
        .nexus(&["ledger", "block", digest, "-o", "json"])
        .json();
    assert_eq!(same, block);
    let words = fabric.nexus(&["ledger", "block", &height]).ok();
    assert!(words.contains(asks) && words.contains("applied"), "{words}");
    // Entries.
    let principal = format!("principal/{}", "a1".repeat(32));
    let entry = fabric
        .nexus(&["ledger", "get", &principal, "-o", "json"])
        .json();
    assert_eq!(entry["record"]["role"], "viewer", "{entry}");
    let keys = fabric.nexus(&["ledger", "get", "principal/"]).ok();
    assert!(keys.lines().any(|line| line == principal), "{keys}");
    // What is not there.
    let nothing = "blake3:".to_owned() + &"00".repeat(32);
    for (what, code) in [
        (["tx", &nothing], 4),
        (["block", &nothing], 4),
        (["block", "99999999"], 4),
        (["block", "tomorrow"], 2),
        (["get", "deployment/web"], 4),
        (["get", "\\q"], 2),
        (["proof", "\\q"], 2),
    ] {
        fabric
            .nexus(&[&["ledger"], &what[..]].concat())
            .failed(code);
    }
    // A node that was started again has the block, and says that it forgot what became of it.
    let fabric = Fabric::start_in(fabric.stop(), &[]);
    let found = fabric.nexus(&["ledger", "tx", &transaction]).ok();
    assert!(found.contains("not remembered by this node"), "{found}");
}

#[test]
fn a_proof_holds_without_any_node_and_no_other_does() {
    let fabric = Fabric::start();
    grant(&fabric, 0xa1);
    let key = format!("principal/{}", "a1".repeat(32));
    let told = fabric
        .nexus(&["ledger", "proof", &key, "--out", "viewer.proof"])
        .ok();
    let absent = ["ledger", "proof", "deployment/gone", "-o", "json"];
    let absent = fabric.nexus(&absent).json();
    assert_eq!(absent["file"], "deployment-gone.proof");
    let of = fabric_id(&fabric);
    assert!(told.contains(&format!("--fabric {of}")), "{told}");
    let entry = fabric.nexus(&["ledger", "get", &key, "-o", "json"]).json();
    let other = fabric_id(&Fabric::start());
    let folder = fabric.stop();
    let folder = folder.path();
    let json = ["viewer.proof", "--fabric", &of, "--key", &key, "-o", "json"];
    let proven = verify(folder, &json).json();
    assert_eq!(proven["present"], true);
    assert_eq!(proven["value"], entry["value"]);
    assert_eq!(proven["record"]["role"], "viewer");
    let words = verify(folder, &["viewer.proof", "--fabric", &of]).ok();
    assert!(words.contains("the validators of the genesis"), "{words}");
    let words = verify(folder, &["deployment-gone.proof", "--fabric", &of]).ok();
    assert!(words.contains("there was no such entry"), "{words}");
    // Each with a reason of its own.
    let refused = |file: &str, more: &[&str], reason: &str| {
        let error = verify(folder, &[&[file], more].concat()).failed(5);
        assert!(error.contains(reason), "{error}");
    };
    refused("viewer.proof", &["--fabric", &other], "is from fabric");
    let about = ["--fabric", of.as_str(), "--key", "fabric"];
    refused("viewer.proof", &about, "not about `fabric`");
    let good = fs::read(folder.join("viewer.proof")).unwrap();
    let write = |bytes: &[u8]| fs::write(folder.join("bent.proof"), bytes).unwrap();
    let mut bent = good.clone();
    bent[100] ^= 1;
    write(&bent);
    refused("bent.proof", &["--fabric", &of], "damaged");
    write(b"something else");
    refused("bent.proof", &["--fabric", &of], "no proof of an entry");
    write(&[&good[..16], &[9], &good[17..]].concat());
    refused("bent.proof", &["--fabric", &of], "version 9");
    verify(folder, &["missing.proof", "--fabric", &of]).failed(1);
}

#[test]
fn blocks_and_changes_are_followed_and_read_from_elsewhere() {
    let founder = founder();
    let stoq = founder.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let place = format!("{}@{}", id(&founder), stoq["listening"].as_str().unwrap());
    let follow = |name: &str, arguments: &[&str]| {
        let out = File::create(founder.folder.path().join(name)).unwrap();
        let mut command = founder.command(&[&["ledger", "watch"], arguments].concat());
        Running::new(command.stdout(out))
    };
    let read = |name: &str| fs::read_to_string(founder.folder.path().join(name)).unwrap();
    let mut all = follow("all", &["--from", "1"]);
    let mut changes = follow("changes", &["principal/a2", "-o", "json"]);
    let mut far = follow("far", &["--node", &place, "principal/"]);
    // Followers begin with the next block: until one has shown a change, another is made.
    let mut key = 0xa2;
    let seen = |name: &str| !read(name).is_empty();
    eventually("the change is shown everywhere", || {
        let role = if key % 2 == 0 { "viewer" } else { "deployer" };
        founder
            .nexus(&["role", "grant", role, &"a2".repeat(32)])
            .ok();
        key += 1;
        ["all", "changes", "far"]
            .into_iter()
            .all(seen)
            .then_some(())
    });
    let first = read("all");
    assert!(first.starts_with("1  "), "{first}");
    let change = read("changes");
    let change: serde_json::Value = serde_json::from_str(change.lines().next().unwrap()).unwrap();
    let changed = &change["changes"][0];
    assert_eq!(changed["key"], format!("principal/{}", "a2".repeat(32)));
    assert_eq!(change["changes"].as_array().unwrap().len(), 1);
    assert!(changed["record"]["nonce"].is_u64(), "{change}");
    assert!(read("far").contains("principal/"), "{}", read("far"));
    for watching in [&mut all, &mut changes, &mut far] {
        watching.signal(Signal::INT);
        assert_eq!(watching.ends(), 0);
    }
    // What blocks that are gone from memory changed, nobody knows any more.
    let member = join(&ticket(&founder), &[]);
    let known = member.nexus(&["ledger", "status"]).ok();
    assert!(known.contains("(follower)"), "{known}");
    let founder = Fabric::start_in(founder.stop(), &["--stoq", "127.0.0.1:0"]);
    let error = founder
        .nexus(&["ledger", "watch", "principal/", "--from", "1"])
        .failed(4);
    assert!(error.contains("remembers what blocks changed"), "{error}");
}

#[test]
fn a_viewer_elsewhere_gets_a_proof_and_a_stranger_does_not() {
    let founder = founder();
    let stoq = founder.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let place = format!("{}@{}", id(&founder), stoq["listening"].as_str().unwrap());
    let of = fabric_id(&founder);
    let home = tempfile::tempdir().unwrap();
    let elsewhere = |arguments: &[&str]| {
        let mut command = binary();
        command.args(arguments).env("XDG_CONFIG_HOME", home.path());
        run(command.current_dir(home.path()))
    };
    let add = [
        "context", "add", "there", &place, "--fabric", &of, "-o", "json",
    ];
    let operator = elsewhere(&add).json()["operator"]
        .as_str()
        .unwrap()
        .to_owned();
    let proof = ["ledger", "proof", "fabric"];
    elsewhere(&proof).failed(3);
    founder.nexus(&["role", "grant", "viewer", &operator]).ok();
    elsewhere(&proof).ok();
    elsewhere(&["ledger", "status"]).ok();
    let words = verify(home.path(), &["fabric.proof", "--fabric", &of]).ok();
    assert!(words.contains("validators"), "{words}");
}
