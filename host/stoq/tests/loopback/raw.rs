//! A client of bare quinn that says what it likes: what this crate's own client never sends.

use std::net::SocketAddr;
use std::sync::Arc;

use hypermesh_stoq::proto::{
    ControlFrame, CredentialsFrame, Hello, PREFIX_BYTES, StreamReply, encode,
};
use hypermesh_stoq::{
    CloseReason, Closer, Credentials, RefusalCode, Service, SessionEvent, StreamHeader, bounds,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::harness::{Node, World, id, until, within};

/// Believes everything.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A client that holds a certificate of the world's.
pub(crate) struct Raw {
    endpoint: quinn::Endpoint,
    pub(crate) config: quinn::ClientConfig,
    pub(crate) address: SocketAddr,
}

impl Raw {
    pub(crate) fn new(credentials: Credentials, node: &Node) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Credulous))
            .with_client_auth_cert(credentials.chain, credentials.key)
            .unwrap();
        tls.alpn_protocols = vec![b"stoq/1".to_vec()];
        tls.enable_early_data = true;
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        Self {
            endpoint: quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap(),
            config: quinn::ClientConfig::new(Arc::new(crypto)),
            address: node.address(),
        }
    }

    fn connecting(&self) -> quinn::Connecting {
        let config = self.config.clone();
        self.endpoint
            .connect_with(config, self.address, "b.stoq")
            .unwrap()
    }

    /// Connects and says `first` on the first stream.
    async fn say(&self, first: &[u8]) -> (Connection, SendStream, RecvStream) {
        let connection = within(self.connecting()).await.unwrap();
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(first).await.unwrap();
        (connection, send, recv)
    }
}

fn frame(frame: &ControlFrame) -> Vec<u8> {
    encode(frame, 1 << 20).unwrap()
}

fn hello(attempt: u64) -> Vec<u8> {
    frame(&ControlFrame::Hello(Hello::new(77, attempt)))
}

/// Why the other end closed.
async fn closed(connection: &Connection) -> String {
    match within(connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            String::from_utf8_lossy(&close.reason).into_owned()
        }
        other => panic!("{other}"),
    }
}

async fn reply(recv: &mut RecvStream) -> StreamReply {
    let bytes = within(recv.read_to_end(1_000)).await.unwrap();
    StreamReply::from_body(&bytes[PREFIX_BYTES..]).unwrap()
}

async fn refused(connection: &Connection, first: &[u8]) -> RefusalCode {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(first).await.unwrap();
    match reply(&mut recv).await {
        StreamReply::Refused(refusal) => refusal.code,
        StreamReply::Accepted => panic!("accepted"),
    }
}

#[tokio::test]
async fn whoever_breaks_the_protocol_is_told_and_left() {
    let world = Arc::new(World::default());
    let b = Node::start(&world, 2);
    let raw = Raw::new(world.issue(id(1)), &b);
    let mut future = Hello::new(1, 1);
    (future.protocol_min, future.protocol_max) = (7, 9);
    let credentials = ControlFrame::Credentials(CredentialsFrame {
        chain: vec![vec![1; 100]],
        scheme: 0x0807,
        signature: vec![0; 64],
    });
    let cases: [(&str, Vec<u8>, &str); 6] = [
        (
            "garbage",
            vec![5, 0, 0, 0, 0, 99, 1, 2, 3],
            "does not decode",
        ),
        ("a giant", vec![255; 8], "longer than"),
        ("version 1 of frames", vec![2, 0, 0, 0, 1, 0], "version 1"),
        (
            "another protocol",
            frame(&ControlFrame::Hello(future)),
            "7 to 9",
        ),
        ("no hello", frame(&credentials), "no hello"),
        ("two hellos", [hello(1), hello(2)].concat(), "one hello"),
    ];
    for (name, first, expected) in cases {
        let (connection, _send, _recv) = raw.say(&first).await;
        let reason = closed(&connection).await;
        assert!(reason.contains(expected), "{name}: {reason}");
    }
    // A proof that does not hold ends a session too.
    let (connection, mut send, _recv) = raw.say(&hello(3)).await;
    send.write_all(&frame(&credentials)).await.unwrap();
    let reason = closed(&connection).await;
    assert!(reason.contains("does not parse"), "{reason}");
    until("nothing is left", || b.endpoint.sessions().is_empty()).await;
}

