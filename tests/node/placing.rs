//! Workloads on several nodes: placed where they may be, reached through every node, elsewhere when
//! theirs is lost. Real processes.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::Value;

use crate::components::{LIBRARY, command, service};
use crate::four::{Four, folders, status};
use crate::guests;
use crate::harness::{Fabric, eventually, up};
use crate::joining::join;

fn serving() -> Four {
    let four = Four::start_as(folders(|_, _| {}), |_, folder, address, founding| {
        let http = ["--http", "127.0.0.1:0"];
        let rest = ["--stoq", address, "--founding", founding];
        up(folder, &[http.as_slice(), &rest].concat())
    });
    for node in &four.nodes {
        met(node, 3);
    }
    four
}

/// Waits until a node has sessions with so many others.
fn met(node: &Fabric, others: usize) {
    eventually("it has met the others", || {
        let sessions = node.nexus(&["stoq", "sessions", "-o", "json"]).json();
        let met = sessions["sessions"].as_array().unwrap().len();
        (met >= others).then_some(())
    });
}

fn id(node: &Fabric) -> String {
    status(node)["node"].as_str().unwrap().to_owned()
}

/// The manifest of the component in `web.wat`, with these settings.
fn manifest(name: &str, settings: &str) -> String {
    format!(
        "name = \"{name}\"\n[[component]]\nname = \"main\"\nsource = \"web.wat\"\n{settings}\n\
         [[component.route]]\nhost = \"{name}.example\"\npath = \"/\"\n"
    )
}

/// Deploys a service with these settings at a node.
fn deploy(at: &Fabric, name: &str, settings: &str) {
    at.write("web.wat", &service(name));
    at.write("web.toml", &manifest(name, settings));
    at.nexus(&["deploy", "web.toml"]).ok();
}

/// The nodes of a workload's replicas, as a node sees them, if all of them run.
fn runs_on(node: &Fabric, name: &str) -> Option<Vec<String>> {
    let described = node.nexus(&["describe", name, "-o", "json"]);
    let described: Value = (described.code == 0).then(|| described.json())?;
    let replicas = described["components"][0]["replicas"].as_array()?.clone();
    let running = |replica: &Value| replica["state"] == "running";
    let nodes = replicas
        .iter()
        .map(|it| it["node"].as_str().unwrap().to_owned());
    replicas.iter().all(running).then(|| nodes.collect())
}

