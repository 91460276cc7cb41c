//! Scaling, stopping, starting, removing, and names that are not there.

use rustix::process::Signal;

use crate::components::{LIBRARY, service};
use crate::harness::{Fabric, Running, eventually};

#[test]
fn a_workload_is_scaled_stopped_started_and_removed() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("here"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    let out = fabric.nexus(&["scale", "web", "3"]).ok();
    assert_eq!(out, "scaled `web/main` to 3 replicas: running, 3/3 run\n");
    let out = fabric.nexus(&["scale", "web/main", "1"]).ok();
    assert_eq!(out, "scaled `web/main` to 1 replica: running, 1/1 run\n");
    let out = fabric.nexus(&["stop", "web"]).ok();
    assert_eq!(out, "stopped `web`: it keeps its name and routes\n");
    assert_ne!(fabric.get("/hello").0, 200);
    let out = fabric.nexus(&["start", "web"]).ok();
    assert_eq!(out, "started `web`: running, 1/1 replicas\n");
    assert_eq!(fabric.get("/hello").0, 200);
    assert_eq!(fabric.nexus(&["rm", "web"]).ok(), "removed `web`\n");
    assert_eq!(fabric.state("web"), None);
    eventually("its route is gone", || {
        (fabric.get("/hello").0 == 404).then_some(())
    });
}

#[test]
fn names_that_are_not_there_are_code_4() {
    let fabric = Fabric::start();
    fabric.write("lib.wat", LIBRARY);
    fabric.nexus(&["deploy", "lib.wat"]).ok();
    for arguments in [
        &["describe", "web"][..],
        &["logs", "web"],
        &["invoke", "web", "f"],
        &["scale", "web", "2"],
        &["scale", "lib/other", "2"],
        &["stop", "web"],
        &["start", "web"],
        &["rm", "web"],
        &["logs", "lib", "--component", "other"],
    ] {
        let err = fabric.nexus(arguments).failed(4);
        assert!(err.starts_with("error: "), "{arguments:?}: {err}");
    }
}

#[test]
fn too_many_replicas_are_refused() {
    let fabric = Fabric::start();
    fabric.write("lib.wat", LIBRARY);
    fabric.nexus(&["deploy", "lib.wat"]).ok();
    let err = fabric.nexus(&["scale", "lib", "300"]).failed(5);
    assert!(err.contains("300 replicas are more than 256"), "{err}");
}

#[test]
fn a_workload_of_several_components_must_be_told_which() {
    let fabric = Fabric::start();
    fabric.write("lib.wat", LIBRARY);
    let component = |name| format!("[[component]]\nname = \"{name}\"\nsource = \"lib.wat\"\n");
    fabric.write(
        "two.toml",
        &format!("name = \"two\"\n{}{}", component("a"), component("b")),
    );
    fabric.nexus(&["deploy", "two.toml"]).ok();
    let err = fabric.nexus(&["scale", "two", "2"]).failed(2);
    assert_eq!(
        err,
        "error: `two` has 2 components: name one of two/a, two/b\n"
    );
    let out = fabric.nexus(&["scale", "two/b", "2"]).ok();
    assert_eq!(out, "scaled `two/b` to 2 replicas: running, 3/3 run\n");
}

#[test]
fn followed_logs_go_on_until_ctrl_c() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("here"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    let log = fabric.folder.path().join("followed");
    let mut command = fabric.command(&["logs", "web", "-f"]);
    command.stdout(std::fs::File::create(&log).unwrap());
    let mut following = Running::new(&mut command);
    eventually("a line of a later request arrives", || {
        fabric.get("/echo/later");
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("GET /echo/later")
            .then_some(())
    });
    following.signal(Signal::INT);
    assert_eq!(following.ends(), 0);
}
