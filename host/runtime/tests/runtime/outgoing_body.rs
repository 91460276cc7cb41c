//! Outgoing requests with bodies: trailers both ways, and each timeout against a server that
//! stalls at that very point.

use std::net::SocketAddr;

use hypermesh_runtime::Denial;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use types::Capability;

use crate::harness::{Started, runtime, start};

/// `wasi:http` error codes as the guest reports them, by their place in the variant: 1,000 for a
/// request without a response, 2,000 for a response that breaks off.
const CONNECTION_TIMEOUT: &str = "-1008";
const NO_FIRST_BYTE: &str = "-1009";
const NO_NEXT_BYTES: &str = "-2009";
const INCOMPLETE: &str = "-2025";

/// Short, in nanoseconds: the server never goes on, so it may be as short as it likes.
const SHORT_NS: &str = "50000000";
const NONE: &str = "0";

/// The same guest for both versions of WASI.
const GUESTS: [&str; 2] = ["outgoing-body", "outgoing-body-0.3"];

async fn guest(name: &str, address: SocketAddr) -> Started {
    let allow = vec![address.to_string().parse().unwrap()];
    start(&runtime(), name, |spec| {
        spec.capabilities = vec![Capability::HttpOutgoing { allow }];
    })
    .await
}

/// Reads one request up to the end of its chunked body, if it has one; what it was.
async fn request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let end = |request: &[u8]| {
        let body = request.windows(3).position(|at| at == b"\n0\r");
        let has_body = !request.starts_with(b"GET ");
        (!has_body || body.is_some()) && request.ends_with(b"\r\n\r\n")
    };
    while !end(&request) {
        let mut buffer = [0; 4096];
        let bytes = stream.read(&mut buffer).await.unwrap();
        assert!(bytes > 0, "{}", String::from_utf8_lossy(&request));
        request.extend_from_slice(&buffer[..bytes]);
    }
    String::from_utf8(request).unwrap()
}

/// A server that answers one request with `answer` and then neither goes on nor hangs up before
/// the sender that it returns is dropped. Without an answer it does not even read.
async fn stalling(answer: Option<&'static str>) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (hold, end) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        if let Some(answer) = answer {
            request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        let _ = end.await;
    });
    (address, hold)
}

async fn fetch_within(
    guest: &Started,
    address: SocketAddr,
    https: &str,
    times: [&str; 3],
) -> String {
    let authority = format!("{:?}", address.to_string());
    let [connect, first, between] = times;
    guest
        .invoke(
            "fetch-within",
            &[https, &authority, connect, first, between],
        )
        .await
        .unwrap()
}

/// The server's part of one exchange with trailers; the request that it saw.
async fn trailing(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let seen = request(&mut stream).await;
    let answer = "HTTP/1.1 200 OK\r\ntrailer: x-received\r\ntransfer-encoding: chunked\r\n\r\n\
                  4\r\npong\r\n0\r\nx-received: indeed\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.unwrap();
    seen
}

#[tokio::test]
async fn trailers_go_out_and_come_back() {
    for name in GUESTS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(trailing(listener));
        let guest = guest(name, address).await;
        let authority = format!("{:?}", address.to_string());
        let trailer = guest.invoke("trailer", &[&authority]).await.unwrap();
        assert_eq!(trailer, "\"indeed\"");
        let seen = server.await.unwrap();
        assert!(seen.starts_with("POST / HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("\r\ntrailer: x-sent\r\n"), "{seen}");
        assert!(
            seen.ends_with("\r\n4\r\nping\r\n0\r\nx-sent: yes\r\n\r\n"),
            "{seen}"
        );
        assert_eq!(guest.seen.denials(), Vec::<Denial>::new());
    }
}

/// How a fetch ends against a server that stalls after this answer, for each guest.
async fn ends(answer: Option<&'static str>, https: &str, times: [&str; 3], expected: &str) {
    for name in GUESTS {
        let (address, _hold) = stalling(answer).await;
        let guest = guest(name, address).await;
        let end = fetch_within(&guest, address, https, times).await;
        assert_eq!(end, expected, "{name}");
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_by_the_connect_timeout() {
    ends(None, "true", [SHORT_NS, NONE, NONE], CONNECTION_TIMEOUT).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_ends_by_the_first_byte_timeout() {
    ends(Some(""), "false", [NONE, SHORT_NS, NONE], NO_FIRST_BYTE).await;
}

#[tokio::test]
async fn a_body_that_stalls_ends_by_the_between_bytes_timeout() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npong";
    ends(Some(half), "false", [NONE, NONE, SHORT_NS], NO_NEXT_BYTES).await;
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_incomplete() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npong";
    for name in GUESTS {
        let (address, hold) = stalling(Some(half)).await;
        drop(hold);
        let guest = guest(name, address).await;
        let end = fetch_within(&guest, address, "false", [NONE; 3]).await;
        assert_eq!(end, INCOMPLETE, "{name}");
    }
}

#[tokio::test]
async fn a_response_in_time_is_read_whole() {
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npongpong";
    let minute = "60000000000";
    ends(Some(whole), "false", [minute; 3], "8").await;
}