/// The status and the body of the answer to a request for a workload.
fn asked(node: &Fabric, name: &str, path: &str, body: &[u8]) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(node.http()).ok()?;
    let (verb, bytes) = (if body.is_empty() { "GET" } else { "POST" }, body.len());
    let head = format!(
        "{verb} {path} HTTP/1.1\r\nhost: {name}.example\r\ncontent-length: {bytes}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Waits until a node answers for a workload.
fn answers(node: &Fabric, name: &str) {
    eventually("it answers", || {
        let (status, body) = asked(node, name, "/hello", &[])?;
        (status == 200 && body.contains(name)).then_some(())
    });
}

#[test]
fn one_replica_is_reached_through_every_node() {
    let four = serving();
    let (first, last) = (&four.nodes[0], &four.nodes[3]);
    let there = format!("[component.placement]\nnodes = [\"{}\"]", id(last));
    deploy(first, "one", &there);
    let again = first.nexus(&["deploy", "web.toml", "--dry-run"]).ok();
    assert!(
        again.contains(&format!("on {}", &id(last)[..12])),
        "{again}"
    );
    assert_eq!(runs_on(first, "one").unwrap(), [id(last)]);
    for node in &four.nodes {
        answers(node, "one");
        let (status, body) = asked(node, "one", "/echo?a=b", &[]).unwrap();
        assert_eq!((status, body.contains("GET /echo?a=b")), (200, true));
        assert_eq!(asked(node, "none", "/hello", &[]).unwrap().0, 404);
    }
    // What it wrote is read at any node.
    for node in &four.nodes {
        let logs = node.nexus(&["logs", "one"]).ok();
        assert!(logs.contains(" main/0 out  GET /echo?a=b\n"), "{logs}");
    }
    let described = first.nexus(&["describe", "one"]).ok();
    assert!(described.contains("Placement: "), "{described}");
    // A body that is longer than a frame of anything, there and back.
    first.write("web.wat", &guests::echo());
    first.write("web.toml", &manifest("echo", &there));
    first.nexus(&["deploy", "web.toml"]).ok();
    let body = "0123456789abcdef".repeat(20_000);
    for node in &four.nodes {
        let (status, back) = asked(node, "echo", "/", body.as_bytes()).unwrap();
        assert_eq!(
            (status, back.replace(['\r', '\n'], "").len() >= body.len()),
            (200, true)
        );
    }
}

#[test]
fn a_library_is_called_through_every_node() {
    let four = serving();
    let (first, last) = (&four.nodes[0], &four.nodes[3]);
    first.write("lib.wat", LIBRARY);
    first.write(
        "lib.toml",
        &format!(
            "name = \"lib\"\n[[component]]\nname = \"main\"\nsource = \"lib.wat\"\n\
             [component.placement]\nnodes = [\"{}\"]\n",
            id(last)
        ),
    );
    first.nexus(&["deploy", "lib.toml"]).ok();
    let here = last.nexus(&["invoke", "lib", "add", "2", "3"]).ok();
    for node in &four.nodes {
        let there = node.nexus(&["invoke", "lib", "add", "2", "3"]);
        assert_eq!(there.ok(), here);
        let unknown = node.nexus(&["invoke", "lib", "nothing"]);
        assert_ne!(unknown.code, 0);
    }
}

#[test]
fn what_a_lost_node_had_runs_elsewhere() {
    let mut four = serving();
    deploy(
        &four.nodes[0],
        "web",
        "replicas = 4\n[component.placement]\napart = true",
    );
    let all: BTreeSet<String> = four.nodes.iter().map(id).collect();
    let on = runs_on(&four.nodes[0], "web").unwrap();
    assert_eq!(on.into_iter().collect::<BTreeSet<_>>(), all);
    deploy(&four.nodes[0], "two", "replicas = 2");
    // One that has a replica of `two`.
    let first = id(&four.nodes[0]);
    let on = runs_on(&four.nodes[0], "two").unwrap();
    let lost = on.iter().find(|node| **node != first).unwrap().clone();
    let index = four.nodes.iter().position(|node| id(node) == lost).unwrap();
    four.kill(index);
    let at = &four.nodes[0];
    eventually("its replica runs elsewhere", || {
        let on = runs_on(at, "two")?;
        (!on.contains(&lost)).then_some(())
    });
    // Four apart have three places: the fourth waits, and that is said.
    let described = at.nexus(&["describe", "web"]).ok();
    assert!(
        described.contains("A replica is not where it should be."),
        "{described}"
    );
    assert!(
        described.contains("is taken by another replica of it"),
        "{described}"
    );
    assert!(described.contains("is gone"), "{described}");
    for (number, node) in four.nodes.iter().enumerate() {
        if number != index {
            answers(node, "web");
            answers(node, "two");
        }
    }
    four.restart(index);
    eventually("all four run again", || {
        let on: BTreeSet<String> = runs_on(&four.nodes[0], "web")?.into_iter().collect();
        (on == all).then_some(())
    });
}

#[test]
fn a_member_that_joined_takes_replicas_until_it_is_drained() {
    let four = serving();
    let ticket = four.nodes[0]
        .nexus(&["fabric", "invite", "-o", "json"])
        .json();
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    let fifth = join(&ticket, &["--stoq", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    met(&fifth, 4);
    let (at, fifth_id) = (&four.nodes[0], id(&fifth));
    at.nexus(&["node", "label", &fifth_id[..12], "zone=new"])
        .ok();
    deploy(
        at,
        "web",
        "[component.placement]\nlabels = { zone = \"new\" }",
    );
    assert_eq!(runs_on(at, "web").unwrap(), [fifth_id.as_str()]);
    deploy(
        at,
        "all",
        "replicas = 5\n[component.placement]\napart = true",
    );
    for node in four.nodes.iter().chain([&fifth]) {
        answers(node, "web");
    }
    let refused = at.nexus(&["scale", "all", "6"]).failed(5);
    assert!(
        refused.contains("5 nodes are taken by another replica of it"),
        "{refused}"
    );
    let drained = at.nexus(&["node", "drain", &fifth_id]).ok();
    assert!(drained.contains("2 replicas fit nowhere else"), "{drained}");
    at.nexus(&["scale", "all", "4"]).ok();
    let listed = at.nexus(&["node", "list"]).ok();
    let line = listed
        .lines()
        .find(|line| line.starts_with(&fifth_id))
        .unwrap();
    assert!(
        line.contains("draining") && line.contains("zone=new"),
        "{listed}"
    );
    at.nexus(&["node", "label", &id(at), "zone=new"]).ok();
    eventually("it runs elsewhere", || {
        (runs_on(at, "web")? == [id(at)]).then_some(())
    });
    for node in four.nodes.iter().chain([&fifth]) {
        answers(node, "web");
    }
}

/// Deploys a command that never ends; the index of the node that it runs on, which is not the first.
fn endless(four: &Four) -> usize {
    let at = &four.nodes[0];
    at.write(
        "tick.wat",
        &command("tick", "(loop $more (br $more)) (i32.const 0)"),
    );
    at.write(
        "tick.toml",
        &format!(
            "name = \"tick\"\n[[component]]\nname = \"main\"\nsource = \"tick.wat\"\n\
             limits = {{ cpu_percent = 2, wall_time = \"1h\" }}\n\
             [component.placement]\nnodes = [\"{}\", \"{}\"]\n",
            id(&four.nodes[1]),
            id(&four.nodes[2]),
        ),
    );
    at.nexus(&["deploy", "tick.toml"]).ok();
    let on = runs_on(at, "tick").unwrap();
    four.nodes
        .iter()
        .position(|node| id(node) == on[0])
        .unwrap()
}

#[test]
fn a_command_runs_elsewhere_once_its_node_has_stopped_it() {
    let four = serving();
    let held = endless(&four);
    let (holder, at) = (&four.nodes[held], &four.nodes[0]);
    let was = id(holder);
    holder.process.signal(Signal::STOP);
    eventually("it runs elsewhere", || {
        let on = runs_on(at, "tick")?;
        (on != [was.as_str()]).then_some(())
    });
    holder.process.signal(Signal::CONT);
    eventually("the node that stood still has nothing of it", || {
        let described = holder.nexus(&["describe", "tick", "-o", "json"]);
        let status: Value = (described.code == 0).then(|| described.json())?;
        let on = status["components"][0]["replicas"][0]["node"]
            .as_str()?
            .to_owned();
        let log = holder.nexus(&["logs", "tick"]).ok();
        let stopped = log.matches("stopped on request").count();
        (on != was && stopped == 1).then_some(())
    });
    // It was halted before the ledger could say that it is gone.
    let log = holder.nexus(&["logs", "tick"]).ok();
    let halted = log.find("paused on request").unwrap();
    assert!(halted < log.find("stopped on request").unwrap(), "{log}");
}
