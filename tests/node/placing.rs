//! Workloads on several nodes: placed where they may be, reached through every node, elsewhere when
//! theirs is lost. Real processes.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::components::{LIBRARY, service};
use crate::four::{Four, folders, status};
use crate::harness::{Fabric, eventually, get, up};
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

/// Deploys a service with these settings at a node, from its manifest.
fn deploy(at: &Fabric, name: &str, settings: &str) {
    at.write("web.wat", &service(name));
    at.write(
        "web.toml",
        &format!(
            "name = \"{name}\"\n[[component]]\nname = \"main\"\nsource = \"web.wat\"\n{settings}\n\
             [[component.route]]\npath = \"/{name}\"\n"
        ),
    );
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

/// Waits until a node answers a request with a body that begins so.
fn answers(node: &Fabric, path: &str, begins: &str) {
    let http = node.http();
    eventually("it answers", || {
        let (status, body) = get(&http, path)?;
        (status == 200 && body.starts_with(begins)).then_some(())
    });
}

#[test]
fn one_replica_is_reached_through_every_node() {
    let four = serving();
    let (first, last) = (&four.nodes[0], &four.nodes[3]);
    let there = format!("[component.placement]\nnodes = [\"{}\"]", id(last));
    deploy(first, "one", &there);
    assert_eq!(runs_on(first, "one").unwrap(), [id(last)]);
    for node in &four.nodes {
        answers(node, "/one/hello", "one");
        // Its query, and a body that is longer than a frame of anything.
        assert_eq!(get(&node.http(), "/one/echo?a=b").unwrap().0, 200);
        assert_eq!(posted(&node.http(), "/one/echo", 300_000), 200);
        assert_eq!(get(&node.http(), "/nothing").unwrap().0, 404);
    }
    // What it wrote is read at any node.
    for node in &four.nodes {
        let logs = node.nexus(&["logs", "one"]).ok();
        assert!(logs.contains(" main/0 out  GET /one/echo?a=b\n"), "{logs}");
    }
    let described = first.nexus(&["describe", "one"]).ok();
    assert!(described.contains("Placement: "), "{described}");
}

/// The status of a POST of so many bytes.
fn posted(http: &str, path: &str, bytes: usize) -> u16 {
    let mut stream = TcpStream::connect(http).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {http}\r\ncontent-length: {bytes}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'x'; bytes]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).unwrap().parse().unwrap()
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
    let here = last.nexus(&["invoke", "lib", "greet", "\"Ann\""]).ok();
    for node in &four.nodes {
        let there = node.nexus(&["invoke", "lib", "greet", "\"Ann\""]);
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
            answers(node, "/web/hello", "web");
            answers(node, "/two/hello", "two");
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
        answers(node, "/web/hello", "web");
    }
    let refused = at.nexus(&["scale", "all", "6"]).failed(1);
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
        answers(node, "/web/hello", "web");
    }
}
