//! From a file to a workload that runs, and how it is seen.

use serde_json::Value;

use crate::components::{LIBRARY, WANTS_MORE, command, service};
use crate::harness::{Fabric, eventually};

#[test]
fn a_service_answers_when_deploy_returns() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("first"));
    let out = fabric.nexus(&["deploy", "web.wat"]).ok();
    let http = fabric.http();
    assert!(out.starts_with("deployed `web` at generation "), "{out}");
    assert!(
        out.ends_with(&format!(": running, 1/1 replicas\nhttp://{http}/\n")),
        "{out}"
    );
    assert_eq!(fabric.get("/hello").0, 200);
    assert!(
        fabric.get("/hello").1.starts_with("first"),
        "{:?}",
        fabric.get("/hello")
    );
    assert_eq!(fabric.get("/echo?a=b"), (200, "GET /echo?a=b\n".to_owned()));
    assert_eq!(fabric.get("/nothing").0, 404);

    let ps = fabric.nexus(&["ps"]).ok();
    insta::assert_snapshot!(ps, @r"
    NAME  STATE    REPLICAS  KIND  ROUTE  RESTARTS  REASON
    web   running  1/1       http  */     0         -
    ");
    let logs = fabric.nexus(&["logs", "web"]).ok();
    assert!(logs.contains(" main/0 out  GET /echo?a=b\n"), "{logs}");
    let described = fabric.nexus(&["describe", "web"]).ok();
    for said in [
        "Name:         web",
        "Kind:          http",
        "memory 64MiB",
        "REPLICA  NODE",
    ] {
        assert!(described.contains(said), "{said}: {described}");
    }
}

#[test]
fn every_answer_is_json_and_yaml_too() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("first"));
    let plan = fabric
        .nexus(&["deploy", "web.wat", "--dry-run", "-o", "json"])
        .json();
    assert_eq!(plan["components"][0]["kind"], "http");
    assert_eq!(fabric.state("web"), None, "a dry run admits nothing");
    let deployed = fabric.nexus(&["-o", "json", "deploy", "web.wat"]).json();
    assert_eq!(deployed["state"], "running");
    for arguments in [
        &["ps"][..],
        &["describe", "web"],
        &["node", "status"],
        &["scale", "web", "2"],
        &["stop", "web"],
        &["start", "web"],
        &["rm", "web"],
    ] {
        let json = fabric.nexus(&[arguments, &["-o", "json"]].concat()).json();
        assert!(json.is_object(), "{arguments:?}");
    }
    let yaml = fabric.nexus(&["node", "status", "-o", "yaml"]).ok();
    assert!(yaml.lines().any(|line| line == "validators: 1"), "{yaml}");
}

#[test]
fn a_manifest_deploys_with_everything_it_says() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("first"));
    fabric.write("greeting.txt", "hello");
    let manifest = r#"
name = "shop"
[[component]]
name = "web"
source = "web.wat"
replicas = 2
env = { LEVEL = "info" }
[component.limits]
memory = "8MiB"
[[component.route]]
host = "shop.example"
path = "/"
[[component.route]]
path = "/shop"
[[component.file]]
source = "greeting.txt"
path = "/etc/greeting.txt"
"#;
    fabric.write("app.toml", manifest);
    let out = fabric.nexus(&["deploy", "app.toml"]).ok();
    assert!(
        out.contains("running, 2/2 replicas\nhttp://shop.example:"),
        "{out}"
    );
    let described = fabric.nexus(&["describe", "shop"]).ok();
    for said in [
        "memory 8MiB",
        "LEVEL=info",
        "shop.example/",
        "*/shop",
        "/etc/greeting.txt (",
    ] {
        assert!(described.contains(said), "{said}: {described}");
    }
    let ps = fabric.nexus(&["ps"]).ok();
    assert!(ps.contains("shop.example/ +1"), "{ps}");
}

