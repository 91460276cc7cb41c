//! A network of its own for a test: a public place and two machines behind NAT, in namespaces, by
//! `ip` and `nft`. Knows nothing of what the nodes in it do.

use std::fs::File;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{Fabric, Ran, Running, binary, eventually, run};

/// What is public: the first node, and the two routers that hide the others.
pub(crate) const PUBLIC: &str = "10.9.0.1";
pub(crate) const ROUTERS: [&str; 2] = ["10.9.0.2", "10.9.0.3"];
/// What a router gives its one machine. Both give the same, as routers do.
pub(crate) const HIDDEN: &str = "192.168.1.2";

/// A router that hides what is behind it and lets nothing in that was not asked for.
const RULES: &str = "\
table ip nat {
    chain after { type nat hook postrouting priority 100; oifname \"wan\" masquerade random; }
}
table ip filter {
    chain through {
        type filter hook forward priority 0; policy drop;
        iifname \"lan\" accept
        ct state established,related accept
    }
    chain to { type filter hook input priority 0; policy drop; }
}";

/// Names of namespaces of all tests of this process.
static NETS: AtomicU32 = AtomicU32::new(0);

/// A public network with two machines behind NAT. Gone when dropped.
pub(crate) struct Net {
    name: String,
}

impl Net {
    /// The network; none, and why, where it cannot be made.
    pub(crate) fn new() -> Option<Self> {
        let missing = [("ip", "-V"), ("nft", "--version")]
            .into_iter()
            .find(|(tool, flag)| Command::new(tool).arg(flag).output().is_err());
        if let Some((tool, _)) = missing {
            println!("skipped: this machine has no `{tool}`");
            return None;
        }
        let number = NETS.fetch_add(1, Ordering::Relaxed);
        let name = format!("hypermesh-{}-{number}", std::process::id());
        let net = Self { name };
        let made = Command::new("ip")
            .args(["netns", "add", &net.space("public")])
            .output()
            .unwrap();
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr).into_owned();
            println!("skipped: this user may not make network namespaces: {why}");
            return None;
        }
        net.build();
        Some(net)
    }

    fn space(&self, place: &str) -> String {
        format!("{}-{place}", self.name)
    }

    /// `program` in one of the namespaces; it keeps its process id.
    pub(crate) fn inside(&self, place: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(place), program]);
        command
    }

    /// Runs `ip` in a namespace.
    #[track_caller]
    pub(crate) fn ip(&self, place: &str, words: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.space(place)]);
        done(command.args(words.split_whitespace()));
    }

    #[track_caller]
    fn build(&self) {
        let public = self.space("public");
        self.ip("public", "link set lo up");
        self.ip("public", "link add net type bridge");
        self.ip("public", &format!("addr add {PUBLIC}/24 dev net"));
        self.ip("public", "link set net up");
        for (number, address) in ROUTERS.iter().enumerate() {
            let (router, machine) = (format!("router{number}"), format!("machine{number}"));
            for place in [&router, &machine] {
                done(Command::new("ip").args(["netns", "add", &self.space(place)]));
                self.ip(place, "link set lo up");
            }
            let port = format!("port{number}");
            self.ip(
                &router,
                &format!("link add wan type veth peer name {port} netns {public}"),
            );
            self.ip("public", &format!("link set {port} master net up"));
            self.ip(&router, &format!("addr add {address}/24 dev wan"));
            self.ip(&router, "link set wan up");
            let space = self.space(&machine);
            self.ip(
                &router,
                &format!("link add lan type veth peer name eth0 netns {space}"),
            );
            self.ip(&router, "addr add 192.168.1.1/24 dev lan");
            self.ip(&router, "link set lan up");
            self.ip(&machine, &format!("addr add {HIDDEN}/24 dev eth0"));
            self.ip(&machine, "link set eth0 up");
            self.ip(&machine, "route add default via 192.168.1.1");
            let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
            done(self.inside(&router, "sh").args(["-c", forward]));
            done(self.inside(&router, "nft").arg(RULES));
        }
    }

    /// Starts a node and waits until it is up.
    #[track_caller]
    pub(crate) fn start(
        &self,
        place: &str,
        folder: tempfile::TempDir,
        arguments: &[&str],
    ) -> Fabric {
        let log = File::create(folder.path().join("node.log")).unwrap();
        let mut command = self.nexus(place);
        command
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(arguments);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = Running::new(&mut command);
        let mut fabric = Fabric { process, folder };
        eventually("the node is up", || {
            assert!(!fabric.process.has_ended(), "{}", fabric.log());
            let is_up = fabric.log().contains("is up");
            (is_up && fabric.nexus(&["node", "status"]).code == 0).then_some(())
        });
        fabric
    }

    /// The binary in a namespace.
    pub(crate) fn nexus(&self, place: &str) -> Command {
        let plain = binary();
        let mut command = self.inside(place, plain.get_program().to_str().unwrap());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// A command of the operator of `fabric`, who sits at `place`.
    pub(crate) fn operator(&self, place: &str, fabric: &Fabric, arguments: &[&str]) -> Ran {
        let mut command = self.nexus(place);
        command.arg("--data").arg(fabric.data()).args(arguments);
        run(command.current_dir(fabric.folder.path()))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let places = ["machine0", "machine1", "router0", "router1", "public"];
        for place in places {
            let _ = Command::new("ip")
                .args(["netns", "del", &self.space(place)])
                .output();
        }
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}
