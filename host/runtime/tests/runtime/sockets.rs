//! Sockets: outgoing, to what is granted, so many at once; everything else denied and reported.

use std::net::SocketAddr;

use hypermesh_runtime::{Breach, DENIALS_REPORTED_MAX, Denial, SocketUse};
use tokio::net::{TcpListener, UdpSocket};
use types::Capability;

use crate::harness::{Started, runtime, start};

/// 127.0.0.1 as the guest takes it.
const LOCALHOST: &str = "2130706433";
/// What the guest answers if all went well.
const DONE: &str = "1";
/// Minus the places in `wasi:sockets/network.error-code`.
const ACCESS_DENIED: &str = "-1";
const NEW_SOCKET_LIMIT: &str = "-10";
const CONNECTION_REFUSED: &str = "-14";

/// Takes every connection and keeps it.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

async fn guest(tcp: &[&str], udp: &[&str], connections: u16) -> Started {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let mut capabilities = Vec::new();
    if !tcp.is_empty() {
        let allow = patterns(tcp);
        capabilities.push(Capability::Tcp { allow });
    }
    if !udp.is_empty() {
        let allow = patterns(udp);
        capabilities.push(Capability::Udp { allow });
    }
    start(&runtime(), "sockets", |spec| {
        spec.capabilities = capabilities;
        spec.limits.outbound_connections = connections;
    })
    .await
}

async fn call(guest: &Started, export: &str, args: &[&str]) -> String {
    guest.invoke(export, args).await.unwrap()
}

#[tokio::test]
async fn without_the_right_a_guest_runs_but_has_no_socket() {
    let guest = guest(&[], &[], 8).await;
    assert_eq!(
        call(&guest, "connect", &[LOCALHOST, "1"]).await,
        ACCESS_DENIED
    );
    assert_eq!(call(&guest, "send", &[LOCALHOST, "1"]).await, ACCESS_DENIED);
    assert_eq!(
        call(&guest, "lookup", &["\"localhost\""]).await,
        ACCESS_DENIED
    );
    let lookup = SocketUse::Lookup("localhost".to_owned());
    let expected = [SocketUse::TcpOpen, SocketUse::UdpOpen, lookup].map(Denial::Socket);
    assert_eq!(guest.seen.denials(), expected);
}

#[tokio::test]
async fn a_granted_address_is_reached_and_no_other() {
    let address = server().await;
    let port = address.port().to_string();
    let guest = guest(&[&address.to_string()], &[], 8).await;
    assert_eq!(call(&guest, "connect", &[LOCALHOST, &port]).await, DONE);
    assert!(guest.seen.denials().is_empty());
    let other = if address.port() == 1 { "2" } else { "1" };
    assert_eq!(
        call(&guest, "connect", &[LOCALHOST, other]).await,
        ACCESS_DENIED
    );
    // 127.0.0.2 is this machine, too, and is not what was granted.
    assert_eq!(
        call(&guest, "connect", &["2130706434", &port]).await,
        ACCESS_DENIED
    );
    let denied = |text: String| Denial::Socket(SocketUse::TcpConnect(text.parse().unwrap()));
    let expected = [
        denied(format!("127.0.0.1:{other}")),
        denied(format!("127.0.0.2:{port}")),
    ];
    assert_eq!(guest.seen.denials(), expected);
}

#[tokio::test]
async fn a_granted_name_means_what_the_host_finds_for_it() {
    let address = server().await;
    let port = address.port().to_string();
    let granted = format!("localhost:{port}");
    let guest = guest(&[&granted], &[], 8).await;
    assert_eq!(call(&guest, "connect", &[LOCALHOST, &port]).await, DONE);
    assert_eq!(
        call(&guest, "connect", &["2130706434", &port]).await,
        ACCESS_DENIED
    );
    assert_eq!(call(&guest, "lookup", &["\"LOCALHOST\""]).await, LOCALHOST);
    assert_eq!(call(&guest, "reach", &["\"localhost\"", &port]).await, DONE);
}

