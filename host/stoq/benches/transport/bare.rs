//! Bare quinn with STOQ's settings and none of its frames: one byte says what a stream is for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hypermesh_stoq::{Credentials, bounds};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use tokio::task::JoinSet;

use crate::measure::{gbits, runtime, serving};
use crate::stoq::CHUNK_BYTES;
use crate::world::credentials;

pub(crate) struct Ends {
    runtime: tokio::runtime::Runtime,
    connection: Connection,
    _endpoint: quinn::Endpoint,
}

impl Ends {
    pub(crate) fn start() -> Self {
        let shown = credentials();
        let trusted = shown.chain[0].clone();
        let address = serving(|sender| async move {
            let endpoint = endpoint(Some(server_config(shown)));
            sender.send(endpoint.local_addr().unwrap()).unwrap();
            while let Some(incoming) = endpoint.accept().await {
                let connection = incoming.accept().unwrap().await.unwrap();
                tokio::spawn(serve(connection));
            }
        });
        let runtime = runtime();
        let (endpoint, connection) = runtime.block_on(connect(address, trusted));
        Self {
            runtime,
            connection,
            _endpoint: endpoint,
        }
    }

    pub(crate) fn bulk(&mut self, bytes: u64, streams: u64) -> f64 {
        let connection = self.connection.clone();
        let started = Instant::now();
        self.runtime.block_on(async {
            let mut all = JoinSet::new();
            for _ in 0..streams {
                all.spawn(send_bulk(connection.clone(), bytes / streams));
            }
            while let Some(sent) = all.join_next().await {
                sent.unwrap();
            }
        });
        gbits(bytes, started.elapsed())
    }

    pub(crate) fn ask(&mut self, requests: usize) -> Vec<Duration> {
        let connection = self.connection.clone();
        self.runtime.block_on(async {
            let mut times = Vec::with_capacity(requests);
            for _ in 0..requests {
                let started = Instant::now();
                let (mut send, mut recv) = connection.open_bi().await.unwrap();
                send.write_all(&[1; 65]).await.unwrap();
                send.finish().unwrap();
                recv.read_exact(&mut [0; 64]).await.unwrap();
                times.push(started.elapsed());
            }
            times
        })
    }
}

fn transport() -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(bounds::PACKET_BYTES_MAX);
    let mut config = TransportConfig::default();
    config
        .initial_mtu(bounds::PACKET_BYTES_FIRST)
        .mtu_discovery_config(Some(mtu))
        .max_concurrent_bidi_streams(VarInt::from_u32(bounds::STREAMS_PER_PEER_MAX))
        .stream_receive_window(VarInt::from_u32(bounds::STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(bounds::SESSION_WINDOW_BYTES))
        .send_window(bounds::SEND_WINDOW_BYTES);
    Arc::new(config)
}

fn endpoint(server: Option<quinn::ServerConfig>) -> quinn::Endpoint {
    let mut config = EndpointConfig::default();
    config
        .max_udp_payload_size(bounds::PACKET_BYTES_MAX)
        .unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = std::net::UdpSocket::bind(any).unwrap();
    let options = socket2::SockRef::from(&socket);
    options
        .set_send_buffer_size(bounds::SOCKET_BUFFER_BYTES)
        .unwrap();
    options
        .set_recv_buffer_size(bounds::SOCKET_BUFFER_BYTES)
        .unwrap();
    quinn::Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime)).unwrap()
}

pub(crate) fn server_tls(shown: Credentials) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(shown.chain, shown.key)
        .unwrap()
}

pub(crate) fn client_tls(trusted: hypermesh_stoq::CertificateDer<'static>) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted).unwrap();
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn server_config(shown: Credentials) -> quinn::ServerConfig {
    let crypto = QuicServerConfig::try_from(server_tls(shown)).unwrap();
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport());
    config
}

async fn connect(
    address: SocketAddr,
    trusted: hypermesh_stoq::CertificateDer<'static>,
) -> (quinn::Endpoint, Connection) {
    let endpoint = endpoint(None);
    let crypto = QuicClientConfig::try_from(client_tls(trusted)).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport());
    let connecting = endpoint.connect_with(config, address, "node.stoq").unwrap();
    let connection = connecting.await.unwrap();
    (endpoint, connection)
}

async fn serve(connection: Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            let mut kind = [0];
            if recv.read_exact(&mut kind).await.is_err() {
                return;
            }
            if kind[0] == 1 {
                let mut question = [0; 64];
                if recv.read_exact(&mut question).await.is_ok() {
                    let _ = send.write_all(&question).await;
                    let _ = send.finish();
                }
                return;
            }
            let mut counted = 0_u64;
            while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.unwrap() {
                counted += chunk.bytes.len() as u64;
            }
            send.write_all(&counted.to_le_bytes()).await.unwrap();
            send.finish().unwrap();
        });
    }
}

async fn send_bulk(connection: Connection, bytes: u64) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&[0]).await.unwrap();
    let chunk = Bytes::from(vec![7; CHUNK_BYTES]);
    let mut left = usize::try_from(bytes).unwrap();
    while left > 0 {
        let now = left.min(CHUNK_BYTES);
        send.write_chunk(chunk.slice(..now)).await.unwrap();
        left -= now;
    }
    send.finish().unwrap();
    let mut counted = [0; 8];
    recv.read_exact(&mut counted).await.unwrap();
    assert_eq!(u64::from_le_bytes(counted), bytes);
}
