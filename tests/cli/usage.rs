//! Everything that needs no node: wrong arguments, missing files, nobody who answers.

use std::process::Stdio;

use crate::components::LIBRARY;
use crate::harness::{binary, nexus, run};

#[test]
fn wrong_arguments_end_with_2_and_say_what_is_right() {
    for (arguments, said) in [
        (&["deplo"][..], "a similar subcommand exists: 'deploy'"),
        (&["deploy"], "<FILE>"),
        (
            &["deploy", "a.wasm", "--rout", "/"],
            "a similar argument exists: '--route'",
        ),
        (&["deploy", "a.wasm", "--route", "/a/"], "route path `/a/`"),
        (&["deploy", "a.wasm", "--timeout", "60"], "such as `30s`"),
        (&["deploy", "a.wasm", "--name", "A_b"], "is not a name"),
        (&["scale", "web", "many"], "invalid digit"),
        (&["scale", "web/", "1"], "is not a name"),
        (&["ps", "-o", "xml"], "possible values: table, json, yaml"),
        (
            &["up", "--http", "8080"],
            "expected an IP address and a port, such as",
        ),
        (&["completion", "tcl"], "possible values: bash"),
        (&["node"], "status"),
        (&[], "Usage: nexus"),
    ] {
        let ran = nexus(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:#?}");
        assert!(
            ran.out.is_empty() && ran.err.contains(said),
            "{arguments:?}: {ran:#?}"
        );
    }
}

#[test]
fn files_that_are_no_workload_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "").unwrap();
    std::fs::write(folder.path().join("bad.wat"), "(component (func").unwrap();
    std::fs::write(folder.path().join("___.wat"), LIBRARY).unwrap();
    for (file, code, said) in [
        ("missing.wasm", 1, "error: missing.wasm does not exist\n"),
        ("missing.toml", 1, "error: missing.toml does not exist\n"),
        (
            ".",
            2,
            "error: . is a directory: name the manifest or the component in it\n",
        ),
        (
            "notes.txt",
            2,
            "neither a component (.wasm, .wat) nor a manifest (.toml)",
        ),
        ("bad.wat", 1, "error: bad.wat is not valid component text"),
        ("___.wat", 2, "Give the workload one with --name."),
    ] {
        let err = run(binary()
            .args(["--data", "d", "deploy", file])
            .current_dir(&folder));
        let err = err.failed(code);
        assert!(err.contains(said), "{file}: {err}");
    }
}

#[test]
fn nobody_who_answers_is_code_3_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    std::fs::write(folder.path().join("lib.wat"), LIBRARY).unwrap();
    let file = folder.path().join("lib.wat");
    for arguments in [
        &["ps"][..],
        &["describe", "web"],
        &["logs", "web"],
        &["invoke", "web", "f"],
        &["scale", "web", "2"],
        &["stop", "web"],
        &["start", "web"],
        &["rm", "web"],
        &["node", "status"],
        &["deploy", file.to_str().unwrap()],
    ] {
        let err = run(binary().args(["--data", data]).args(arguments)).failed(3);
        let expected = format!(
            "error: no node answers on {data}/admin.sock: No such file or directory (os error 2)\n\
             Start one with `nexus up --data {data}`, or name another directory with --data or \
             NEXUS_DATA.\n"
        );
        assert_eq!(err, expected, "{arguments:?}");
    }
}

