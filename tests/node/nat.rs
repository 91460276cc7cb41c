//! Machines behind NAT: they reach each other through a third, operators reach them, and sessions
//! outlive a change of address. Real processes in network namespaces.

use std::fs::{self, File};

use rustix::process::Signal;
use serde_json::Value;

use crate::components::LIBRARY;
use crate::harness::{Fabric, Running, eventually, run};
use crate::net::{HIDDEN, Net, PUBLIC, ROUTERS, done};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A public node and two behind NAT that joined through it.
struct Trio {
    hidden: [Fabric; 2],
    public: Fabric,
    net: Net,
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
    // On another port: the router still knows the member's flow to the one before.
    let listen_hidden = format!("{HIDDEN}:7401");
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
    let direct = format!("{}@{}:7401", id(&founder), ROUTERS[0]);
    assert_ne!(operator(&direct, &["ps"]).code, 0, "the router is open");
    let place = format!("{}@{}@{PUBLIC}:7400", id(&founder), id(&member));
    let sum = operator(&place, &["invoke", "lib", "add", "2", "-3"]).ok();
    assert_eq!(sum, "-1\n");
    let listed = operator(&place, &["ps"]).ok();
    assert!(listed.contains("lib"), "{listed}");
    let logs = operator(&place, &["logs", "lib"]);
    assert_eq!(logs.code, 0, "{logs:?}");
}

/// Bytes that are sent while the network misbehaves, and how fast they may go: some seconds' worth.
const UPLOAD_BYTES: usize = 6_000_000;
const UPLOAD_RATE: &str = "8mbit";

/// A large file on its way from an operator behind one router to the machine behind the other.
struct Upload {
    process: Running,
    /// Of the session with the public node, at both of its ends, before it began.
    before: [Value; 2],
    received_before: u64,
}

impl Upload {
    /// Begins, on a path that is slow enough to do things meanwhile.
    #[track_caller]
    fn begin(trio: &Trio) -> Self {
        let slow =
            format!("qdisc add dev lan root tbf rate {UPLOAD_RATE} burst 32kb latency 200ms");
        done(
            trio.net
                .inside("router0", "tc")
                .args(slow.split_whitespace()),
        );
        let before = carrier(trio);
        let bytes = "x".repeat(UPLOAD_BYTES);
        let module = format!("core module (memory 100) (data (i32.const 0) \"{bytes}\")");
        let component = format!("(component ({module}))");
        trio.public.write("large.wat", &component);
        let log = File::create(trio.public.folder.path().join("up.log")).unwrap();
        let mut command = trio.net.nexus("machine1");
        command.arg("--data").arg(trio.public.data());
        command.args(["--node", &trio.through()]);
        command.args(["deploy", "large.wat", "--name", "large", "--dry-run"]);
        command.current_dir(trio.public.folder.path());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self {
            process: Running::new(&mut command),
            received_before: received(&before[1]),
            before,
        }
    }

    /// Waits until a part of it has come.
    #[track_caller]
    fn comes(&mut self, trio: &Trio) {
        let part = UPLOAD_BYTES as u64 / 5;
        eventually("a part of it has come", || {
            (received(&carrier(trio)[1]) > self.received_before + part).then_some(())
        });
        assert!(!self.process.has_ended(), "it is too fast for this test");
    }

    /// Waits for its end and gives the session at both ends, which must be the one from before.
    #[track_caller]
    fn ends(mut self, trio: &Trio) -> [Value; 2] {
        let code = self.process.ends();
        let said = fs::read_to_string(trio.public.folder.path().join("up.log")).unwrap();
        assert_eq!(code, 0, "{said}");
        let after = carrier(trio);
        let since = |session: &Value| session["since_ms"].as_u64().unwrap();
        for (old, new) in self.before.iter().zip(&after) {
            // Computed from an age: it may be off by the time that the answer took.
            let apart = since(old).abs_diff(since(new));
            assert!(apart < 2_000, "another session: {apart} ms later");
        }
        after
    }
}

/// The session of the public node and the first hidden machine, at both ends.
fn carrier(trio: &Trio) -> [Value; 2] {
    let (public, hidden) = (&trio.public, &trio.hidden[0]);
    [(public, hidden), (hidden, public)].map(|(at, peer)| session(at, &id(peer)).unwrap())
}

fn received(session: &Value) -> u64 {
    session["received_bytes"].as_u64().unwrap()
}

#[test]
fn a_transfer_goes_on_while_the_address_behind_nat_changes() {
    let Some(trio) = Trio::start() else {
        return;
    };
    let mut upload = Upload::begin(&trio);
    let remote = |session: &Value| session["remote"].as_str().unwrap().to_owned();
    assert!(remote(&upload.before[0]).starts_with(ROUTERS[0]));
    upload.comes(&trio);
    // The router gets another address; what it had translated is forgotten with the old one.
    let old = format!("addr del {}/24 dev wan", ROUTERS[0]);
    trio.net.ip("router0", &old);
    trio.net.ip("router0", "addr add 10.9.0.77/24 dev wan");
    let [after, _] = upload.ends(&trio);
    assert!(remote(&after).starts_with("10.9.0.77"), "{after}");
}

#[test]
fn a_transfer_goes_on_over_a_path_that_loses_packets() {
    let Some(trio) = Trio::start() else {
        return;
    };
    let loses = "insert rule ip filter through numgen random mod 100 < 2 drop";
    done(trio.net.inside("router0", "nft").arg(loses));
    let mut upload = Upload::begin(&trio);
    upload.comes(&trio);
    let [after, _] = upload.ends(&trio);
    let lost = after["loss_ppm"].as_u64().unwrap();
    assert!(lost > 1_000, "nothing was lost: {after}");
}
