//! Volumes on leased storage between four real nodes: used from another node, bounded, kept over kills,
//! refused where a capability does not give it, spread over nodes that go away, and given back.

use std::time::Duration;

use crate::four::Four;
use crate::guests;
use crate::harness::{Fabric, eventually, run};

const MANIFEST: &str = r#"
name = "shelf"

[[component]]
name = "hand"
source = "volumes.wat"
replicas = 4
placement = { apart = true }

[component.limits]
wall_time = "2m"

[component.capabilities]
storage = "64MiB"
"#;

/// Long enough for any of these tests.
const TERM_MS: &str = "600000";
const MIB: &str = "1048576";

/// Four nodes with a guest each; those of these places have storage that every node may lease.
fn shelves(places: &[usize]) -> (Four, Vec<String>) {
    let four = Four::start();
    let assets = places.iter().map(|place| disk(&four.nodes[*place]));
    let assets = assets.collect();
    let first = &four.nodes[0];
    first.write("volumes.wat", &guests::volume_user());
    first.write("shelf.toml", MANIFEST);
    first.nexus(&["deploy", "shelf.toml"]).ok();
    for node in &four.nodes {
        runs(node);
    }
    (four, assets)
}

/// What a node registers of its disk for everybody.
#[track_caller]
fn disk(node: &Fabric) -> String {
    let register = [
        "asset",
        "register",
        "storage",
        "--privacy",
        "public-network",
    ];
    let report = node.nexus(&[&register[..], &["-o", "json"]].concat());
    report.json()["asset"].as_str().unwrap().to_owned()
}

/// Waits until a node's guest answers.
#[track_caller]
fn runs(node: &Fabric) {
    eventually("the guest answers", || {
        let closed = node.nexus(&["invoke", "shelf", "close"]);
        (closed.code == 0).then_some(())
    });
}

#[track_caller]
fn call(node: &Fabric, export: &str, args: &[&str]) -> String {
    let words = [&["invoke", "shelf", export], args].concat();
    node.nexus(&words).ok().trim_end().to_owned()
}

#[track_caller]
fn said(node: &Fabric, export: &str, args: &[&str], start: &str) -> String {
    let said = call(node, export, args);
    assert!(said.starts_with(start), "{export}: {said}");
    said
}

