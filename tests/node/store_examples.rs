//! Example guests on the SDK whose state is in the node's stores.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::examples::example;
use crate::harness::{Fabric, eventually};

#[test]
fn the_counter_example_goes_on_after_a_restart_of_the_node() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "counter") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    assert_eq!(fabric.get("/a"), (200, "/a: 1\n".to_owned()));
    assert_eq!(fabric.get("/a"), (200, "/a: 2\n".to_owned()));
    assert_eq!(fabric.get("/b"), (200, "/b: 1\n".to_owned()));
    let folder = fabric.stop();
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    let (status, text) = eventually("it answers again", || {
        Some(fabric.get("/a")).filter(|(status, _)| *status == 200)
    });
    assert_eq!((status, text.as_str()), (200, "/a: 3\n"));
    fabric.stop();
}

/// Sends `head` and then `body`; everything that comes back.
fn exchange(http: &str, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(http).unwrap();
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_url_shortener_example_leads_to_what_it_was_given() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "url-shortener") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    let http = fabric.http();
    let made = exchange(&http, "POST /", b"https://example.com/a");
    assert!(
        made.starts_with("HTTP/1.1 201") && made.ends_with("/1\n"),
        "{made}"
    );
    let found = exchange(&http, "GET /1", b"");
    assert!(found.starts_with("HTTP/1.1 302"), "{found}");
    assert!(
        found.contains("location: https://example.com/a\r\n"),
        "{found}"
    );
    assert_eq!(fabric.get("/2").0, 404);
    fabric.stop();
}

/// MiB of the file unless `HYPERMESH_FILE_MIB` says otherwise: far more than the 16 MiB that the
/// manifest grants as memory, and quick with a node that was compiled without optimisation.
const FILE_MIB: u64 = 128;

fn file_bytes() -> u64 {
    let said = std::env::var("HYPERMESH_FILE_MIB");
    let mib = said.map_or(FILE_MIB, |text| text.parse().unwrap());
    mib << 20
}

#[test]
fn the_file_server_example_streams_a_large_file_through_little_memory() {
    let file_bytes = file_bytes();
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "file-server") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    let http = fabric.http();
    let mut stream = TcpStream::connect(&http).unwrap();
    write!(
        stream,
        "PUT /big HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {file_bytes}\r\n\r\n"
    )
    .unwrap();
    let sent = std::io::copy(&mut std::io::repeat(b'x').take(file_bytes), &mut stream).unwrap();
    assert_eq!(sent, file_bytes);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.ends_with(&format!("{file_bytes} bytes\n")),
        "{answer}"
    );

    let mut stream = TcpStream::connect(&http).unwrap();
    write!(
        stream,
        "GET /big HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut back = 0;
    let mut step = vec![0; 1 << 16];
    loop {
        let length = stream.read(&mut step).unwrap();
        if length == 0 {
            break;
        }
        back += length as u64;
    }
    assert!(back >= file_bytes, "only {back} bytes came back");
    fabric.stop();
}