#[test]
fn the_data_directory_comes_from_flag_environment_or_home() {
    let err = run(binary().arg("ps").env("NEXUS_DATA", "/nonexistent/a")).failed(3);
    assert!(err.contains("/nonexistent/a/admin.sock"), "{err}");
    let flag = run(binary()
        .args(["ps", "--data", "/nonexistent/b"])
        .env("NEXUS_DATA", "/a"));
    assert!(flag.failed(3).contains("/nonexistent/b/admin.sock"));
    let xdg = run(binary().arg("ps").env("XDG_DATA_HOME", "/nonexistent/x")).failed(3);
    assert!(xdg.contains("/nonexistent/x/hypermesh/admin.sock"), "{xdg}");
    assert!(xdg.contains("Start one with `nexus up`, or"), "{xdg}");
    let home = run(binary().arg("ps")).failed(3);
    assert!(
        home.contains("/nonexistent/.local/share/hypermesh/admin.sock"),
        "{home}"
    );
    assert_eq!(
        run(binary().arg("ps").env("NEXUS_DATA", "")).failed(3),
        home
    );
    let service = binary()
        .arg("ps")
        .env("XDG_DATA_HOME", "/nonexistent/x")
        .env_remove("HOME")
        .output()
        .unwrap();
    assert_eq!(service.status.code(), Some(3), "no context is needed");
    let nothing = run(binary().arg("ps").env_remove("HOME")).failed(2);
    assert!(
        nothing.contains("name the data directory with --data"),
        "{nothing}"
    );
}

#[test]
fn version_is_told_in_every_form() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(nexus(&["version"]).ok(), format!("nexus {version}\n"));
    assert_eq!(nexus(&["--version"]).ok(), format!("nexus {version}\n"));
    assert_eq!(nexus(&["version", "-o", "json"]).json()["version"], version);
    assert_eq!(
        nexus(&["version", "-o", "yaml"]).ok(),
        format!("version: \"{version}\"\n")
    );
}

#[test]
fn completions_are_scripts_that_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = nexus(&["completion", shell]).ok();
        assert!(
            script.contains("describe") && script.contains("dry-run"),
            "{shell}"
        );
        // The shells that are here must be able to read it.
        let mut reader = std::process::Command::new(shell);
        let reader = reader
            .arg("-n")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        if let (Ok(mut reader), "bash" | "zsh" | "fish") = (reader, shell) {
            use std::io::Write as _;
            reader
                .stdin
                .take()
                .unwrap()
                .write_all(script.as_bytes())
                .unwrap();
            let output = reader.wait_with_output().unwrap();
            assert!(output.status.success(), "{shell}: {output:?}");
        }
    }
}

#[test]
fn a_closed_output_is_no_error() {
    for arguments in [&["completion", "bash"][..], &["version"], &["--help"]] {
        let mut child = binary()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && err.is_empty(),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn a_full_disk_under_the_output_is_an_error() {
    let Ok(full) = std::fs::File::create("/dev/full") else {
        return;
    };
    let err = run(binary().arg("version").stdout(full)).failed(1);
    assert!(err.starts_with("error: cannot write the output: "), "{err}");
}

#[test]
fn a_wrong_log_filter_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary();
    command
        .arg("up")
        .arg("--data")
        .arg(folder.path())
        .env("RUST_LOG", "a=b=c");
    let err = run(&mut command).failed(2);
    assert!(err.starts_with("error: RUST_LOG is not a filter"), "{err}");
}

#[test]
fn what_a_machine_has_is_measured_without_a_node() {
    let folder = tempfile::tempdir().unwrap();
    // The data directory need not exist, and is not made.
    let data = folder.path().join("not/yet");
    let arguments = [
        "asset",
        "measure",
        "-o",
        "json",
        "--data",
        data.to_str().unwrap(),
    ];
    let measured = nexus(&arguments).json();
    let types: Vec<&str> = measured
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["type"].as_str().unwrap())
        .collect();
    assert_eq!(types[..4], ["cpu", "memory", "storage", "network"]);
    assert_eq!(types.last(), Some(&"container"));
    for one in &measured.as_array().unwrap()[..3] {
        assert_eq!(one["status"], "measured", "{one}");
        assert!(one["amount"].as_u64().unwrap() > 0, "{one}");
    }
    assert!(!data.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(!nexus(&["asset", "measure"]).ok().contains("unknown"));
}
