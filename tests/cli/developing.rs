//! The developer's loop: `nexus new`, `nexus build`, `nexus dev`.
//!
//! Tests that compile guests run where `HYPERMESH_GUESTS` says that a guest toolchain is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Fabric, Ran, Running, binary, eventually, nexus, run};

/// How long the first build of a guest may take: the SDK and its macros come first.
const FIRST_BUILD: Duration = Duration::from_secs(900);

/// `nexus` with what compilers need of the caller's environment, in `folder`. Guests of all tests
/// share one target folder, so that what they depend on is compiled once. None without a toolchain.
fn developer(folder: &Path) -> Option<Command> {
    let Some(guests) = std::env::var_os("HYPERMESH_GUESTS") else {
        println!("skipped: HYPERMESH_GUESTS is not set; `cargo xtask test` sets it");
        return None;
    };
    let mut command = binary();
    command
        .current_dir(folder)
        .env("HOME", std::env::var_os("HOME").unwrap())
        .env("CARGO_TARGET_DIR", Path::new(&guests).join("projects"));
    Some(command)
}

fn new(folder: &Path, arguments: &[&str]) -> Ran {
    run(binary().arg("new").args(arguments).current_dir(folder))
}

#[test]
fn new_makes_a_project_and_touches_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let said = new(folder.path(), &["--template", "http", "hello"]).ok();
    assert!(said.starts_with("made hello/\n"), "{said}");
    let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
    assert!(read("hello/Cargo.toml").contains("name = \"hello\""));
    assert!(read("hello/app.toml").contains("source = \"target/hello.wasm\""));
    assert!(read("hello/src/lib.rs").contains("http_service!"));
    assert!(read("hello/sdk/Cargo.toml").contains("hypermesh-guest"));

    let refused = new(folder.path(), &["hello"]).failed(1);
    assert!(refused.contains("cannot create hello"), "{refused}");
    let refused = new(folder.path(), &["2hello"]).failed(2);
    assert!(refused.contains("begins with a digit"), "{refused}");
    let refused = new(folder.path(), &["--sdk", "hello/src", "other"]).failed(2);
    assert!(refused.contains("no Cargo.toml"), "{refused}");
    assert!(!folder.path().join("other").exists());
}

