//! Example guests on the SDK that need no store: other servers, long work, kept state.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::examples::example;
use crate::harness::{Fabric, eventually};

/// A server that answers one request with `answer` and ends.
fn serve_once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut step = [0; 1024];
        while !request.ends_with(b"\r\n\r\n") {
            let length = stream.read(&mut step).unwrap();
            assert_ne!(length, 0, "the request ends with an empty line");
            request.extend_from_slice(&step[..length]);
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    (address, server)
}

#[test]
fn the_fetch_example_passes_on_what_the_granted_server_answers() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "fetch") else {
        return;
    };
    let (address, server) = serve_once("from upstream\n");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("127.0.0.1:8000", &address)).unwrap();
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    assert_eq!(fabric.get("/a/b"), (200, "from upstream\n".to_owned()));
    let request = server.join().unwrap();
    assert!(request.starts_with("GET /a/b HTTP/1.1\r\n"), "{request}");
    // The server is gone: the guest says so, and lives.
    assert_eq!(fabric.get("/").0, 502);
    fabric.stop();
}

#[test]
fn the_fetch_example_reaches_no_server_that_is_not_granted() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "fetch") else {
        return;
    };
    let (address, server) = serve_once("never asked");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let configured = text.replace("http://127.0.0.1:8000", &format!("http://{address}"));
    std::fs::write(&manifest, configured).unwrap();
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    let (status, text) = fabric.get("/");
    assert_eq!(status, 502);
    assert!(text.contains("denied"), "{text}");
    // Nobody came: the first request that the server sees is this one.
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /mine HTTP/1.1\r\n\r\n").unwrap();
    assert!(server.join().unwrap().starts_with("GET /mine"));
    fabric.stop();
}

#[test]
fn the_mandelbrot_example_draws_and_refuses_too_large_a_picture() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "mandelbrot") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    assert_eq!(fabric.get("/?side=5000").0, 400);
    let mut stream = TcpStream::connect(fabric.http()).unwrap();
    stream
        .write_all(b"GET /?side=64 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let has = |part: &[u8]| answer.windows(part.len()).any(|found| found == part);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert!(has(b"P5 64 64 255\n"));
    // The middle of the set, where no point leaves.
    assert!(has(&[255; 8]));
    fabric.stop();
}

#[test]
fn the_game_of_life_example_goes_on_after_a_restart_of_the_node() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "game-of-life") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    let board = r#"[".....", "..#..", "..#..", "..#..", "....."]"#;
    fabric
        .nexus(&["invoke", "game-of-life", "set-board", board])
        .ok();
    fabric.nexus(&["invoke", "game-of-life", "step", "1"]).ok();
    let folder = fabric.stop();
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    let said = eventually("it runs again", || {
        let ran = fabric.nexus(&["invoke", "game-of-life", "step", "2"]);
        (ran.code == 0).then_some(ran.out)
    });
    let expected = r#"([".....", ".....", ".###.", ".....", "....."], 3)"#;
    assert_eq!(said.trim_end(), expected);
    fabric.stop();
}

#[test]
fn the_hello_cli_example_greets_and_fails_when_nobody_is_named() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "hello-cli") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    eventually("the command ends well", || {
        (fabric.state("hello-cli").as_deref() == Some("completed")).then_some(())
    });
    let logs = fabric.nexus(&["logs", "hello-cli"]).ok();
    assert!(logs.contains("out  Good day, Ada!"), "{logs}");
    assert!(logs.contains("out  Good day, Grace!"), "{logs}");

    fabric.nexus(&["rm", "hello-cli"]).ok();
    let text = std::fs::read_to_string(&manifest).unwrap();
    let nobody = text.replace("args = [\"Ada\", \"Grace\"]\n", "");
    assert_ne!(nobody, text);
    std::fs::write(&manifest, nobody).unwrap();
    let refused = fabric
        .nexus(&["deploy", manifest.to_str().unwrap()])
        .failed(6);
    assert!(refused.contains("nobody to greet"), "{refused}");
    fabric.stop();
}
