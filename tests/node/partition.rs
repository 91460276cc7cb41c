//! A network that falls apart and heals, in namespaces: no half of four validators decides, three
//! go on without the fourth. Real processes.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::four::{agree, folders, found, grant, status, tip};
use crate::harness::{Fabric, Running, binary, eventually};
use crate::net::done;

/// Names of networks of this process.
static SWITCHES: AtomicU32 = AtomicU32::new(0);

/// Four machines at one switch. Gone when dropped.
struct Switch {
    name: String,
}

fn address(machine: usize) -> String {
    format!("10.8.0.{}", machine + 1)
}

impl Switch {
    /// The network; none, and why, where it cannot be made.
    fn new() -> Option<Self> {
        let tools = [("ip", "-V"), ("nft", "--version")];
        let is_missing =
            |(tool, flag): &(&str, &str)| Command::new(tool).arg(flag).output().is_err();
        if let Some((tool, _)) = tools.into_iter().find(is_missing) {
            println!("skipped: this machine has no `{tool}`");
            return None;
        }
        let number = SWITCHES.fetch_add(1, Ordering::Relaxed);
        let name = format!("hypermesh-switch-{}-{number}", std::process::id());
        let switch = Self { name };
        let space = switch.space("middle");
        let made = Command::new("ip").args(["netns", "add", &space]).output();
        let made = made.unwrap();
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr).into_owned();
            println!("skipped: this user may not make network namespaces: {why}");
            return None;
        }
        switch.build();
        Some(switch)
    }

    fn space(&self, place: &str) -> String {
        format!("{}-{place}", self.name)
    }

    #[track_caller]
    fn ip(&self, place: &str, words: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.space(place)]);
        done(command.args(words.split_whitespace()));
    }

    #[track_caller]
    fn build(&self) {
        self.ip("middle", "link add net type bridge");
        self.ip("middle", "link set net up");
        let middle = self.space("middle");
        for machine in 0..4 {
            let place = machine.to_string();
            done(Command::new("ip").args(["netns", "add", &self.space(&place)]));
            self.ip(&place, "link set lo up");
            let link = format!("link add eth0 type veth peer name port{place} netns {middle}");
            self.ip(&place, &link);
            self.ip("middle", &format!("link set port{place} master net up"));
            self.ip(
                &place,
                &format!("addr add {}/24 dev eth0", address(machine)),
            );
            self.ip(&place, "link set eth0 up");
        }
    }

    /// `program` on one of the machines; it keeps its process id.
    fn inside(&self, machine: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        let space = self.space(&machine.to_string());
        command.args(["netns", "exec", &space, program]);
        command
    }

    /// Lets nothing through between two groups of machines.
    #[track_caller]
    fn part(&self, one: &[usize], other: &[usize]) {
        for (here, there) in [(one, other), (other, one)] {
            let there: Vec<_> = there.iter().map(|machine| address(*machine)).collect();
            let rules = format!(
                "table ip parted {{ chain in {{ type filter hook input priority 0; \
                 ip saddr {{ {} }} drop\n }}\n }}",
                there.join(", ")
            );
            for machine in here {
                done(self.inside(*machine, "nft").arg(&rules));
            }
        }
    }

    #[track_caller]
    fn heal(&self) {
        for machine in 0..4 {
            done(self.inside(machine, "nft").arg("delete table ip parted"));
        }
    }

    /// A validator that is about to be ready, once three of them are.
    fn start(&self, machine: usize, folder: TempDir, founding: &str) -> Fabric {
        let plain = binary();
        let mut command = self.inside(machine, plain.get_program().to_str().unwrap());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let log = std::fs::File::create(folder.path().join("node.log")).unwrap();
        command
            .arg("--data")
            .arg(folder.path().join("data"))
            .arg("up");
        let listen = format!("{}:7400", address(machine));
        command.args(["--stoq", &listen, "--founding", founding]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = Running::new(&mut command);
        Fabric { process, folder }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for place in ["0", "1", "2", "3", "middle"] {
            let space = self.space(place);
            let _ = Command::new("ip").args(["netns", "del", &space]).output();
        }
    }
}

/// Hands in a fact and does not wait.
fn begin(node: &Fabric, key: &str) -> Running {
    Running::new(&mut node.command(&["role", "grant", "viewer", key]))
}

#[test]
fn halves_decide_nothing_three_go_on_and_a_healed_network_agrees() {
    let Some(switch) = Switch::new() else {
        return;
    };
    let folders = folders(|_, _| {});
    let addresses: Vec<_> = (0..4).map(|at| format!("{}:7400", address(at))).collect();
    let written = found(&folders, &addresses);
    let nodes: Vec<_> = folders
        .into_iter()
        .enumerate()
        .map(|(machine, folder)| switch.start(machine, folder, written.to_str().unwrap()))
        .collect();
    let all: Vec<_> = nodes.iter().collect();
    for node in &nodes {
        eventually("the node is ready", || {
            (node.nexus(&["node", "status"]).code == 0).then_some(())
        });
    }
    let mut keys = vec!["a0".repeat(32)];
    assert!(grant(&mut nodes[0].command(&[]), &keys[0]));
    agree(&all, &keys);

    // Two and two: each half has something to decide and knows whom it misses.
    switch.part(&[0, 1], &[2, 3]);
    keys.extend(["b1".repeat(32), "b2".repeat(32)]);
    let before: Vec<_> = nodes.iter().map(tip).collect();
    let mut asked = [begin(&nodes[0], &keys[1]), begin(&nodes[2], &keys[2])];
    for node in &nodes {
        eventually("both halves say that they have no quorum", || {
            (status(node)["quorum"]["reached"] == 2).then_some(())
        });
    }
    for one in &mut asked {
        assert!(!one.has_ended(), "half of the validators decided something");
    }
    assert_eq!(nodes.iter().map(tip).collect::<Vec<_>>(), before);
    switch.heal();
    for one in &mut asked {
        assert_eq!(one.ends(), 0);
    }
    agree(&all, &keys);

    // Three and one: three go on, the one says that it is alone, and catches up.
    switch.part(&[0, 1, 2], &[3]);
    let behind = tip(&nodes[3]);
    for (node, byte) in nodes[..3].iter().zip(["c0", "c1", "c2"]) {
        let key = byte.repeat(32);
        assert!(grant(&mut node.command(&[]), &key));
        keys.push(key);
    }
    agree(&all[..3], &keys);
    eventually("the one says that it is alone", || {
        (status(&nodes[3])["quorum"]["reached"] == 1).then_some(())
    });
    assert_eq!(tip(&nodes[3]), behind);
    switch.heal();
    agree(&all, &keys);
}