#[test]
fn a_command_runs_and_its_words_are_kept() {
    let fabric = Fabric::start();
    fabric.write("job.wat", &command("done \\1b[31mred", "(i32.const 0)"));
    fabric.nexus(&["deploy", "job.wat"]).ok();
    eventually("the command ends", || {
        (fabric.state("job")? == "completed").then_some(())
    });
    let lines = fabric.nexus(&["logs", "job", "-o", "json"]).ok();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let words = lines
        .iter()
        .find(|line| line["stream"] == "stdout")
        .unwrap();
    assert_eq!(words["text"], "done \u{1b}[31mred");
    assert_eq!(fabric.nexus(&["logs", "job", "--tail", "0"]).ok(), "");
}

#[test]
fn what_cannot_run_is_refused_and_leaves_nothing() {
    let fabric = Fabric::start();
    fabric.write("more.wat", WANTS_MORE);
    let err = fabric.nexus(&["deploy", "more.wat"]).failed(5);
    assert!(
        err.starts_with("error: `more` cannot run here:\n  component `main`: "),
        "{err}"
    );
    assert!(err.contains("wasi:http/outgoing-handler"), "{err}");
    fabric.write("module.wat", "(module)");
    let err = fabric.nexus(&["deploy", "module.wat"]).failed(5);
    assert!(err.starts_with("error: module.wat: "), "{err}");
    fabric.write("junk.wasm", "not a component at all");
    let err = fabric.nexus(&["deploy", "junk.wasm"]).failed(5);
    assert!(err.starts_with("error: junk.wasm: "), "{err}");
    fabric.write(
        "junk.toml",
        "name = \"a\"\n[[component]]\nname = \"b\"\nsource = \"junk.wasm\"\n",
    );
    let err = fabric.nexus(&["deploy", "junk.toml"]).failed(5);
    assert!(
        err.starts_with("error: junk.toml:4:10: junk.wasm: "),
        "{err}"
    );
    fabric.write("lib.wat", LIBRARY);
    let err = fabric
        .nexus(&["deploy", "lib.wat", "--route", "/"])
        .failed(5);
    assert!(err.contains("only http components take routes"), "{err}");
    let ps = fabric.nexus(&["ps"]);
    assert_eq!(ps.err, "no workloads: `nexus deploy FILE` brings one\n");
    assert_eq!(ps.ok(), "");
}

#[test]
fn a_route_has_one_owner() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("first"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    let err = fabric
        .nexus(&["deploy", "web.wat", "--name", "other"])
        .failed(5);
    let expected = "error: route */ belongs to web/main\n\
                    Choose another, for instance `--route /other`.\n";
    assert_eq!(err, expected);
    let err = fabric
        .nexus(&["deploy", "web.wat", "--name", "other", "--route", "/"])
        .failed(5);
    assert!(err.contains("route */ belongs to web/main"), "{err}");
    fabric
        .nexus(&["deploy", "web.wat", "--name", "other", "--route", "/other"])
        .ok();
    assert_eq!(fabric.get("/hello").0, 200);
    // An update keeps the route that it does not name.
    let out = fabric.nexus(&["deploy", "web.wat", "--name", "other"]).ok();
    assert!(
        out.starts_with("replaced `other`: generation ") && out.contains("/other\n"),
        "{out}"
    );
}

#[test]
fn commands_at_once_all_get_their_turn() {
    let fabric = Fabric::start();
    fabric.write("lib.wat", LIBRARY);
    let names: Vec<String> = (0..8).map(|number| format!("lib-{number}")).collect();
    std::thread::scope(|scope| {
        let deploys: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(|| fabric.nexus(&["deploy", "lib.wat", "--name", name])))
            .collect();
        for deploy in deploys {
            deploy.join().unwrap().ok();
        }
    });
    assert_eq!(fabric.nexus(&["ps"]).ok().lines().count(), 1 + names.len());
}
