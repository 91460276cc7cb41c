//! A deployment that does not run is taken back: nothing new stays, nothing old is lost.

use std::fs::{self, File};

use rustix::process::Signal;

use crate::components::{command, service};
use crate::harness::{Fabric, Running, eventually};

/// A manifest for the workload `web` that is a command without a second chance.
const JOB: &str = "name = \"web\"\n[[component]]\nname = \"main\"\nsource = \"job.wat\"\n\
                   restart = \"never\"\n";
/// A command that loops until its time is over.
const FOR_EVER: &str = "(loop $again (br $again)) (i32.const 0)";

/// A command that takes seconds to compile, so that a test can act before it runs.
fn slow_to_start() -> String {
    let work = "(local.set 0 (i32.mul (local.get 0) (i32.add (local.get 0) (i32.const 7))))";
    let function = format!(
        "(func (param i32) (result i32) {} (local.get 0))",
        work.repeat(200)
    );
    let functions = function.repeat(1_000);
    let ballast = format!(
        "(core module $ballast {functions}) (core instance (instantiate $ballast)) (core module $code"
    );
    command("slow", "(i32.const 0)").replace("(core module $code", &ballast)
}

#[test]
fn a_first_deployment_that_fails_is_removed() {
    let fabric = Fabric::start();
    fabric.write("job.wat", &command("last words", "(unreachable)"));
    fabric.write("job.toml", JOB);
    let err = fabric.nexus(&["deploy", "job.toml"]).failed(6);
    assert!(err.contains("error: `web` does not run: "), "{err}");
    assert!(
        err.contains("unreachable") && err.contains("main/0 out  last words"),
        "{err}"
    );
    assert!(
        err.ends_with("`web` was removed: nothing of it is left.\n"),
        "{err}"
    );
    assert_eq!(fabric.state("web"), None);
    assert_eq!(fabric.nexus(&["describe", "web"]).code, 4);
}

#[test]
fn a_command_that_ends_badly_is_removed() {
    let fabric = Fabric::start();
    fabric.write("job.wat", &command("again", "(i32.const 1)"));
    let err = fabric.nexus(&["deploy", "job.wat"]).failed(6);
    assert!(err.contains("error: `job` does not run"), "{err}");
    assert_eq!(fabric.state("job"), None);
}

#[test]
fn an_update_that_fails_leaves_the_old_one_serving() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("old"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    fabric.write("job.wat", &command("last words", "(unreachable)"));
    fabric.write("job.toml", JOB);
    let err = fabric.nexus(&["deploy", "job.toml"]).failed(6);
    assert!(
        err.contains("`web` was put back as it was at generation "),
        "{err}"
    );
    assert!(err.ends_with(": running.\n"), "{err}");
    assert!(fabric.get("/hello").1.starts_with("old"));
    // And a good update goes through.
    fabric.write("web.wat", &service("new"));
    let out = fabric.nexus(&["deploy", "web.wat"]).ok();
    assert!(out.starts_with("replaced `web`: generation "), "{out}");
    assert!(fabric.get("/hello").1.starts_with("new"));
}

#[test]
fn a_stopped_workload_is_stopped_again_after_a_failed_update() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("old"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    fabric.nexus(&["stop", "web"]).ok();
    fabric.write("job.wat", &command("last words", "(unreachable)"));
    fabric.write("job.toml", JOB);
    let err = fabric.nexus(&["deploy", "job.toml"]).failed(6);
    assert!(err.ends_with(": stopped.\n"), "{err}");
    eventually("it is stopped", || {
        (fabric.state("web")? == "stopped").then_some(())
    });
    fabric.nexus(&["start", "web"]).ok();
    assert!(fabric.get("/hello").1.starts_with("old"));
}

#[test]
fn a_deployment_that_takes_too_long_is_removed() {
    let fabric = Fabric::start();
    fabric.write("job.wat", &slow_to_start());
    let deploy = ["deploy", "job.wat", "--name", "web", "--timeout", "1ms"];
    let err = fabric.nexus(&deploy).failed(6);
    assert!(err.contains("does not run after 1ms: "), "{err}");
    assert!(
        err.ends_with("`web` was removed: nothing of it is left.\n"),
        "{err}"
    );
    assert_eq!(fabric.state("web"), None);
}

#[test]
fn ctrl_c_takes_a_deployment_back() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("old"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    let generation =
        || fabric.nexus(&["describe", "web", "-o", "json"]).json()["generation"].clone();
    let before = generation();
    fabric.write("job.wat", &slow_to_start());
    let mut deploy = fabric.command(&["deploy", "job.wat", "--name", "web"]);
    let log = fabric.folder.path().join("deploy.log");
    let mut deploying = Running::new(deploy.stderr(File::create(&log).unwrap()));
    eventually("it is admitted", || (generation() != before).then_some(()));
    assert!(!deploying.has_ended());
    deploying.signal(Signal::INT);
    assert_eq!(deploying.ends(), 130);
    let err = fs::read_to_string(&log).unwrap();
    assert!(
        err.contains("error: interrupted while `web` was starting\n"),
        "{err}"
    );
    assert!(
        err.contains("`web` was put back as it was at generation "),
        "{err}"
    );
    assert_eq!(fabric.state("web").as_deref(), Some("running"));
    assert!(fabric.get("/hello").1.starts_with("old"));
}

#[test]
fn a_command_that_runs_for_ever_counts_as_running() {
    let fabric = Fabric::start();
    fabric.write("job.wat", &command("on and on", FOR_EVER));
    let out = fabric.nexus(&["deploy", "job.wat"]).ok();
    assert!(out.contains(": running, 1/1 replicas"), "{out}");
    fabric.nexus(&["rm", "job"]).ok();
    assert_eq!(fabric.state("job"), None);
}