#[test]
fn other_languages_are_refused_with_what_works() {
    let folder = tempfile::tempdir().unwrap();
    for lang in ["python", "js", "go", "c"] {
        let refused = new(folder.path(), &["--lang", lang, "hello"]).failed(2);
        assert!(refused.contains("use --lang rust"), "{refused}");
        assert!(refused.contains("nexus deploy FILE.wasm"), "{refused}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn build_says_what_to_run_where_no_compiler_is() {
    let folder = tempfile::tempdir().unwrap();
    new(folder.path(), &["hello"]).ok();
    // A rustc that knows no target but the host's.
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let rustc = bin.join("rustc");
    fs::write(&rustc, "#!/bin/sh\necho /nowhere\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&rustc, mode).unwrap();
    let mut build = binary();
    build.args(["build", "hello"]).current_dir(folder.path());
    build.env("PATH", &bin).env("XDG_CACHE_HOME", folder.path());
    let refused = run(&mut build).failed(1);
    assert!(
        refused.contains("rustup target add wasm32-wasip2"),
        "{refused}"
    );
    assert!(refused.contains("cargo xtask guests"), "{refused}");
}

#[test]
fn build_and_dev_want_a_project() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for command in ["build", "dev"] {
        let refused = nexus(&["--data", empty, command, empty]).failed(2);
        assert!(refused.contains("this is no Rust project"), "{refused}");
    }
}

#[test]
fn a_new_library_builds_passes_its_tests_and_is_callable() {
    let fabric = Fabric::start();
    let folder = fabric.folder.path();
    let Some(mut build) = developer(folder) else {
        return;
    };
    new(folder, &["--template", "lib", "my-greeter"]).ok();
    let built = run(build.args(["build", "my-greeter", "-o", "json"])).json();
    assert_eq!(built["component"], "my-greeter/target/my-greeter.wasm");
    fabric.nexus(&["deploy", "my-greeter/app.toml"]).ok();
    let said = fabric
        .nexus(&["invoke", "my-greeter", "greet", "\"Ada\""])
        .ok();
    assert_eq!(said, "\"Hello, Ada!\"\n");
    fabric.stop();
}

#[test]
fn a_new_command_builds_and_runs() {
    let fabric = Fabric::start();
    let folder = fabric.folder.path();
    let Some(mut build) = developer(folder) else {
        return;
    };
    new(folder, &["--template", "cli", "report"]).ok();
    run(build.args(["build", "report"])).ok();
    fabric.nexus(&["deploy", "report/app.toml"]).ok();
    eventually("the command ends well", || {
        (fabric.state("report").as_deref() == Some("completed")).then_some(())
    });
    let logs = fabric.nexus(&["logs", "report"]).ok();
    assert!(
        logs.contains("Hello, Ada!") && logs.contains("Hello, Grace!"),
        "{logs}"
    );
    fabric.stop();
}

#[test]
fn a_new_worker_builds_and_says_what_it_gets() {
    let fabric = Fabric::start();
    let folder = fabric.folder.path();
    let Some(mut build) = developer(folder) else {
        return;
    };
    new(folder, &["--template", "worker", "mailbox"]).ok();
    run(build.args(["build", "mailbox"])).ok();
    fabric.nexus(&["deploy", "mailbox/app.toml"]).ok();
    let said = fabric
        .nexus(&["publish", "mailbox", "--text", "hello"])
        .ok();
    assert_eq!(said, "queued for 1 component\n");
    eventually("the message is handled", || {
        let logs = fabric.nexus(&["logs", "mailbox"]).ok();
        logs.contains("mailbox says hello").then_some(())
    });
    fabric.stop();
}

#[test]
fn dev_serves_what_was_saved_and_keeps_what_works() {
    let fabric = Fabric::start();
    let folder = fabric.folder.path().to_owned();
    let Some(mut dev) = developer(&folder) else {
        return;
    };
    new(&folder, &["hello"]).ok();
    let source = folder.join("hello/src/lib.rs");
    let log = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let file = |name: &str| fs::File::create(folder.join(name)).unwrap();
    dev.arg("--data").arg(fabric.data()).args(["dev", "hello"]);
    let mut dev = Running::new(dev.stdout(file("dev.out")).stderr(file("dev.err")));
    let answer = || fabric.get("/hello");
    // Patient with the first build alone: it compiles the SDK.
    let begun = Instant::now();
    while !log("dev.out").contains("started -> served in") {
        assert!(!dev.has_ended(), "{}{}", log("dev.out"), log("dev.err"));
        assert!(begun.elapsed() < FIRST_BUILD, "{}", log("dev.err"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(answer(), (200, "Hello from /hello\n".to_owned()));

    let working = fs::read_to_string(&source).unwrap();
    let edited = working.replace(
        "    format!(\"Hello from",
        "    println!(\"asked\");\n    format!(\"Good day from",
    );
    assert_ne!(edited, working);
    fs::write(&source, &edited).unwrap();
    eventually("the edit is served", || {
        (answer() == (200, "Good day from /hello\n".to_owned())).then_some(())
    });
    eventually("its log is shown", || {
        log("dev.out").contains("asked").then_some(())
    });
    eventually("its time is told", || {
        log("dev.out").contains("saved -> served in").then_some(())
    });

    fs::write(&source, edited.replace("Good day", "{oops")).unwrap();
    eventually("the compiler's words and the consequence are shown", || {
        let said = log("dev.err");
        (said.contains("error: the build failed") && said.contains("keeps serving")).then_some(())
    });
    assert_eq!(answer(), (200, "Good day from /hello\n".to_owned()));

    fs::write(&source, edited.replace("Good day", "Again")).unwrap();
    eventually("the repair is served", || {
        (answer() == (200, "Again from /hello\n".to_owned())).then_some(())
    });
    dev.signal(Signal::INT);
    assert_eq!(dev.ends(), 0, "{}", log("dev.err"));
    assert_eq!(fabric.state("hello").as_deref(), Some("running"));
    fabric.stop();
}

#[test]
fn a_new_project_passes_its_own_tests() {
    let folder = tempfile::tempdir().unwrap();
    if developer(folder.path()).is_none() {
        return;
    }
    let target = PathBuf::from(std::env::var_os("HYPERMESH_GUESTS").unwrap()).join("projects");
    for template in ["http", "worker", "cli", "lib"] {
        let name = format!("my-{template}");
        let mut args = vec!["--template", template, &name];
        // The copy of the SDK is tried once; the others share one, which is then compiled once.
        let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest-sdk/rust");
        if template != "http" {
            args.extend(["--sdk", sdk]);
        }
        new(folder.path(), &args).ok();
        let mut tests = Command::new("cargo");
        tests
            .args(["test", "--quiet"])
            .current_dir(folder.path().join(name))
            .env("CARGO_TARGET_DIR", &target);
        let said = run(&mut tests).ok();
        assert!(said.contains("1 passed"), "{said}");
    }
}
