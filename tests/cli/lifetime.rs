//! Nodes from their start to their end: signals, second starts, and starts that cannot be.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid};

use crate::components::{command, service};
use crate::harness::{Fabric, Running, binary, eventually, get, run, up};

/// Within this a node must end after Ctrl-C.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn ctrl_c_ends_a_node_and_a_second_start_goes_on() {
    let fabric = Fabric::start();
    fabric.write("web.wat", &service("kept"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    let before = fabric.nexus(&["node", "status", "-o", "json"]).json();
    let begun = Instant::now();
    let folder = fabric.stop();
    assert!(begun.elapsed() < STOPS_WITHIN, "{:?}", begun.elapsed());
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    let after = fabric.nexus(&["node", "status", "-o", "json"]).json();
    assert_eq!(after["fabric"], before["fabric"]);
    assert_eq!(after["node"], before["node"]);
    assert!(after["height"].as_u64() >= before["height"].as_u64());
    eventually("the workload answers again", || {
        fabric.get("/hello").1.starts_with("kept").then_some(())
    });
}

#[test]
fn a_guest_that_never_ends_does_not_keep_its_node() {
    let mut fabric = Fabric::start();
    fabric.write(
        "job.wat",
        &command("on and on", "(loop $again (br $again)) (i32.const 0)"),
    );
    fabric.nexus(&["deploy", "job.wat"]).ok();
    let begun = Instant::now();
    fabric.process.signal(Signal::INT);
    assert_eq!(fabric.process.ends(), 0, "{}", fabric.log());
    assert!(begun.elapsed() < STOPS_WITHIN, "{:?}", begun.elapsed());
}

#[test]
fn a_second_ctrl_c_ends_a_node_at_once() {
    let mut fabric = Fabric::start();
    fabric.write(
        "job.wat",
        &command("on and on", "(loop $again (br $again)) (i32.const 0)"),
    );
    fabric.nexus(&["deploy", "job.wat"]).ok();
    fabric.process.signal(Signal::INT);
    eventually("it lets its calls end", || {
        (fabric.nexus(&["ps"]).code != 0).then_some(())
    });
    if !fabric.process.has_ended() {
        fabric.process.signal(Signal::INT);
    }
    // Where nothing was left to wait for, the first signal sufficed.
    assert!(matches!(fabric.process.ends(), 0 | 130), "{}", fabric.log());
}

#[test]
fn a_killed_node_goes_on_from_what_it_acknowledged() {
    let mut fabric = Fabric::start();
    fabric.write("web.wat", &service("kept"));
    fabric.nexus(&["deploy", "web.wat"]).ok();
    fabric.process.signal(Signal::KILL);
    fabric.process.ends();
    assert_eq!(
        fabric.nexus(&["ps"]).code,
        3,
        "a socket that nobody listens on"
    );
    let fabric = Fabric::start_in(fabric.folder, &["--http", "127.0.0.1:0"]);
    eventually("the workload answers again", || {
        fabric.get("/hello").1.starts_with("kept").then_some(())
    });
}

#[test]
fn a_start_says_where_the_node_is_reached() {
    let fabric = Fabric::start();
    let http = fabric.http();
    eventually("it says so", || {
        let log = fabric.log();
        let says = |text: &str| log.contains(text);
        (says("/data/admin.sock\n") && says(&format!("http   http://{http}\n"))).then_some(())
    });
    let mode = fs::metadata(fabric.data().join("operator.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_port_or_a_directory_that_is_taken_is_one_clear_sentence() {
    let fabric = Fabric::start();
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let err = one_sentence(folder.path(), &["--http", &address]);
    assert!(err.contains(&address) && err.contains("--http"), "{err}");
    let err = one_sentence(fabric.folder.path(), &[]);
    assert!(err.contains("/data") && err.contains("in use"), "{err}");
    assert_eq!(
        fabric.nexus(&["node", "status"]).code,
        0,
        "the first one goes on"
    );
}

#[test]
fn a_directory_that_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/letter.txt"), "dear").unwrap();
    let err = one_sentence(folder.path(), &[]);
    assert!(err.contains("not empty"), "{err}");
    assert_eq!(fs::read_dir(folder.path().join("data")).unwrap().count(), 1);
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data"), "a file").unwrap();
    one_sentence(folder.path(), &[]);
}

#[test]
fn a_read_only_directory_is_one_clear_sentence() {
    // The mode does not bind a superuser.
    if geteuid().is_root() {
        let folder = tempfile::tempdir().unwrap();
        let err = one_sentence_at("/proc/hypermesh", folder.path());
        assert!(err.contains("/proc/hypermesh"), "{err}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    let err = one_sentence(folder.path(), &[]);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(err.contains("/data"), "{err}");
}

#[test]
fn two_fabrics_live_side_by_side() {
    let (one, two) = (Fabric::start(), Fabric::start());
    one.write("web.wat", &service("one"));
    two.write("web.wat", &service("two"));
    one.nexus(&["deploy", "web.wat"]).ok();
    two.nexus(&["deploy", "web.wat"]).ok();
    assert!(one.get("/hello").1.starts_with("one"));
    assert!(two.get("/hello").1.starts_with("two"));
    let fabric = |node: &Fabric| node.nexus(&["node", "status", "-o", "json"]).json();
    assert_ne!(fabric(&one)["fabric"], fabric(&two)["fabric"]);
}

#[test]
fn the_demo_answers_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let demo = &["--demo", "--http", "127.0.0.1:0"];
    let mut generation = None;
    let mut folder = Some(folder);
    for _ in 0..2 {
        let fabric = Fabric::start_in(folder.take().unwrap(), demo);
        let said = eventually("the demo is there", || {
            let log = fabric.log();
            log.contains("Try next").then_some(log)
        });
        let data = fabric.data();
        assert!(
            said.contains(&format!("--data {} logs demo -f", data.display())),
            "{said}"
        );
        let (status, page) = fabric.get("/");
        assert_eq!(status, 200);
        assert!(
            page.starts_with("<!doctype html>") && page.ends_with("</html>\n"),
            "{page}"
        );
        let now = fabric.nexus(&["describe", "demo", "-o", "json"]).json()["generation"].clone();
        assert_eq!(*generation.get_or_insert(now.clone()), now, "deployed once");
        folder = Some(fabric.stop());
    }
}

#[test]
fn the_demo_takes_a_free_port_and_a_place_of_its_own() {
    // Held by this test, or by somebody else: taken in either case.
    let _taken = TcpListener::bind("127.0.0.1:8080");
    let folder = tempfile::tempdir().unwrap();
    let log = fs::File::create(folder.path().join("demo.log")).unwrap();
    let mut command = binary();
    command
        .args(["up", "--demo"])
        .env("XDG_DATA_HOME", folder.path());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let mut demo = Running::new(&mut command);
    let said = eventually("the demo is there", || {
        assert!(!demo.has_ended());
        let log = fs::read_to_string(folder.path().join("demo.log")).unwrap();
        log.contains("Try next").then_some(log)
    });
    assert!(
        said.contains("port 8080 is taken: using a free one instead\n"),
        "{said}"
    );
    assert!(folder.path().join("hypermesh-demo/admin.sock").exists());
    let url = said.split("The demo answers at http://").nth(1).unwrap();
    let http = url.split('/').next().unwrap();
    assert_eq!(get(http, "/").unwrap().0, 200);
    // Whoever forgets the directory is told where the demo may be.
    let ps = run(binary().arg("ps").env("XDG_DATA_HOME", folder.path())).failed(3);
    assert!(ps.contains("A demo may run: add `--data "), "{ps}");
    demo.signal(Signal::TERM);
    assert_eq!(demo.ends(), 0);
}

/// The error of a start that must fail with one sentence.
fn one_sentence(folder: &std::path::Path, arguments: &[&str]) -> String {
    let mut command = up(folder, arguments);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    checked_sentence(&run(&mut command).failed(1))
}

fn one_sentence_at(data: &str, home: &std::path::Path) -> String {
    let mut command = binary();
    command.args(["--data", data, "up"]).env("HOME", home);
    checked_sentence(&run(&mut command).failed(1))
}

fn checked_sentence(err: &str) -> String {
    let sentences: Vec<&str> = err
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(sentences.len(), 1, "{err}");
    assert!(
        !err.contains("panicked") && !err.contains("Error {"),
        "{err}"
    );
    sentences[0].to_owned()
}
