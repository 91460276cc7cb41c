//! HTTP components behind a server on a socket: trailers both ways, bodies larger than memory.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hypermesh_runtime::Replica;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use types::Millis;
use wasmtime_wasi_http::io::TokioIo;

use crate::harness::{PATIENCE, eventually, runtime, start};

/// Serves one connection.
async fn serve_one(replica: Replica) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request| {
            let replica = replica.clone();
            async move { replica.handle(request).await }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connection.await.unwrap();
    });
    address
}

async fn exchanged(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn request_trailers_reach_the_guest_and_its_trailers_the_client() {
    let runtime = runtime();
    let guest = start(&runtime, "http-trailers", |_| {}).await;
    let request = "POST / HTTP/1.1\r\nhost: guest.test\r\nconnection: close\r\nte: trailers\r\n\
                   trailer: x-checksum\r\ntransfer-encoding: chunked\r\n\r\n\
                   4\r\nping\r\n0\r\nx-checksum: 17\r\n\r\n";
    let answer = exchanged(serve_one(guest.replica.clone()).await, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\ntrailer: x-checksum\r\n"), "{answer}");
    assert!(
        answer.ends_with("\r\n4\r\nping\r\n0\r\nx-checksum: 17\r\n\r\n"),
        "{answer}"
    );
    // Trailers are for those who say that they take them.
    let request = request.replace("te: trailers\r\n", "");
    let answer = exchanged(serve_one(guest.replica.clone()).await, &request).await;
    assert!(answer.ends_with("\r\n4\r\nping\r\n0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_request_without_trailers_is_told_so() {
    let runtime = runtime();
    let guest = start(&runtime, "http-trailers", |_| {}).await;
    let request = "POST / HTTP/1.1\r\nhost: guest.test\r\nconnection: close\r\nte: trailers\r\n\
                   content-length: 4\r\n\r\nping";
    let answer = exchanged(serve_one(guest.replica.clone()).await, request).await;
    assert!(answer.ends_with("\r\n4\r\nping\r\n0\r\n\r\n"), "{answer}");
}

/// What a body may be ahead of its echo: the buffers between, far less than the body.
const AHEAD_BYTES_MAX: u64 = 1 << 20;
static PIECE: [u8; 64 << 10] = [7; 64 << 10];
const PIECE_BYTES: u64 = 64 << 10;
const HUGE_BYTES: u64 = 128 << 20;

#[tokio::test]
async fn a_huge_body_passes_in_bounded_memory() {
    let runtime = runtime();
    for name in ["http/echo", "http-0.3/echo"] {
        let guest = start(&runtime, name, |spec| {
            spec.limits.wall_time = Millis::seconds(600);
        })
        .await;
        let taken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&taken);
        let pieces = (0..HUGE_BYTES / PIECE_BYTES).map(move |_| {
            count.fetch_add(PIECE_BYTES, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&PIECE)))
        });
        let request = Request::post("http://guest.test/")
            .body(StreamBody::new(stream::iter(pieces)))
            .unwrap();
        let mut body = guest.replica.handle(request).await.unwrap().into_body();
        let mut echoed = 0;
        while let Some(frame) = body.frame().await {
            // Measured before it counts as read: it is in memory.
            let ahead = taken.load(Ordering::Relaxed) - echoed;
            assert!(ahead <= AHEAD_BYTES_MAX, "{name}: {ahead} bytes in between");
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.iter().all(|byte| *byte == 7));
            echoed += piece.len() as u64;
        }
        assert_eq!(echoed, HUGE_BYTES, "{name}");
        eventually("the call ends", || guest.replica.in_flight() == 0).await;
        let record = guest.seen.records().pop().unwrap();
        assert!(record.memory_peak_bytes < AHEAD_BYTES_MAX, "{name}");
    }
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_sender() {
    let runtime = runtime();
    for name in ["http/echo", "http-0.3/echo"] {
        let guest = start(&runtime, name, |_| {}).await;
        let taken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&taken);
        // Without an end: only what the buffers hold may ever be taken.
        let pieces = std::iter::repeat_with(move || {
            count.fetch_add(PIECE_BYTES, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&PIECE)))
        });
        let request = Request::post("http://guest.test/")
            .body(StreamBody::new(stream::iter(pieces)))
            .unwrap();
        let response = guest.replica.handle(request).await.unwrap();
        eventually("it has begun", || taken.load(Ordering::Relaxed) > 0).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let ahead = taken.load(Ordering::Relaxed);
        assert!(ahead <= AHEAD_BYTES_MAX, "{name}: {ahead} bytes taken");
        drop(response);
        eventually("the guest is stopped", || guest.replica.in_flight() == 0).await;
    }
}