/// The text in `ok("…")`, quoted.
#[track_caller]
fn text(said: &str) -> String {
    let quoted = said
        .strip_prefix("ok(")
        .and_then(|rest| rest.strip_suffix(')'));
    quoted.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[track_caller]
fn share(node: &Fabric, rights: &str, term_ms: &str, audience: &str) -> String {
    text(&call(node, "share", &[rights, term_ms, audience]))
}

/// What is leased of an asset.
#[track_caller]
fn leased(node: &Fabric, asset: &str) -> u64 {
    let shown = node.nexus(&["asset", "show", asset, "-o", "json"]).json();
    shown["leased"].as_u64().unwrap()
}

#[track_caller]
fn nothing_leased(node: &Fabric, asset: &str) {
    eventually("all is given back", || {
        (leased(node, asset) == 0).then_some(())
    });
}

fn id(node: &Fabric) -> String {
    let status = node.nexus(&["node", "status", "-o", "json"]).json();
    status["node"].as_str().unwrap().to_owned()
}

/// Folders of members at a node.
fn folders(node: &Fabric) -> usize {
    std::fs::read_dir(node.data().join("volumes"))
        .unwrap()
        .count()
}

#[test]
fn a_guest_uses_a_volume_of_another_node_within_what_was_leased_and_finds_it_after_a_kill() {
    let (mut four, assets) = shelves(&[1]);
    let (first, asset) = (&four.nodes[0], &assets[0]);
    assert_eq!(call(first, "allocate", &[MIB, TERM_MS, "single"]), "ok");
    let bytes = leased(first, asset);
    assert!((1 << 20..4 << 20).contains(&bytes), "{bytes}");
    assert_eq!(folders(&four.nodes[1]), 1, "it is at the other node");
    let usage = call(first, "usage", &[]);
    let expected = format!("leased-bytes: {bytes}, members: 1, reached: 1");
    assert!(usage.contains(&expected), "{usage}");
    assert_eq!(call(first, "write", &["65534", "[1, 2, 3, 4]"]), "ok");
    assert_eq!(
        call(first, "read", &["65533", "6"]),
        "ok([0, 1, 2, 3, 4, 0])"
    );
    for (name, content) in [("\"a/b\"", "[5, 6, 7]"), ("\"c\"", "[8]")] {
        assert_eq!(call(first, "create-file", &[name]), "ok");
        assert_eq!(call(first, "write-file", &[name, "0", content]), "ok");
    }
    said(first, "create-file", &["\"c\""], "err(exists(");
    said(first, "create-file", &["\"../c\""], "err(invalid(");
    assert_eq!(call(first, "rename-file", &["\"c\"", "\"d\""]), "ok");
    let listed = "ok({names: [\"a/b\", \"d\"], more: false})";
    assert_eq!(call(first, "list-files", &["none"]), listed);
    // All that it can hold can be written, and written again, and not much more.
    assert_eq!(call(first, "fill", &["0", "16", "7"]), "ok");
    assert_eq!(call(first, "fill", &["0", "16", "9"]), "ok");
    said(first, "fill", &["16", "100", "9"], "err(full(");
    let file = std::fs::read_dir(four.nodes[1].data().join("volumes")).unwrap();
    let file = file.flatten().next().unwrap().path().join("pieces");
    let on_disk = file.metadata().unwrap().len();
    assert!(on_disk <= bytes + (12 << 10), "{on_disk} of {bytes}");
    assert_eq!(call(first, "sync", &[]), "ok");
    // More than the manifest grants.
    said(
        first,
        "allocate",
        &["67108864", TERM_MS, "single"],
        "err(quota(",
    );
    // On more nodes than have storage.
    said(
        first,
        "allocate",
        &[MIB, TERM_MS, "replicated(3)"],
        "err(exhausted(",
    );

    four.kill(1);
    said(&four.nodes[0], "read", &["0", "1"], "err(lost(");
    four.restart(1);
    let (first, second) = (&four.nodes[0], &four.nodes[1]);
    eventually("the member is found again", || {
        (call(first, "count", &["0", "16", "9"]) == "ok(16)").then_some(())
    });
    assert_eq!(
        call(first, "read-file", &["\"a/b\"", "0", "9"]),
        "ok([5, 6, 7])"
    );
    assert_eq!(call(first, "write", &["0", "[1]"]), "ok");
    assert_eq!(call(first, "sync", &[]), "ok");
    call(first, "close", &[]);
    nothing_leased(second, asset);
    eventually("it is wiped", || (folders(second) == 0).then_some(()));
}

#[test]
fn a_host_that_is_killed_in_mid_write_is_a_typed_error_and_leaves_no_half_block() {
    let (mut four, _) = shelves(&[1]);
    let allocated = call(&four.nodes[0], "allocate", &["33554432", TERM_MS, "single"]);
    assert_eq!(allocated, "ok");
    assert_eq!(call(&four.nodes[0], "fill", &["0", "8", "3"]), "ok");
    assert_eq!(call(&four.nodes[0], "sync", &[]), "ok");
    // Over what is synced, again and again.
    let filling = four.nodes[0].command(&["invoke", "shelf", "fill", "0", "500", "4"]);
    let ended = std::thread::scope(|scope| {
        let mut filling = filling;
        let fills = scope.spawn(move || run(&mut filling));
        std::thread::sleep(Duration::from_millis(300));
        four.kill(1);
        fills.join().unwrap()
    });
    let said = ended.ok();
    assert!(said.starts_with("err(lost("), "{said}");
    four.restart(1);
    let first = &four.nodes[0];
    let count = |byte: &str| -> Option<u64> {
        let said = call(first, "count", &["0", "500", byte]);
        said.strip_prefix("ok(")?.strip_suffix(')')?.parse().ok()
    };
    let new = eventually("it is read again", || count("4"));
    let (old, empty) = (count("3").unwrap(), count("0").unwrap());
    assert_eq!(
        new + old + empty,
        500,
        "{new} new, {old} old, {empty} empty"
    );
    assert!(new > 0 && old <= 8, "{new} new, {old} old");
}

#[test]
fn capabilities_are_refused_each_for_its_reason() {
    let (four, assets) = shelves(&[0]);
    let [first, second, third, ..] = four.nodes.as_slice() else {
        panic!("four nodes");
    };
    assert_eq!(call(first, "allocate", &[MIB, TERM_MS, "single"]), "ok");
    assert_eq!(call(first, "fill", &["0", "1", "5"]), "ok");
    // For another node.
    let audience = format!("some(\"{}\")", id(second));
    let only = share(first, "{read}", TERM_MS, &audience);
    let replayed = said(third, "open", &[&only], "err(denied(");
    assert!(replayed.contains("shows it"), "{replayed}");
    assert_eq!(call(second, "open", &[&only]), "ok");
    assert_eq!(call(second, "count", &["0", "1", "5"]), "ok(1)");
    let write = said(second, "write", &["0", "[1]"], "err(denied(");
    assert!(write.contains("no right to write"), "{write}");
    // More than it gives is not handed on.
    said(
        second,
        "share",
        &["{read, write}", TERM_MS, "none"],
        "err(denied(",
    );
    for owners in ["keep", "repair"] {
        said(second, owners, &[], "err(denied(");
    }
    said(second, "renew", &[TERM_MS], "err(denied(");
    // Mistyped.
    let mut changed = only.clone();
    let last = changed.len() - 2;
    let other = if &only[last..=last] == "a" { "b" } else { "a" };
    changed.replace_range(last..=last, other);
    said(third, "open", &[&changed], "err(invalid(");
    // Over.
    let short = share(first, "{read}", "1", "none");
    eventually("it has expired", || {
        let said = call(third, "open", &[&short]);
        (said.starts_with("err(denied(") && said.contains("ended at ledger time")).then_some(())
    });
    // One writes at a time: whoever begins takes over.
    let whole = share(first, "{read, write}", TERM_MS, "none");
    assert_eq!(call(third, "open", &[&whole]), "ok");
    assert_eq!(call(third, "fill", &["0", "1", "6"]), "ok");
    said(first, "fill", &["0", "1", "7"], "err(fenced(");
    assert_eq!(call(first, "count", &["0", "1", "6"]), "ok(1)");
    assert_eq!(call(second, "count", &["0", "1", "6"]), "ok(1)");
    // Revoked, also for who has it open, and for what was made of it.
    let part = share(third, "{read}", TERM_MS, "none");
    assert_eq!(call(second, "open", &[&part]), "ok");
    let not_owner = said(third, "revoke", &[&part], "err(denied(");
    assert!(not_owner.contains("only the holder"), "{not_owner}");
    assert_eq!(call(first, "revoke", &[&whole]), "ok");
    for node in [second, third] {
        let revoked = said(node, "read", &["0", "1"], "err(denied(");
        assert!(revoked.contains("was revoked"), "{revoked}");
    }
    said(second, "open", &[&part], "err(denied(");
    // Given back.
    call(first, "close", &[]);
    nothing_leased(second, &assets[0]);
    eventually("the lease is gone", || {
        (call(second, "open", &[&only]) == "err(ended)").then_some(())
    });
}

#[test]
fn what_is_kept_outlives_guest_and_node_and_counts_until_its_term_is_over() {
    let (mut four, assets) = shelves(&[1]);
    let asset = &assets[0];
    // Two of them are more than the manifest grants.
    let bytes = "41943040";
    assert_eq!(
        call(&four.nodes[0], "allocate", &[bytes, "40000", "single"]),
        "ok"
    );
    assert_eq!(call(&four.nodes[0], "fill", &["0", "2", "5"]), "ok");
    assert_eq!(call(&four.nodes[0], "sync", &[]), "ok");
    let later = text(&call(&four.nodes[0], "keep", &[]));
    assert_ne!(four.nodes[0].nexus(&["invoke", "shelf", "trap"]).code, 0);
    // Long enough for a look at leases that no guest has: one comes with the start.
    four.kill(0);
    four.restart(0);
    runs(&four.nodes[0]);
    std::thread::sleep(Duration::from_secs(2));
    let kept = leased(&four.nodes[2], asset);
    assert!(kept > 40 << 20, "{kept}");
    assert_eq!(call(&four.nodes[2], "open", &[&later]), "ok");
    assert_eq!(call(&four.nodes[2], "count", &["0", "2", "5"]), "ok(2)");
    said(
        &four.nodes[0],
        "allocate",
        &[bytes, "40000", "single"],
        "err(quota(",
    );
    eventually("the term is over", || {
        (call(&four.nodes[2], "read", &["0", "1"]) == "err(ended)").then_some(())
    });
    eventually("it is wiped", || {
        (folders(&four.nodes[1]) == 0).then_some(())
    });
    eventually("the grant is free again", || {
        let again = call(&four.nodes[0], "allocate", &[bytes, TERM_MS, "single"]);
        (again == "ok").then_some(())
    });
}

#[test]
fn a_volume_over_several_nodes_is_used_without_one_of_them_and_repaired() {
    let (mut four, assets) = shelves(&[0, 1, 2, 3]);
    let first = &four.nodes[0];
    assert_eq!(
        call(first, "allocate", &[MIB, TERM_MS, "replicated(3)"]),
        "ok"
    );
    let usage = call(first, "usage", &[]);
    assert!(usage.contains("members: 3, reached: 3"), "{usage}");
    let members: Vec<usize> = (0..4).filter(|at| folders(&four.nodes[*at]) == 1).collect();
    assert_eq!(members.len(), 3, "each at another node");
    assert_eq!(call(first, "fill", &["0", "8", "5"]), "ok");
    assert_eq!(call(first, "sync", &[]), "ok");
    let gone = *members.last().unwrap();
    four.kill(gone);
    let first = &four.nodes[0];
    assert_eq!(call(first, "count", &["0", "8", "5"]), "ok(8)");
    assert_eq!(call(first, "fill", &["4", "4", "6"]), "ok");
    let repaired = said(first, "repair", &[], "ok({members: 1, ");
    assert!(repaired.ends_with("lost: 0})"), "{repaired}");
    let usage = call(first, "usage", &[]);
    assert!(usage.contains("members: 3, reached: 3"), "{usage}");
    assert_eq!(call(first, "count", &["0", "4", "5"]), "ok(4)");
    assert_eq!(call(first, "count", &["4", "4", "6"]), "ok(4)");
    let other = (0..4).find(|at| !members.contains(at)).unwrap();
    assert_eq!(folders(&four.nodes[other]), 1, "another node has it now");
    call(first, "close", &[]);
    four.restart(gone);
    for asset in &assets {
        nothing_leased(&four.nodes[0], asset);
    }
}

#[test]
fn a_volume_of_fourteen_members_is_used_while_four_are_away() {
    let (mut four, assets) = shelves(&[0, 1, 2, 3]);
    let first = &four.nodes[0];
    let allocated = call(first, "allocate", &[MIB, TERM_MS, "sharded"]);
    assert_eq!(allocated, "ok");
    let counts: Vec<usize> = four.nodes.iter().map(folders).collect();
    assert_eq!(counts.iter().sum::<usize>(), 14);
    assert!(counts.iter().all(|count| *count <= 4), "{counts:?}");
    assert_eq!(call(first, "fill", &["0", "16", "5"]), "ok");
    assert_eq!(call(first, "sync", &[]), "ok");
    let gone = (1..4).find(|at| counts[*at] == 4).unwrap();
    four.kill(gone);
    let first = &four.nodes[0];
    let usage = call(first, "usage", &[]);
    assert!(usage.contains("members: 14, reached: 10"), "{usage}");
    assert_eq!(call(first, "count", &["0", "16", "5"]), "ok(16)");
    assert_eq!(call(first, "fill", &["8", "8", "6"]), "ok");
    assert_eq!(call(first, "sync", &[]), "ok");
    four.restart(gone);
    let first = &four.nodes[0];
    // What the four missed they get back.
    eventually("all are reached", || {
        let usage = call(first, "usage", &[]);
        usage.contains("members: 14, reached: 14").then_some(())
    });
    let repaired = said(first, "repair", &[], "ok({members: 0, ");
    assert!(
        !repaired.contains("pieces: 0,") && repaired.ends_with("lost: 0})"),
        "{repaired}"
    );
    // Without another four all is there.
    let other = (1..4).find(|at| *at != gone).unwrap();
    four.kill(other);
    let first = &four.nodes[0];
    assert_eq!(call(first, "count", &["0", "8", "5"]), "ok(8)");
    assert_eq!(call(first, "count", &["8", "8", "6"]), "ok(8)");
    four.restart(other);
    call(&four.nodes[0], "close", &[]);
    for asset in &assets {
        nothing_leased(&four.nodes[0], asset);
    }
}

#[test]
fn a_member_that_stays_away_is_replaced_by_the_node_itself() {
    let (mut four, _) = shelves(&[0, 1, 2, 3]);
    let first = &four.nodes[0];
    let replicated = [MIB, TERM_MS, "replicated(3)"];
    assert_eq!(call(first, "allocate", &replicated), "ok");
    assert_eq!(call(first, "fill", &["0", "4", "5"]), "ok");
    assert_eq!(call(first, "sync", &[]), "ok");
    let mut members = (1..4).filter(|at| folders(&four.nodes[*at]) == 1);
    let gone = members.next_back().unwrap();
    four.kill(gone);
    let first = &four.nodes[0];
    let usage = call(first, "usage", &[]);
    assert!(usage.contains("members: 3, reached: 2"), "{usage}");
    // One that is back within a minute keeps its place.
    std::thread::sleep(Duration::from_secs(50));
    eventually("another one has its place", || {
        let usage = call(first, "usage", &[]);
        usage.contains("members: 3, reached: 3").then_some(())
    });
    let held = (0..4).filter(|at| *at != gone && folders(&four.nodes[*at]) == 1);
    assert_eq!(held.count(), 3);
    eventually("it has all", || {
        (call(first, "repair", &[]) == "ok({members: 0, blocks: 4, pieces: 0, lost: 0})")
            .then_some(())
    });
    assert_eq!(call(first, "count", &["0", "4", "5"]), "ok(4)");
}
