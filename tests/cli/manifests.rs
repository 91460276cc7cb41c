//! Manifests that are refused before any node is asked: with file, line, column and what is allowed.

use std::fs;

use crate::components::LIBRARY;
use crate::harness::{Ran, binary, run};

const COMPONENT: &str = "name = \"shop\"\n\n[[component]]\nname = \"web\"\nsource = \"lib.wat\"\n";

/// Deploys a manifest that stands beside one component.
fn deploy(manifest: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lib.wat"), LIBRARY).unwrap();
    fs::write(folder.path().join("app.toml"), manifest).unwrap();
    run(binary()
        .args(["--data", "data", "deploy", "app.toml"])
        .current_dir(&folder))
}

#[test]
fn an_unknown_field_is_shown_with_the_allowed_ones() {
    let err = deploy(&format!("{COMPONENT}replica = 2\n")).failed(5);
    insta::assert_snapshot!(err, @r#"
    error: app.toml:6:1: unknown field `replica`, expected one of `name`, `source`, `replicas`, `args`, `env`, `config`, `secrets`, `file`, `limits`, `capabilities`, `route`, `subscriptions`, `restart`, `requests_per_instance`, `deterministic_seed`, `replicate`, `placement`
      |
    6 | replica = 2
      | ^^^^^^^
    "#);
}

#[test]
fn a_wrong_value_is_shown_with_the_allowed_ones() {
    let err = deploy(&format!("{COMPONENT}restart = \"sometimes\"\n")).failed(5);
    insta::assert_snapshot!(err, @r#"
    error: app.toml:6:11: unknown variant `sometimes`, expected one of `on-failure`, `always`, `never`
      |
    6 | restart = "sometimes"
      |           ^^^^^^^^^^^
    "#);
    let err = deploy(&format!("{COMPONENT}[component.limits]\nmemory = 64\n")).failed(5);
    insta::assert_snapshot!(err, @r#"
    error: app.toml:7:10: invalid type: integer `64`, expected a size in quotes, such as "64MiB"
      |
    7 | memory = 64
      |          ^^
    "#);
}

#[test]
fn a_value_out_of_range_is_shown_with_its_range() {
    let err = deploy(&format!("{COMPONENT}[component.limits]\ncpu_percent = 0\n")).failed(5);
    insta::assert_snapshot!(err, @r"
    error: app.toml:7:15: component `web`: limits.cpu_percent is 0: allowed is 1 to 100
      |
    7 | cpu_percent = 0
      |               ^
    ");
    let err = deploy(&format!("{COMPONENT}replicas = 300\n")).failed(5);
    insta::assert_snapshot!(err, @r"
    error: app.toml:6:12: component `web`: 300 replicas are more than 256
      |
    6 | replicas = 300
      |            ^^^
    ");
}

#[test]
fn a_missing_file_is_shown_where_it_is_named() {
    let manifest = COMPONENT.replace("lib.wat", "web.wasm");
    insta::assert_snapshot!(deploy(&manifest).failed(5), @r#"
    error: app.toml:5:10: web.wasm does not exist
      |
    5 | source = "web.wasm"
      |          ^^^^^^^^^^
    "#);
    let file = "[[component.file]]\nsource = \"etc\"\npath = \"/etc/app.conf\"\n";
    let err = deploy(&format!("{COMPONENT}{file}")).failed(5);
    insta::assert_snapshot!(err, @r#"
    error: app.toml:7:10: etc does not exist
      |
    7 | source = "etc"
      |          ^^^^^
    "#);
}

#[test]
fn what_stands_twice_is_shown_at_the_second_place() {
    let again = "[[component]]\nname = \"web\"\nsource = \"lib.wat\"\n";
    let err = deploy(&format!("{COMPONENT}{again}")).failed(5);
    insta::assert_snapshot!(err, @r#"
    error: app.toml:7:8: two components are called `web`
      |
    7 | name = "web"
      |        ^^^^^
    "#);
    let route = "[[component.route]]\npath = \"/a\"\n";
    let err = deploy(&format!("{COMPONENT}{route}{route}")).failed(5);
    insta::assert_snapshot!(err, @r"
    error: app.toml:8:1: component `web`: route `*/a` stands twice in this workload
      |
    8 | [[component.route]]
      | ^^^^^^^^^^^^^^^^^^^
    ");
}

#[test]
fn broken_text_is_shown_where_it_breaks() {
    let err = deploy("name = \n").failed(5);
    assert!(err.starts_with("error: app.toml:1:8: "), "{err}");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.toml"), b"name = \"\xff\"").unwrap();
    let err = run(binary().args(["deploy", "app.toml"]).current_dir(&folder)).failed(5);
    assert_eq!(err, "error: app.toml is not UTF-8 text from byte 8 on\n");
    fs::write(folder.path().join("app.toml"), vec![b'#'; 300 * 1024]).unwrap();
    let err = run(binary().args(["deploy", "app.toml"]).current_dir(&folder)).failed(1);
    assert_eq!(err, "error: app.toml is larger than 262144 bytes\n");
}

#[test]
fn a_route_flag_beside_a_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.toml"), COMPONENT).unwrap();
    let arguments = ["deploy", "app.toml", "--route", "/a"];
    let err = run(binary().args(arguments).current_dir(&folder)).failed(2);
    assert_eq!(
        err,
        "error: --route is for a component alone: write the route into app.toml\n"
    );
}
