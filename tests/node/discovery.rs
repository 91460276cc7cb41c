//! Members that find each other, and notice who is gone. Real processes.

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Fabric, eventually};
use crate::joining::{acquainted, founder, id, join, members, session, ticket};

/// Where a node listens.
fn listening(fabric: &Fabric) -> String {
    let stoq = fabric.nexus(&["stoq", "sessions", "-o", "json"]).json();
    stoq["listening"].as_str().unwrap().to_owned()
}

/// What `fabric` says of a member.
fn member(fabric: &Fabric, node: &str) -> Value {
    let found = members(fabric)
        .into_iter()
        .find(|member| member["node"] == node);
    found.unwrap_or_default()
}

fn is(fabric: &Fabric, node: &str, liveness: &str) {
    eventually(&format!("the member is {liveness}"), || {
        (member(fabric, node)["liveness"] == liveness).then_some(())
    });
}

/// Waits until `fabric` knows a member's own word about its address.
fn knows(fabric: &Fabric, node: &str, address: &str) {
    eventually("the member's record is here", || {
        let known = member(fabric, node);
        let known = known["addresses"].as_array()?;
        let found = known.iter().any(|known| known["address"] == address);
        found.then_some(())
    });
}

#[test]
fn members_that_joined_through_one_find_each_other_and_do_without_it() {
    let listen = ["--stoq", "127.0.0.1:0"];
    let first = founder();
    let second = join(&ticket(&first), &listen);
    let third = join(&ticket(&first), &listen);
    let (a, b, c) = (id(&first), id(&second), id(&third));
    knows(&second, &c, &listening(&third));
    knows(&third, &b, &listening(&second));
    acquainted(&second, &third);
    for (at, of) in [(&first, &b), (&second, &a), (&second, &c), (&third, &b)] {
        is(at, of, "alive");
    }
    first.process.signal(Signal::KILL);
    for at in [&second, &third] {
        is(at, &a, "down");
        eventually("the dead session is closed", || {
            session(at, &a).is_none().then_some(())
        });
        // A node's liveness is no part of the ledger.
        assert_eq!(member(at, &a)["membership"], "member");
    }
    assert!(second.log().contains("no sign of life"), "{}", second.log());
    is(&second, &c, "alive");
    // The second begins anew: nobody that it joined through is there.
    let address = listening(&second);
    let folder = second.stop();
    is(&third, &b, "down");
    let second = Fabric::start_in(folder, &["--stoq", &address]);
    acquainted(&second, &third);
    is(&second, &c, "alive");
    is(&third, &b, "alive");
    // And so does the one that was killed.
    let address = listening(&first_again(first, &second, &a));
    knows(&third, &a, &address);
}

/// Starts the killed node at another address: the others know it by its new record.
fn first_again(first: Fabric, second: &Fabric, node: &str) -> Fabric {
    let folder = first.folder;
    drop(first.process);
    let first = Fabric::start_in(folder, &["--stoq", "127.0.0.1:0"]);
    is(second, node, "alive");
    first
}
