//! Pausing, resuming, restarting, and the countdown to a restart.

use std::time::Duration;

use rustix::process::Signal;

use crate::components::{command, service};
use crate::harness::{Fabric, eventually, get};

/// Long enough for a guest that still computes to be noticed.
const WATCHED_FOR: Duration = Duration::from_secs(1);
/// Cpu of a node with one paused guest over that time: a fifth of what a spinner takes.
const IDLE_CPU_MAX: Duration = Duration::from_millis(200);

/// A command that counts to `billions`, which takes seconds, then ends as `end` says.
fn counter(billions: u64, end: &str) -> String {
    let count = "(loop $more
        (local.set $left (i64.sub (local.get $left) (i64.const 1)))
        (br_if $more (i64.ne (local.get $left) (i64.const 0))))";
    let head = "(func (export \"run\") (result i32)";
    let local =
        format!("{head} (local $left i64) (local.set $left (i64.const {billions}000000000))");
    command("counting", &format!("{count} {end}")).replace(head, &local)
}

fn manifest(source: &str, extra: &str) -> String {
    format!(
        "name = \"it\"\n[[component]]\nname = \"main\"\nsource = \"{source}\"\n{extra}\n\
         [component.limits]\nwall_time = \"10m\"\nqueue_time = \"300ms\"\n"
    )
}

fn cpu_of_a_while(fabric: &Fabric) -> Duration {
    let before = fabric.process.cpu();
    std::thread::sleep(WATCHED_FOR);
    fabric.process.cpu() - before
}

#[test]
fn a_command_is_paused_without_cpu_and_ends_well_after_it_is_resumed() {
    let fabric = Fabric::start();
    fabric.write("job.wat", &counter(8, "(i32.const 0)"));
    fabric.write("job.toml", &manifest("job.wat", ""));
    fabric.nexus(&["deploy", "job.toml"]).ok();
    let out = fabric.nexus(&["pause", "it"]).ok();
    assert_eq!(out, "paused `it`: `nexus resume it` lets it go on\n");
    assert_eq!(fabric.state("it").as_deref(), Some("paused"));
    let spent = cpu_of_a_while(&fabric);
    assert!(spent < IDLE_CPU_MAX, "{spent:?} in {WATCHED_FOR:?}");
    let seen = fabric.nexus(&["describe", "it", "-o", "json"]).json();
    let replica = &seen["components"][0]["replicas"][0];
    assert_eq!(replica["state"], "paused");
    fabric.nexus(&["pause", "it"]).ok();
    fabric.nexus(&["resume", "it"]).ok();
    eventually("it ends well", || {
        (fabric.state("it").as_deref() == Some("completed")).then_some(())
    });
    let seen = fabric.nexus(&["describe", "it", "-o", "json"]).json();
    assert_eq!(seen["components"][0]["replicas"][0]["restarts"], 0);
}

#[test]
fn a_request_to_a_paused_service_waits_until_it_is_resumed_or_is_refused() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("here"));
    let patient = manifest("web.wat", "[[component.route]]\nhost = \"*\"\npath = \"/\"")
        .replace("300ms", "60s");
    fabric.write("web.toml", &patient);
    fabric.nexus(&["deploy", "web.toml"]).ok();
    fabric.nexus(&["pause", "it"]).ok();
    let http = fabric.http();
    let waiting = std::thread::spawn(move || get(&http, "/hello"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished(), "a paused service answered");
    fabric.nexus(&["resume", "it"]).ok();
    let (status, body) = waiting.join().unwrap().unwrap();
    assert!(status == 200 && body.starts_with("here"), "{status} {body}");
    fabric.write(
        "web.toml",
        &manifest("web.wat", "[[component.route]]\nhost = \"*\"\npath = \"/\""),
    );
    fabric.nexus(&["deploy", "web.toml"]).ok();
    fabric.nexus(&["pause", "it"]).ok();
    let out = fabric.nexus(&["scale", "it", "2"]).ok();
    assert_eq!(out, "scaled `it/main` to 2 replicas: paused, 0/2 run\n");
    let (status, body) = fabric.get("/hello");
    assert_eq!(status, 503);
    assert!(body.contains("paused"), "{body}");
    fabric.nexus(&["stop", "it"]).ok();
    let err = fabric.nexus(&["resume", "it"]).failed(5);
    assert!(err.contains("start it first"), "{err}");
    fabric.nexus(&["start", "it"]).ok();
    assert_eq!(fabric.get("/hello").0, 200);
    let err = fabric.nexus(&["resume", "it"]).failed(5);
    assert!(err.contains("is not paused"), "{err}");
}

