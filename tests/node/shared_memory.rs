//! Leased memory between four real nodes: added to from several at once, refused where a capability
//! does not give it, and given back exactly, however guests and nodes end.

use std::time::{Duration, Instant};

use crate::four::{Four, tip};
use crate::guests;
use crate::harness::{Fabric, eventually};

const MANIFEST: &str = r#"
name = "keeper"

[[component]]
name = "hand"
source = "memory.wat"
replicas = 4

[component.limits]
wall_time = "2m"

[component.capabilities]
memory = "1MiB"
"#;

/// Long enough for any of these tests.
const TERM_MS: &str = "600000";

/// Four nodes with a guest each; the first has memory that every node may lease.
fn keepers() -> (Four, String) {
    let four = Four::start();
    let first = &four.nodes[0];
    let register = ["asset", "register", "memory", "--privacy", "public-network"];
    let report = first.nexus(&[&register[..], &["-o", "json"]].concat());
    let asset = report.json()["asset"].as_str().unwrap().to_owned();
    first.write("memory.wat", &guests::memory_user());
    first.write("keeper.toml", MANIFEST);
    first.nexus(&["deploy", "keeper.toml"]).ok();
    for node in &four.nodes {
        runs(node);
    }
    (four, asset)
}

/// Waits until a node's guest answers.
#[track_caller]
fn runs(node: &Fabric) {
    eventually("the guest answers", || {
        let closed = node.nexus(&["invoke", "keeper", "close"]);
        (closed.code == 0).then_some(())
    });
}

#[track_caller]
fn call(node: &Fabric, export: &str, args: &[&str]) -> String {
    let words = [&["invoke", "keeper", export], args].concat();
    node.nexus(&words).ok().trim_end().to_owned()
}

#[track_caller]
fn allocate(node: &Fabric, bytes: &str) {
    // The ledger of a node that just started may lag.
    assert_eq!(call(node, "allocate", &[bytes, TERM_MS]), "ok");
}

