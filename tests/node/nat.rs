//! Machines behind NAT, each in network namespaces of its own: they reach each other through a
//! third, operators reach them, and sessions outlive a change of address. Real processes, nft.

use std::fs::{self, File};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::components::LIBRARY;
use crate::harness::{Fabric, Ran, Running, binary, eventually, run};

/// What is public: the first node, and the two routers that hide the others.
const PUBLIC: &str = "10.9.0.1";
const ROUTERS: [&str; 2] = ["10.9.0.2", "10.9.0.3"];
/// What a router gives its one machine. Both give the same, as routers do.
const HIDDEN: &str = "192.168.1.2";

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
struct Net {
    name: String,
}

impl Net {
    /// The network; none, and why, where it cannot be made.
    fn new() -> Option<Self> {
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
    fn inside(&self, place: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(place), program]);
        command
    }

    /// Runs `ip` in a namespace.
    #[track_caller]
    fn ip(&self, place: &str, words: &str) {
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
    fn start(&self, place: &str, folder: tempfile::TempDir, arguments: &[&str]) -> Fabric {
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
    fn nexus(&self, place: &str) -> Command {
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
    fn operator(&self, place: &str, fabric: &Fabric, arguments: &[&str]) -> Ran {
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

#[track_caller]
fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A public node and two behind NAT that joined through it.
struct Trio {
    net: Net,
    public: Fabric,
    hidden: [Fabric; 2],
}

impl Trio {
    fn start() -> Option<Self> {
        let net = Net::new()?;
        let listen = format!("{PUBLIC}:7400");
        let public = net.start("public", folder(), &["up", "--stoq", &listen]);
        let hidden = [0, 1].map(|number| {
            let ticket = public.nexus(&["fabric", "invite"]).ok();
            let place = format!("machine{number}");
            let arguments = ["join", ticket.trim(), "--stoq", "0.0.0.0:7400"];
            net.start(&place, folder(), &arguments)
        });
        Some(Self {
            net,
            public,
            hidden,
        })
    }

    /// Waits until the two have each other through the public node.
    #[track_caller]
    fn joined(&self) {
        let public = id(&self.public);
        let [one, other] = &self.hidden;
        for (fabric, peer) in [(one, id(other)), (other, id(one))] {
            eventually("the other machine is there, through the public one", || {
                let found = session(fabric, &peer)?;
                (found["standing"] == "member" && found["via"] == *public).then_some(())
            });
        }
    }

    /// How operators name the first hidden machine.
    fn through(&self) -> String {
        let (target, relay) = (id(&self.hidden[0]), id(&self.public));
        format!("{target}@{relay}@{PUBLIC}:7400")
    }
}

fn id(fabric: &Fabric) -> String {
    let status = fabric.nexus(&["node", "status", "-o", "json"]).json();
    status["node"].as_str().unwrap().to_owned()
}

/// The session of `fabric` with `peer`, if there is one.
fn session(fabric: &Fabric, peer: &str) -> Option<Value> {
    let stoq = fabric.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let sessions = stoq["sessions"].as_array().unwrap().clone();
    sessions.into_iter().find(|session| session["peer"] == peer)
}

#[test]
fn two_behind_nat_have_a_session_and_get_it_back_after_the_relay_was_killed() {
    let Some(mut trio) = Trio::start() else {
        return;
    };
    trio.joined();
    let [one, other] = &trio.hidden;
    // There really is no other way.
    for router in ROUTERS {
        let place = format!("{}@{router}:7400", id(other));
        let asked = ["--node", &place, "ps"];
        let direct = trio.net.operator("machine0", &trio.public, &asked);
        assert_ne!(direct.code, 0, "{direct:?}");
    }
    let shown = one.nexus(&["stoq", "sessions"]).ok();
    assert!(
        shown.contains(&format!("via {}", &id(&trio.public)[..8])),
        "{shown}"
    );
    // Killed and started again at the same address, the relay is found and used again.
    trio.public.process.signal(Signal::KILL);
    trio.public.process.ends();
    let gone = std::mem::replace(&mut trio.public.folder, folder());
    let listen = format!("{PUBLIC}:7400");
    trio.public = trio.net.start("public", gone, &["up", "--stoq", &listen]);
    trio.joined();
    // And all three follow one ledger.
    let key = "ab".repeat(32);
    trio.public.nexus(&["role", "grant", "viewer", &key]).ok();
    for fabric in &trio.hidden {
        eventually("the machine follows", || {
            let roles = fabric.nexus(&["role", "list"]).ok();
            roles.contains(&key).then_some(())
        });
    }
}

#[test]
fn an_operator_reaches_a_machine_behind_nat() {
    let Some(trio) = Trio::start() else {
        return;
    };
    let place = trio.through();
    trio.public.write("empty.wat", "(component)");
    let deploy = ["deploy", "empty.wat", "--name", "app"];
    trio.public.nexus(&deploy).ok();
    // The operator is behind the other NAT.
    let operator = |arguments: &[&str]| {
        let arguments = [&["--node", &place], arguments].concat();
        trio.net.operator("machine1", &trio.public, &arguments)
    };
    let status = operator(&["node", "status", "-o", "json"]).json();
    assert_eq!(status["node"], *id(&trio.hidden[0]));
    eventually("the machine knows of the workload", || {
        operator(&["ps"]).ok().contains("app").then_some(())
    });
    operator(&["logs", "app"]).ok();
    operator(&["role", "grant", "viewer", &"ab".repeat(32)]).ok();
    let roles = trio.public.nexus(&["role", "list"]).ok();
    assert!(roles.contains(&"ab".repeat(32)), "{roles}");
    // A key without a role is not even carried.
    let home = folder();
    let elsewhere = |arguments: &[&str]| {
        let mut command = trio.net.nexus("machine1");
        run(command.args(arguments).env("XDG_CONFIG_HOME", home.path()))
    };
    let fabric = status["fabric"].as_str().unwrap();
    let add = ["context", "add", "there", &place, "--fabric", fabric];
    let added = elsewhere(&[&add[..], &["-o", "json"]].concat()).json();
    let refused = elsewhere(&["ps"]).failed(3);
    assert!(refused.contains("has no role in this fabric"), "{refused}");
    let key = added["operator"].as_str().unwrap();
    trio.public.nexus(&["role", "grant", "viewer", key]).ok();
    eventually("the machine knows of the role", || {
        (elsewhere(&["ps"]).code == 0).then_some(())
    });
}

/// The founder runs the workloads. Here it is behind NAT; a member let it be found once.
#[test]
fn an_operator_calls_what_runs_on_a_machine_behind_nat() {
    let Some(net) = Net::new() else {
        return;
    };
    let listen_hidden = format!("{HIDDEN}:7400");
    let outside = format!("{}:7400", ROUTERS[0]);
    let up = ["up", "--stoq", &listen_hidden, "--advertise", &outside];
    let founder = net.start("machine0", folder(), &up);
    // The router lets one member in, and then nobody any more.
    let forwarded = format!(
        "table ip open {{
            chain before {{
                type nat hook prerouting priority -100;
                iifname \"wan\" udp dport 7400 dnat to {HIDDEN}
            }}
        }}"
    );
    let opened = "add rule ip filter through iifname \"wan\" udp dport 7400 accept";
    for rule in [&forwarded, opened] {
        done(net.inside("router0", "nft").arg(rule));
    }
    let ticket = founder.nexus(&["fabric", "invite"]).ok();
    let listen = format!("{PUBLIC}:7400");
    let join = ["join", ticket.trim(), "--stoq", &listen];
    let member = net.start("public", folder(), &join);
    eventually(
        "both know each other as members, and where they are",
        || {
            let known = |at: &Fabric, peer: &str| {
                session(at, peer).is_some_and(|found| found["standing"] == "member")
            };
            let said = founder.nexus(&["fabric", "members"]).ok();
            let is_said = said.contains(PUBLIC);
            (is_said && known(&founder, &id(&member)) && known(&member, &id(&founder)))
                .then_some(())
        },
    );
    for rule in ["delete table ip open", "flush chain ip filter through"] {
        done(net.inside("router0", "nft").arg(rule));
    }
    let again = "add rule ip filter through iifname \"lan\" accept; \
                 add rule ip filter through ct state established,related accept";
    done(net.inside("router0", "nft").arg(again));
    // Started again it dials out, to where the member said that it is.
    let folder = founder.stop();
    let founder = net.start("machine0", folder, &["up", "--stoq", &listen_hidden]);
    eventually("it has dialled out", || {
        let found = session(&founder, &id(&member))?;
        (found["standing"] == "member" && found["direction"] == "dialled").then_some(())
    });
    founder.write("lib.wat", LIBRARY);
    founder.nexus(&["deploy", "lib.wat"]).ok();
    let operator = |place: &str, words: &[&str]| {
        let arguments = [&["--node", place], words].concat();
        net.operator("machine1", &founder, &arguments)
    };
    let direct = format!("{}@{outside}", id(&founder));
    assert_ne!(operator(&direct, &["ps"]).code, 0, "the router is open");
    let place = format!("{}@{}@{PUBLIC}:7400", id(&founder), id(&member));
    let sum = operator(&place, &["invoke", "lib", "add", "2", "-3"]).ok();
    assert_eq!(sum, "-1\n");
    let listed = operator(&place, &["ps"]).ok();
    assert!(listed.contains("lib"), "{listed}");
    let logs = operator(&place, &["logs", "lib"]);
    assert_eq!(logs.code, 0, "{logs:?}");
}

/// Bytes that are sent while the address changes, and how fast they may go: some seconds' worth.
const UPLOAD_BYTES: usize = 6_000_000;
const UPLOAD_RATE: &str = "8mbit";

#[test]
fn a_transfer_goes_on_while_the_address_behind_nat_changes() {
    let Some(trio) = Trio::start() else {
        return;
    };
    let (net, machine) = (&trio.net, &trio.hidden[0]);
    let hidden = id(machine);
    let slow = format!("qdisc add dev lan root tbf rate {UPLOAD_RATE} burst 32kb latency 200ms");
    done(net.inside("router0", "tc").args(slow.split_whitespace()));
    let before = session(&trio.public, &hidden).unwrap();
    let kept = session(machine, &id(&trio.public)).unwrap();
    assert!(
        before["remote"].as_str().unwrap().starts_with(ROUTERS[0]),
        "{before}"
    );
    let bytes = "x".repeat(UPLOAD_BYTES);
    let module = format!("core module (memory 100) (data (i32.const 0) \"{bytes}\")");
    trio.public
        .write("large.wat", &format!("(component ({module}))"));
    let place = trio.through();
    let (data, log) = (trio.public.data(), trio.public.folder.path().join("up.log"));
    let log = File::create(log).unwrap();
    let mut upload = net.nexus("machine1");
    upload
        .arg("--data")
        .arg(data)
        .args(["--node", &place, "deploy", "large.wat", "--name", "large"])
        .arg("--dry-run")
        .current_dir(trio.public.folder.path())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let mut upload = Running::new(&mut upload);
    let received = || {
        let found = session(machine, &id(&trio.public)).unwrap();
        found["received_bytes"].as_u64().unwrap()
    };
    let begun = received();
    let part = UPLOAD_BYTES as u64 / 5;
    eventually("a part of it has come", || {
        (received() > begun + part).then_some(())
    });
    assert!(!upload.has_ended(), "it is too fast for this test");
    // The router gets another address; what it had translated is forgotten with the old one.
    net.ip("router0", &format!("addr del {}/24 dev wan", ROUTERS[0]));
    net.ip("router0", "addr add 10.9.0.77/24 dev wan");
    let code = upload.ends();
    let said = fs::read_to_string(trio.public.folder.path().join("up.log")).unwrap();
    assert_eq!(code, 0, "{said}");
    // It is the same session at both ends, and its other end is at the new address.
    let after = session(&trio.public, &hidden).unwrap();
    assert!(
        after["remote"].as_str().unwrap().starts_with("10.9.0.77"),
        "{after}"
    );
    let again = session(machine, &id(&trio.public)).unwrap();
    for (old, new) in [(&before, &after), (&kept, &again)] {
        let since = |session: &Value| session["since_ms"].as_u64().unwrap();
        // Computed from an age: it may be off by the time that the answer took.
        let apart = since(old).abs_diff(since(new));
        assert!(apart < 2_000, "another session: {apart} ms later");
    }
}
