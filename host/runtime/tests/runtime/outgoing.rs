//! Outgoing requests: to granted hosts only, so many at once, with typed refusals.

use std::net::SocketAddr;

use hypermesh_runtime::{Breach, Denial};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use types::Capability;

use crate::harness::{Started, runtime, start};

/// `wasi:http` error codes as the guest reports them, by their place in the variant.
const CONNECTION_REFUSED: &str = "-1006";
const CONNECTION_LIMIT_REACHED: &str = "-1011";
const REQUEST_DENIED: &str = "-1015";

/// Answers every request with 204 and keeps the connection open.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            });
        }
    });
    address
}

/// The same guest for both versions of WASI.
const GUESTS: [&str; 2] = ["outgoing", "outgoing-0.3"];

async fn guest(name: &str, allow: &[&str], connections: u16) -> Started {
    let allow = allow
        .iter()
        .map(|pattern| pattern.parse().unwrap())
        .collect();
    start(&runtime(), name, |spec| {
        spec.capabilities = vec![Capability::HttpOutgoing { allow }];
        spec.limits.outbound_connections = connections;
    })
    .await
}

async fn fetch(guest: &Started, authority: &str) -> String {
    guest
        .invoke("fetch", &[&format!("{authority:?}")])
        .await
        .unwrap()
}

#[tokio::test]
async fn a_granted_host_is_reached() {
    let address = server().await;
    for name in GUESTS {
        let guest = guest(name, &[&address.to_string(), "localhost"], 8).await;
        assert_eq!(fetch(&guest, &address.to_string()).await, "204");
        assert_eq!(
            fetch(&guest, &format!("localhost:{}", address.port())).await,
            "204"
        );
        assert!(guest.seen.denials().is_empty());
    }
}

#[tokio::test]
async fn any_other_host_or_port_is_denied_and_reported() {
    let address = server().await;
    let port = if address.port() == 1 { 2 } else { 1 };
    for name in GUESTS {
        let guest = guest(name, &[&address.to_string()], 8).await;
        for authority in [
            format!("127.0.0.1:{port}"),
            format!("localhost:{}", address.port()),
            "[::1]".to_owned(),
        ] {
            assert_eq!(
                fetch(&guest, &authority).await,
                REQUEST_DENIED,
                "{name}: {authority}"
            );
        }
        let host = |host: &str, port| Denial::HttpHost {
            host: host.to_owned(),
            port,
        };
        let expected = [
            host("127.0.0.1", port),
            host("localhost", address.port()),
            host("[::1]", 80),
        ];
        assert_eq!(guest.seen.denials(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_a_typed_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for name in GUESTS {
        let guest = guest(name, &[&address], 8).await;
        assert_eq!(fetch(&guest, &address).await, CONNECTION_REFUSED, "{name}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let address = server().await.to_string();
    for name in GUESTS {
        let none = guest(name, &[&address], 0).await;
        assert_eq!(fetch(&none, &address).await, CONNECTION_LIMIT_REACHED);
        let one = guest(name, &[&address], 1).await;
        assert_eq!(fetch(&one, &address).await, "204");
        let second = one
            .invoke("fetch-second", &[&format!("{address:?}")])
            .await
            .unwrap();
        assert_eq!(second, CONNECTION_LIMIT_REACHED, "{name}");
        assert_eq!(
            one.seen.breaches(),
            [Breach::OutboundConnections { limit: 1 }]
        );
        let two = guest(name, &[&address], 2).await;
        let second = two
            .invoke("fetch-second", &[&format!("{address:?}")])
            .await
            .unwrap();
        assert_eq!(second, "204", "{name}");
    }
}
