//! TLS over TCP, as most systems do it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::bare::{client_tls, server_tls};
use crate::measure::{gbits, runtime, serving};
use crate::stoq::CHUNK_BYTES;
use crate::world::credentials;

pub(crate) struct Ends {
    runtime: tokio::runtime::Runtime,
    stream: TlsStream<TcpStream>,
}

impl Ends {
    pub(crate) fn start() -> Self {
        let shown = credentials();
        let trusted = shown.chain[0].clone();
        let address = serving(|sender| async move {
            let acceptor = TlsAcceptor::from(Arc::new(server_tls(shown)));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            serve(acceptor.accept(stream).await.unwrap()).await;
        });
        let runtime = runtime();
        let stream = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connector = TlsConnector::from(Arc::new(client_tls(trusted)));
            let name = ServerName::try_from("node.stoq").unwrap();
            connector.connect(name, stream).await.unwrap()
        });
        Self { runtime, stream }
    }

    pub(crate) fn bulk(&mut self, bytes: u64) -> f64 {
        let stream = &mut self.stream;
        let started = Instant::now();
        self.runtime.block_on(async {
            let chunk = vec![7; CHUNK_BYTES];
            stream.write_all(&bytes.to_le_bytes()).await.unwrap();
            let mut left = usize::try_from(bytes).unwrap();
            while left > 0 {
                let now = left.min(CHUNK_BYTES);
                stream.write_all(&chunk[..now]).await.unwrap();
                left -= now;
            }
            stream.flush().await.unwrap();
            stream.read_exact(&mut [0; 8]).await.unwrap();
        });
        gbits(bytes, started.elapsed())
    }

    pub(crate) fn ask(&mut self, requests: usize) -> Vec<Duration> {
        let stream = &mut self.stream;
        self.runtime.block_on(async {
            let mut times = Vec::with_capacity(requests);
            for _ in 0..requests {
                let started = Instant::now();
                // A bulk of no bytes, padded to 64.
                stream.write_all(&[0; 64]).await.unwrap();
                stream.flush().await.unwrap();
                stream.read_exact(&mut [0; 64]).await.unwrap();
                times.push(started.elapsed());
            }
            times
        })
    }
}

/// Each turn begins with a length; none means a question of 64 bytes.
async fn serve(mut stream: tokio_rustls::server::TlsStream<TcpStream>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut length = [0; 8];
    while stream.read_exact(&mut length).await.is_ok() {
        let mut left = usize::try_from(u64::from_le_bytes(length)).unwrap();
        if left == 0 {
            stream.read_exact(&mut buffer[..56]).await.unwrap();
            stream.write_all(&buffer[..64]).await.unwrap();
        } else {
            while left > 0 {
                let now = left.min(CHUNK_BYTES);
                left -= stream.read(&mut buffer[..now]).await.unwrap();
            }
            stream.write_all(&length).await.unwrap();
        }
        stream.flush().await.unwrap();
    }
}
