//! The chat example: what one component publishes, another receives and keeps for the first.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::examples::example;
use crate::harness::{Fabric, eventually};

/// Says `line`; the status of the answer.
fn say(http: &str, line: &str) -> String {
    let mut stream = TcpStream::connect(http).unwrap();
    let length = line.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{line}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap();
    status.to_owned()
}

#[test]
fn the_chat_example_shows_what_was_said_to_everybody_and_after_a_restart() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "chat") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    assert_eq!(fabric.get("/"), (200, String::new()));
    let http = fabric.http();
    assert_eq!(say(&http, ""), "400");
    assert_eq!(say(&http, "hello"), "202");
    eventually("the first line is kept", || {
        (fabric.get("/").1 == "hello\n").then_some(())
    });
    // The keeper does not care who published.
    fabric
        .nexus(&["publish", "chat", "--text", "good day"])
        .ok();
    eventually("the second line is kept", || {
        (fabric.get("/").1 == "hello\ngood day\n").then_some(())
    });
    let folder = fabric.stop();
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    let kept = eventually("it answers again", || {
        Some(fabric.get("/")).filter(|(status, _)| *status == 200)
    });
    assert_eq!(kept.1, "hello\ngood day\n");
    fabric.stop();
}

#[test]
fn the_chat_example_says_so_when_its_topic_is_not_granted() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "chat") else {
        return;
    };
    let text = std::fs::read_to_string(&manifest).unwrap();
    let elsewhere = text.replace("publish = [\"chat\"]", "publish = [\"elsewhere\"]");
    assert_ne!(elsewhere, text);
    std::fs::write(&manifest, elsewhere).unwrap();
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    assert_eq!(say(&fabric.http(), "hello"), "503");
    fabric.stop();
}
