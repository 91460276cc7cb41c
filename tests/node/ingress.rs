//! HTTP through a node: streams both ways, both versions, conflicts, full queues, lost clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::components::service;
use crate::guests;
use crate::harness::{Fabric, eventually};

const ECHO: &str = r#"
name = "echo"
[[component]]
name = "main"
source = "echo.wat"
[[component.route]]
path = "/"
[component.limits]
requests_in_flight = 1
requests_queued = 0
"#;

fn fabric_with_echo() -> Fabric {
    let fabric = Fabric::start();
    fabric.write("echo.wat", &guests::echo());
    fabric.write("echo.toml", ECHO);
    fabric.nexus(&["deploy", "echo.toml"]).ok();
    fabric
}

/// Sends the head of a request whose body is still to come.
fn begin(http: &str) -> TcpStream {
    let mut stream = TcpStream::connect(http).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn send(stream: &mut TcpStream, text: &str) {
    write!(stream, "{:x}\r\n{text}\r\n", text.len()).unwrap();
}

/// Reads until `text` was seen.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let (mut seen, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let seen_text = String::from_utf8_lossy(&seen).into_owned();
        if seen_text.contains(text) {
            return seen_text;
        }
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the answer ended before {text:?}: {seen_text:?}");
        seen.extend_from_slice(&piece[..count]);
    }
}

#[test]
fn bodies_stream_both_ways_at_once() {
    let fabric = fabric_with_echo();
    let mut stream = begin(&fabric.http());
    for text in ["first piece", "second piece"] {
        send(&mut stream, text);
        read_until(&mut stream, text);
    }
    send(&mut stream, "");
    read_until(&mut stream, "0\r\n\r\n");
    fabric.stop();
}

#[test]
fn a_full_queue_answers_503_with_retry_after_and_recovers() {
    let fabric = fabric_with_echo();
    let mut first = begin(&fabric.http());
    send(&mut first, "taken");
    read_until(&mut first, "taken");
    let mut second = begin(&fabric.http());
    let answer = read_until(&mut second, "\r\n\r\n").to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    send(&mut first, "");
    read_until(&mut first, "0\r\n\r\n");
    let mut third = begin(&fabric.http());
    send(&mut third, "free again");
    read_until(&mut third, "free again");
    fabric.stop();
}

#[test]
fn a_client_that_goes_away_stops_its_guest() {
    let fabric = fabric_with_echo();
    let in_flight = || {
        let status = fabric.nexus(&["describe", "echo", "-o", "json"]).json();
        status["components"][0]["replicas"][0]["in_flight"]
            .as_u64()
            .unwrap()
    };
    let mut client = begin(&fabric.http());
    send(&mut client, "here");
    read_until(&mut client, "here");
    assert_eq!(in_flight(), 1);
    drop(client);
    eventually("the guest is stopped", || (in_flight() == 0).then_some(()));
    fabric.stop();
}

#[test]
fn http_2_carries_requests_side_by_side() {
    let fabric = Fabric::start();
    fabric.write("hello.wat", &service("over two"));
    fabric.nexus(&["deploy", "hello.wat", "--route", "/"]).ok();
    let http = fabric.http();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(&http).await.unwrap();
        let handshake =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let requests = (0..20).map(|_| {
            let mut sender = sender.clone();
            async move {
                let request = http::Request::builder().uri("http://a.example/hello");
                let request = request.body(Full::<Bytes>::default()).unwrap();
                let answer = sender.send_request(request).await.unwrap();
                assert_eq!(answer.version(), http::Version::HTTP_2);
                answer.into_body().collect().await.unwrap().to_bytes()
            }
        });
        for body in futures::future::join_all(requests).await {
            assert!(body.starts_with(b"over two"), "{body:?}");
        }
    });
    fabric.stop();
}

#[test]
fn components_of_both_versions_of_wasi_answer_and_keep_instances_if_they_say_so() {
    let fabric = Fabric::start();
    for (name, text) in [("old", guests::count()), ("new", guests::count_0_3())] {
        fabric.write(&format!("{name}.wat"), &text);
        for (kept, times) in [("fresh", 1), ("kept", 2)] {
            let manifest = format!(
                "name = \"{name}-{kept}\"\n[[component]]\nname = \"main\"\n\
                 source = \"{name}.wat\"\nrequests_per_instance = {times}\n\
                 [[component.route]]\npath = \"/{name}/{kept}\"\n"
            );
            fabric.write("app.toml", &manifest);
            fabric.nexus(&["deploy", "app.toml"]).ok();
        }
        for _ in 0..3 {
            assert_eq!(fabric.get(&format!("/{name}/fresh")), (200, "1".to_owned()));
        }
        // An instance is kept once its call has ended, a moment after its answer.
        eventually("an instance answers twice", || {
            let (status, count) = fabric.get(&format!("/{name}/kept"));
            assert_eq!(status, 200);
            assert!(["1", "2"].contains(&count.as_str()), "{count}");
            (count == "2").then_some(())
        });
    }
    fabric.stop();
}

#[test]
fn a_taken_route_is_refused_and_names_its_owner() {
    let fabric = fabric_with_echo();
    fabric.write("other.wat", &service("other"));
    let error = fabric
        .nexus(&["deploy", "other.wat", "--route", "/"])
        .failed(5);
    assert!(error.contains("echo") && error.contains("*/"), "{error}");
    assert_eq!(fabric.state("other"), None);
    let (status, _) = fabric.get("/x");
    assert_eq!(status, 200, "the owner still answers");
    fabric.stop();
}

#[test]
fn hosts_and_prefixes_choose_the_workload() {
    let fabric = Fabric::start();
    for (name, route) in [("any", "/"), ("api", "/hello"), ("own", "own.example/")] {
        fabric.write(&format!("{name}.wat"), &service(name));
        fabric
            .nexus(&["deploy", &format!("{name}.wat"), "--route", route])
            .ok();
    }
    let http = fabric.http();
    let ask = |host: &str, path: &str| {
        let mut stream = TcpStream::connect(&http).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("x.example", "/hello").contains("api"));
    assert!(ask("own.example:80", "/hello").contains("own"));
    assert!(ask("x.example", "/other").starts_with("HTTP/1.1 404"));
    fabric.nexus(&["stop", "own"]).ok();
    assert!(ask("own.example", "/hello").starts_with("HTTP/1.1 503"));
    fabric.stop();
}

#[test]
fn failing_guests_are_reported_and_neighbours_serve_on() {
    let fabric = Fabric::start();
    fabric.write("good.wat", &service("good"));
    fabric.write("trap.wat", &guests::trap());
    fabric.write("spin.wat", &guests::spin());
    let spin = ECHO.replace("echo", "spin").replace("\"/\"", "\"/spin\"");
    fabric.write("spin.toml", &format!("{spin}wall_time = \"300ms\"\n"));
    fabric.nexus(&["deploy", "good.wat", "--route", "/"]).ok();
    fabric
        .nexus(&["deploy", "trap.wat", "--route", "/trap"])
        .ok();
    fabric.nexus(&["deploy", "spin.toml"]).ok();
    assert_eq!(fabric.get("/trap").0, 502);
    assert_eq!(fabric.get("/spin").0, 504);
    assert_eq!(fabric.get("/hello").0, 200);
    let logs = fabric.nexus(&["logs", "trap"]).ok();
    assert!(logs.contains("trap: "), "{logs}");
    let list = fabric.nexus(&["ps"]).ok();
    assert!(list.contains("wall time limit of 300ms"), "{list}");
    fabric.stop();
}