#[test]
fn a_restart_replaces_every_replica() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("here"));
    fabric.write("job.wat", &counter(900, "(i32.const 0)"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    fabric.nexus(&["deploy", "job.wat"]).ok();
    let generation = |name| {
        let seen = fabric.nexus(&["describe", name, "-o", "json"]).json();
        seen["generation"].as_u64().unwrap()
    };
    for name in ["web", "job"] {
        let before = generation(name);
        let out = fabric.nexus(&["restart", name]).ok();
        assert_eq!(out, format!("restarted `{name}`: running, 1/1 replicas\n"));
        assert!(generation(name) > before);
        let log = fabric.nexus(&["logs", name]).ok();
        let started = log.matches("started generation").count();
        assert_eq!(started, 2, "{log}");
    }
    assert_eq!(fabric.get("/hello").0, 200);
    fabric.nexus(&["stop", "web"]).ok();
    fabric.nexus(&["restart", "web"]).failed(5);
    fabric.nexus(&["pause", "job"]).ok();
    fabric.nexus(&["restart", "job"]).ok();
    assert_eq!(fabric.state("job").as_deref(), Some("running"));
}

#[test]
fn what_was_paused_when_its_node_was_killed_comes_up_paused() {
    let fabric = Fabric::start();
    fabric.write("job.wat", &counter(900, "(i32.const 0)"));
    fabric.write("web.wat", &service("here"));
    fabric.nexus(&["deploy", "job.wat"]).ok();
    fabric.nexus(&["deploy", "web.wat"]).ok();
    fabric.nexus(&["pause", "job"]).ok();
    fabric.nexus(&["pause", "web"]).ok();
    let Fabric {
        mut process,
        folder,
    } = fabric;
    process.signal(Signal::KILL);
    process.ends();
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    for name in ["job", "web"] {
        eventually("it is there and paused", || {
            (fabric.state(name).as_deref() == Some("paused")).then_some(())
        });
    }
    let spent = cpu_of_a_while(&fabric);
    assert!(spent < IDLE_CPU_MAX, "{spent:?} in {WATCHED_FOR:?}");
    let log = fabric.nexus(&["logs", "job"]).ok();
    assert!(!log.contains("counting"), "it has run: {log}");
    fabric.nexus(&["resume", "job"]).ok();
    fabric.nexus(&["resume", "web"]).ok();
    eventually("the command runs", || {
        let log = fabric.nexus(&["logs", "job"]).ok();
        log.contains("counting").then_some(())
    });
    assert_eq!(fabric.get("/hello").0, 200);
}

#[test]
fn a_replica_that_waits_to_be_restarted_shows_when() {
    let fabric = Fabric::start();
    fabric.write("job.wat", &counter(3, "(i32.const 1)"));
    fabric.nexus(&["deploy", "job.wat"]).ok();
    for command in [&["ps"][..], &["describe", "job"]] {
        eventually("the countdown is shown", || {
            let out = fabric.nexus(command).ok();
            let shown = out.contains("restarts in ") && out.contains(" restart");
            (shown && out.contains("exit status 1")).then_some(())
        });
    }
    eventually("it is counted in JSON, too", || {
        let seen = fabric.nexus(&["describe", "job", "-o", "json"]).json();
        let replica = &seen["components"][0]["replicas"][0];
        let left = replica["restart_in_ms"].as_u64()?;
        let backoff = replica["backoff_ms"].as_u64().unwrap();
        assert!(left <= backoff && backoff >= 1_000, "{left} of {backoff}");
        Some(())
    });
}