/// A capability of what a node has open, quoted.
#[track_caller]
fn share(node: &Fabric, rights: &str, bytes: &str, term_ms: &str, audience: &str) -> String {
    let said = call(node, "share", &[rights, "0", bytes, term_ms, audience]);
    let quoted = said
        .strip_prefix("ok(")
        .and_then(|rest| rest.strip_suffix(')'));
    quoted.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[track_caller]
fn leased(node: &Fabric, asset: &str, bytes: u64) {
    eventually("the ledger says what is leased", || {
        let shown = node.nexus(&["asset", "show", asset, "-o", "json"]).json();
        (shown["leased"].as_u64() == Some(bytes)).then_some(())
    });
}

fn id(node: &Fabric) -> String {
    let status = node.nexus(&["node", "status", "-o", "json"]).json();
    status["node"].as_str().unwrap().to_owned()
}

#[test]
fn guests_of_several_nodes_add_to_one_region_and_give_back_what_they_had() {
    let (mut four, asset) = keepers();
    let [first, second, third, ..] = four.nodes.as_slice() else {
        panic!("four nodes");
    };
    let shown = first.nexus(&["asset", "show", &asset, "-o", "json"]).json();
    let address = shown["address"].as_str().unwrap();
    assert!(
        address.starts_with("hm://") && address.contains(&format!("/{}/{asset}#", id(first))),
        "{address}"
    );
    allocate(first, "4096");
    leased(first, &asset, 4_096);
    let capability = share(first, "{read, swap}", "8", TERM_MS, "none");
    for node in [second, third] {
        assert_eq!(call(node, "open", &[&capability]), "ok");
    }
    const EACH: &str = "300";
    std::thread::scope(|scope| {
        for node in [first, second, third] {
            scope.spawn(move || {
                let said = call(node, "add", &[EACH]);
                assert!(said.starts_with("ok("), "{said}");
            });
        }
    });
    let sum = 900_u64
        .to_le_bytes()
        .map(|byte| byte.to_string())
        .join(", ");
    for node in [first, second, third] {
        assert_eq!(call(node, "read", &["0", "8"]), format!("ok([{sum}])"));
    }

    // A node without memory of its own leases the other's, and its guest uses that as its own.
    let fourth = &four.nodes[3];
    allocate(fourth, "65536");
    leased(fourth, &asset, 4_096 + 65_536);
    assert_eq!(call(fourth, "write", &["65530", "[1, 2, 3]"]), "ok");
    assert_eq!(call(fourth, "read", &["65529", "5"]), "ok([0, 1, 2, 3, 0])");
    let usage = call(fourth, "usage", &[]);
    assert!(
        usage.contains("bytes: 65536, resident-bytes: 65536"),
        "{usage}"
    );
    let over = call(fourth, "allocate", &["1048576", TERM_MS]);
    assert!(over.starts_with("err(quota("), "{over}");

    // A guest that traps takes its region with it, for everybody.
    assert_ne!(first.nexus(&["invoke", "keeper", "trap"]).code, 0);
    leased(second, &asset, 65_536);
    eventually("the region has ended", || {
        (call(second, "read", &["0", "8"]) == "err(ended)").then_some(())
    });

    // So does a node that is killed, once it is back.
    four.kill(3);
    leased(&four.nodes[0], &asset, 65_536);
    four.restart(3);
    leased(&four.nodes[0], &asset, 0);
    runs(&four.nodes[3]);
    allocate(&four.nodes[3], "65536");
    let fresh = call(&four.nodes[3], "read", &["65529", "5"]);
    assert_eq!(fresh, "ok([0, 0, 0, 0, 0])", "nothing of before is seen");
    call(&four.nodes[3], "close", &[]);
    leased(&four.nodes[0], &asset, 0);
}

#[test]
fn capabilities_are_refused_each_for_its_reason() {
    let (four, asset) = keepers();
    let [first, second, third, ..] = four.nodes.as_slice() else {
        panic!("four nodes");
    };
    allocate(first, "64");
    let open = |node: &Fabric, capability: &str| call(node, "open", &[capability]);
    // For another node.
    let audience = format!("some(\"{}\")", id(second));
    let only = share(first, "{read}", "64", TERM_MS, &audience);
    let replayed = open(third, &only);
    assert!(replayed.starts_with("err(denied("), "{replayed}");
    assert!(replayed.contains("shows it"), "{replayed}");
    assert_eq!(open(second, &only), "ok");
    let write = call(second, "write", &["0", "[1]"]);
    assert!(write.contains("gives no right to write"), "{write}");
    // More than it gives is not handed on.
    let wider = ["{read, write}", "0", "64", TERM_MS, "none"];
    let widened = call(second, "share", &wider);
    assert!(widened.starts_with("err(denied("), "{widened}");
    // Mistyped.
    let mut changed = only.clone();
    let last = changed.len() - 2;
    let other = if &only[last..=last] == "a" { "b" } else { "a" };
    changed.replace_range(last..=last, other);
    let mistyped = open(third, &changed);
    assert!(mistyped.starts_with("err(invalid("), "{mistyped}");
    // Over.
    let short = share(first, "{read}", "64", "1", "none");
    eventually("it has expired", || {
        let said = open(third, &short);
        (said.starts_with("err(denied(") && said.contains("ended at ledger time")).then_some(())
    });
    // Revoked, also for who has it open, and for what was made of it.
    let whole = share(first, "{read, write, swap}", "64", TERM_MS, "none");
    assert_eq!(open(second, &whole), "ok");
    let part = share(second, "{read}", "8", TERM_MS, "none");
    assert_eq!(open(third, &part), "ok");
    let not_owner = call(second, "revoke", &[&part]);
    assert!(not_owner.contains("only the holder"), "{not_owner}");
    assert_eq!(call(first, "revoke", &[&whole]), "ok");
    for node in [second, third] {
        let revoked = call(node, "read", &["0", "1"]);
        assert!(revoked.contains("was revoked"), "{revoked}");
    }
    let again = open(third, &part);
    assert!(again.starts_with("err(denied("), "{again}");
    // Given back.
    call(first, "close", &[]);
    leased(second, &asset, 0);
    eventually("the lease is gone", || {
        (open(third, &only) == "err(ended)").then_some(())
    });
}

#[test]
fn a_host_that_is_killed_in_mid_operation_is_a_typed_error_of_those_who_use_its_memory() {
    let (mut four, _) = keepers();
    allocate(&four.nodes[0], "4096");
    let capability = share(&four.nodes[0], "{read, swap}", "8", TERM_MS, "none");
    assert_eq!(call(&four.nodes[1], "open", &[&capability]), "ok");
    let adding = four.nodes[1].command(&["invoke", "keeper", "add", "10000000"]);
    let ended = std::thread::scope(|scope| {
        let mut adding = adding;
        let adds = scope.spawn(move || crate::harness::run(&mut adding));
        std::thread::sleep(Duration::from_millis(500));
        four.kill(0);
        adds.join().unwrap()
    });
    let said = ended.ok();
    assert!(said.starts_with("err(lost("), "{said}");
    // It goes on: the next region is to be had elsewhere, or not at all.
    let none = call(&four.nodes[1], "allocate", &["64", TERM_MS]);
    let typed = ["err(exhausted(", "err(unavailable("];
    assert!(typed.iter().any(|case| none.starts_with(case)), "{none}");
}

#[test]
fn a_region_of_a_node_that_is_cut_off_ends_by_the_clock_of_that_node() {
    let (mut four, _) = keepers();
    // Ten seconds are the shortest; by then no block can come any more.
    assert_eq!(call(&four.nodes[0], "allocate", &["64", "10000"]), "ok");
    let begun = Instant::now();
    assert_eq!(call(&four.nodes[0], "write", &["0", "[1]"]), "ok");
    four.kill(2);
    four.kill(3);
    let height = tip(&four.nodes[0]).0;
    eventually("the region has ended", || {
        (call(&four.nodes[0], "read", &["0", "1"]) == "err(ended)").then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "too late");
    // Blocks of before the kills may have come late; ledger time was not there yet.
    assert!(tip(&four.nodes[0]).0 <= height + 2, "the ledger went on");
    let log = four.nodes[0].log();
    assert!(log.contains("ended and was wiped"), "{log}");
}

#[test]
fn a_lease_that_is_renewed_goes_on_where_its_host_is_this_node_or_another() {
    let (four, asset) = keepers();
    let (here, elsewhere) = (&four.nodes[0], &four.nodes[2]);
    let begun = Instant::now();
    for node in [here, elsewhere] {
        assert_eq!(call(node, "allocate", &["64", "10000"]), "ok");
        assert_eq!(call(node, "write", &["0", "[7]"]), "ok");
        assert_eq!(call(node, "renew", &[TERM_MS]), "ok");
        let no_longer = call(node, "renew", &["10000"]);
        assert!(no_longer.starts_with("err(invalid("), "{no_longer}");
        let month = call(node, "renew", &["2592000000"]);
        assert!(month.starts_with("err(invalid("), "{month}");
        assert!(month.contains("a lease of"), "{month}");
        let forever = call(node, "renew", &["2592000001"]);
        assert!(forever.contains("a lease lasts"), "{forever}");
    }
    let left = call(here, "remaining", &[]);
    let left = left.strip_prefix("ok(").unwrap().strip_suffix(')').unwrap();
    assert!(left.parse::<u64>().unwrap() > 500_000, "{left}");
    let capability = share(here, "{read}", "1", TERM_MS, "none");
    let opener = &four.nodes[1];
    assert_eq!(call(opener, "open", &[&capability]), "ok");
    let denied = call(opener, "renew", &[TERM_MS]);
    assert!(denied.contains("only the holder"), "{denied}");
    // The first terms are over by any clock.
    std::thread::sleep(Duration::from_millis(11_000).saturating_sub(begun.elapsed()));
    for node in [here, elsewhere, opener] {
        assert_eq!(call(node, "read", &["0", "1"]), "ok([7])");
    }
    // What is over is not revived.
    assert_eq!(call(elsewhere, "allocate", &["64", "10000"]), "ok");
    leased(here, &asset, 64 + 64);
    eventually("the lease is over", || {
        (call(elsewhere, "read", &["0", "1"]) == "err(ended)").then_some(())
    });
    eventually("it is over on the ledger", || {
        (call(elsewhere, "renew", &[TERM_MS]) == "err(ended)").then_some(())
    });
}