#[tokio::test]
async fn a_refusal_in_place_of_a_hello_is_heard() {
    let world = Arc::new(World::default());
    let b = Node::start(&world, 2);
    let mut news = b.endpoint.events();
    let raw = Raw::new(world.issue(id(1)), &b);
    let text = "x".repeat(10_000);
    let refusal = ControlFrame::Refusal { code: 4, text };
    let (_connection, _send, _recv) = raw.say(&frame(&refusal)).await;
    let SessionEvent::Refused { reason, .. } = within(news.recv()).await.unwrap() else {
        panic!("no refusal");
    };
    let text = "x".repeat(bounds::REFUSAL_TEXT_BYTES_MAX);
    let by = Closer::Peer;
    assert_eq!(reason, CloseReason::Refused { by, code: 4, text });
}

#[tokio::test]
async fn bad_headers_are_refused_and_the_session_lives_on() {
    let world = Arc::new(World::default());
    let b = Node::start(&world, 2);
    let raw = Raw::new(world.issue(id(1)), &b);
    let (connection, _send, mut recv) = raw.say(&hello(1)).await;
    within(recv.read_exact(&mut [0; 8])).await.unwrap();
    let unknown = [6, 0, 0, 0, 0, 77, 1, 0, 0, 0];
    assert_eq!(
        refused(&connection, &unknown).await,
        RefusalCode::UnknownService
    );
    let giant = [255; 10];
    assert_eq!(refused(&connection, &giant).await, RefusalCode::BadHeader);
    let tiny = [1, 0, 0, 0, 0, 1, 1, 0, 0, 0];
    assert_eq!(refused(&connection, &tiny).await, RefusalCode::BadHeader);
    let garbage = [6, 0, 0, 0, 0, 4, 200, 200, 200, 200];
    assert_eq!(refused(&connection, &garbage).await, RefusalCode::BadHeader);
    assert_eq!(b.endpoint.sessions().len(), 1);
}

#[tokio::test]
async fn an_early_request_that_is_not_idempotent_is_refused() {
    let world = Arc::new(World::default());
    let mut b = Node::start(&world, 2);
    let raw = Raw::new(world.issue(id(1)), &b);
    let (connection, _send, mut recv) = raw.say(&hello(1)).await;
    // Tickets come with the server's first bytes.
    within(recv.read_exact(&mut [0; 8])).await.unwrap();
    connection.close(0_u32.into(), b"");
    until("it is over", || b.endpoint.sessions().is_empty()).await;

    let Ok((connection, accepted)) = raw.connecting().into_0rtt() else {
        panic!("no ticket");
    };
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(&hello(2)).await.unwrap();
    let header = |idempotent| StreamHeader {
        service: Service::Control,
        version: 1,
        deadline: None,
        trace: None,
        idempotent,
    };
    let (mut send, mut once) = connection.open_bi().await.unwrap();
    send.write_all(&header(false).to_frame().unwrap())
        .await
        .unwrap();
    let (mut send, _often) = connection.open_bi().await.unwrap();
    send.write_all(&header(true).to_frame().unwrap())
        .await
        .unwrap();
    assert!(within(accepted).await, "the server takes early data");
    let StreamReply::Refused(refusal) = reply(&mut once).await else {
        panic!("accepted");
    };
    assert_eq!(refusal.code, RefusalCode::Replayable);
    let stream = within(b.control.recv()).await.unwrap();
    assert!(stream.header.idempotent && stream.recv.is_early());
}
