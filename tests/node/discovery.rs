//! Members that find each other, and notice who is gone. Real processes.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Fabric, Running, binary, eventually, run};
use crate::joining::{acquainted, founder, id, join, members, session, ticket};

/// Where a node listens.
pub(crate) fn listening(fabric: &Fabric) -> String {
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

pub(crate) fn is(fabric: &Fabric, node: &str, liveness: &str) {
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
        // Being away ends no membership.
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
    // And so does the one that was killed, at another address: its new record says where.
    let folder = first.folder;
    drop(first.process);
    let first = Fabric::start_in(folder, &listen);
    is(&second, &a, "alive");
    knows(&third, &a, &listening(&first));
}

/// A network namespace with one interface that has multicast, and its other end.
struct Lan {
    name: String,
}

impl Lan {
    /// None if this machine does not let the test make one, which it says.
    fn new() -> Option<Self> {
        let name = format!("hypermesh-lan-{}", std::process::id());
        let ip = |arguments: &[&str]| {
            let ran = Command::new("ip").args(arguments).output();
            ran.is_ok_and(|output| output.status.success())
        };
        if !ip(&["netns", "add", &name]) {
            println!("skipped: network namespaces are not permitted here");
            return None;
        }
        let lan = Self { name };
        let within = |arguments: &[&str]| ip(&[&["-n", &lan.name], arguments].concat());
        assert!(within(&["link", "set", "lo", "up"]));
        assert!(within(&[
            "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"
        ]));
        assert!(within(&["link", "set", "lan1", "up"]));
        assert!(within(&["link", "set", "lan0", "multicast", "on", "up"]));
        assert!(within(&["addr", "add", "10.99.0.1/24", "dev", "lan0"]));
        assert!(within(&["route", "add", "224.0.0.0/4", "dev", "lan0"]));
        Some(lan)
    }

    /// The same command, within.
    fn within(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]);
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside.stdin(Stdio::null());
        inside
    }

    /// A node within, its log in `folder`.
    fn start(&self, folder: TempDir, arguments: &[&str]) -> Fabric {
        let log = File::create(folder.path().join("node.log")).unwrap();
        let mut command = binary();
        let data = folder.path().join("data");
        command.arg("--data").arg(data).args(arguments);
        let mut command = self.within(&command);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = Running::new(&mut command);
        Fabric { process, folder }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let mut command = Command::new("ip");
        let _ = command.args(["netns", "del", &self.name]).status();
    }
}

fn is_up(fabric: &mut Fabric) {
    eventually("the node is up", || {
        assert!(!fabric.process.has_ended(), "{}", fabric.log());
        fabric.log().contains("is up").then_some(())
    });
}

#[test]
fn nodes_on_one_network_find_each_other_without_an_address() {
    let Some(lan) = Lan::new() else { return };
    let listen = ["--stoq", "0.0.0.0:0"];
    let folder = || tempfile::tempdir().unwrap();
    let mut first = lan.start(folder(), &[&["up"], &listen[..]].concat());
    is_up(&mut first);
    let status = first.nexus(&["node", "status", "-o", "json"]).json();
    let fabric = status["fabric"].as_str().unwrap().to_owned();
    let a = id(&first);
    // Anybody may look.
    let found = eventually("the node is announced", || {
        let mut command = binary();
        let command = command.args(["fabric", "discover", "-o", "json"]);
        let found = run(&mut lan.within(command)).json();
        let found = found
            .as_array()?
            .iter()
            .find(|found| found["node"] == a)?
            .clone();
        // A name may be heard before its addresses are.
        let heard = found["addresses"].as_array()?.len();
        (heard > 0).then_some(found)
    });
    assert_eq!(found["fabric"], fabric.as_str());
    let addresses = found["addresses"].as_array().unwrap();
    assert_eq!(addresses.len(), 1, "{found}");
    assert!(
        addresses[0].as_str().unwrap().starts_with("10.99.0.1:"),
        "{found}"
    );

    // The fabric's id is all that the second is told.
    let mut second = lan.start(folder(), &[&["join", &fabric], &listen[..]].concat());
    let b = eventually("the node says its id", || {
        assert!(!second.process.has_ended(), "{}", second.log());
        let log = second.log();
        let (_, rest) = log.split_once("nexus fabric approve ")?;
        rest.get(..64).map(str::to_owned)
    });
    first.nexus(&["fabric", "approve", &b]).ok();
    is_up(&mut second);
    acquainted(&first, &second);

    // Its addresses are lost, and the first listens elsewhere now.
    let second_folder = second.stop();
    fs::remove_file(second_folder.path().join("data/peers.json")).unwrap();
    let first_folder = first.stop();
    let _ = fs::remove_file(first_folder.path().join("data/peers.json"));
    let mut first = lan.start(first_folder, &[&["up"], &listen[..]].concat());
    let mut second = lan.start(second_folder, &[&["up"], &listen[..]].concat());
    is_up(&mut first);
    is_up(&mut second);
    acquainted(&first, &second);
    // Nobody knows an address of a node that is not to be found.
    let second_folder = second.stop();
    drop(first.stop());
    fs::remove_file(second_folder.path().join("data/peers.json")).unwrap();
    let mut hidden = lan.start(second_folder, &[&["up", "--no-mdns"], &listen[..]].concat());
    is_up(&mut hidden);
    let mut command = binary();
    let command = command.args(["fabric", "discover", "-o", "json"]);
    let found = run(&mut lan.within(command)).json();
    assert_eq!(found.as_array().map(Vec::len), Some(0), "{found}");
}