#[tokio::test]
async fn a_name_that_no_pattern_covers_is_not_looked_up() {
    let guest = guest(&["db.example"], &["*.api.example"], 8).await;
    for name in ["localhost", "api.example", "secret.evil.example"] {
        let found = call(&guest, "lookup", &[&format!("{name:?}")]).await;
        assert_eq!(found, ACCESS_DENIED, "{name}");
    }
    let first = Denial::Socket(SocketUse::Lookup("localhost".to_owned()));
    assert_eq!(guest.seen.denials().first(), Some(&first));
}

#[tokio::test]
async fn nothing_is_listened_to_and_no_port_is_taken() {
    let guest = guest(&["127.0.0.1"], &[], 8).await;
    assert_eq!(call(&guest, "bind", &["0"]).await, DONE);
    assert_eq!(call(&guest, "bind", &["8080"]).await, ACCESS_DENIED);
    assert_eq!(call(&guest, "listen", &[]).await, ACCESS_DENIED);
    let denials = guest.seen.denials();
    let [
        Denial::Socket(SocketUse::TcpBind(bound)),
        Denial::Socket(SocketUse::TcpListen(_)),
    ] = denials.as_slice()
    else {
        panic!("{denials:?}")
    };
    assert_eq!(bound.port(), 8080);
}

#[tokio::test]
async fn a_flood_of_connections_ends_at_the_limit() {
    let address = server().await;
    let port = address.port().to_string();
    let guest = guest(&["127.0.0.1"], &["127.0.0.1"], 4).await;
    assert_eq!(call(&guest, "flood", &[LOCALHOST, &port, "50"]).await, "4");
    assert_eq!(
        guest.seen.breaches(),
        [Breach::OutboundConnections { limit: 4 }]
    );
    // A socket that is dropped gives its place back, within the instance and with it.
    assert_eq!(
        call(&guest, "in-turn", &[LOCALHOST, &port, "50"]).await,
        "50"
    );
    let none = self::guest(&["127.0.0.1"], &["127.0.0.1"], 0).await;
    assert_eq!(
        call(&none, "connect", &[LOCALHOST, &port]).await,
        NEW_SOCKET_LIMIT
    );
    assert_eq!(
        call(&none, "send", &[LOCALHOST, &port]).await,
        NEW_SOCKET_LIMIT
    );
}

#[tokio::test]
async fn a_port_that_nobody_listens_to_is_a_typed_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let guest = guest(&["127.0.0.1"], &[], 1).await;
    assert_eq!(
        call(&guest, "connect", &[LOCALHOST, &port]).await,
        CONNECTION_REFUSED
    );
    assert_eq!(call(&guest, "in-turn", &[LOCALHOST, &port, "3"]).await, "0");
    assert!(
        guest.seen.breaches().is_empty(),
        "failed sockets were given back"
    );
}

#[tokio::test]
async fn datagrams_go_to_granted_addresses_only() {
    let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = receiver.local_addr().unwrap();
    let port = address.port().to_string();
    let guest = guest(&[], &[&address.to_string()], 1).await;
    let other = if address.port() == 1 { "2" } else { "1" };
    for _ in 0..DENIALS_REPORTED_MAX {
        assert_eq!(
            call(&guest, "send", &[LOCALHOST, other]).await,
            ACCESS_DENIED
        );
    }
    assert_eq!(call(&guest, "send", &[LOCALHOST, &port]).await, DONE);
    let mut buffer = [0; 16];
    let (bytes, _) = receiver.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..bytes], b"ping");
    let denied = SocketUse::UdpSend(format!("127.0.0.1:{other}").parse().unwrap());
    assert_eq!(guest.seen.denials().last(), Some(&Denial::Socket(denied)));
    // The right to one protocol is none to the other.
    assert_eq!(
        call(&guest, "connect", &[LOCALHOST, &port]).await,
        ACCESS_DENIED
    );
}
