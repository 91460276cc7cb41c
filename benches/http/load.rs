//! The load: N connections, each with one request after the other, for a while.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Failure;
use hypermesh_benches::percentile;

/// Part of a round that is not counted: connections open, caches warm.
const WARM_UP: Duration = Duration::from_millis(300);

/// What one round gave.
pub(crate) struct Round {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Runs one round. Any answer that is not `hello, world` fails it.
pub(crate) async fn run(
    address: SocketAddr,
    connections: usize,
    time: Duration,
) -> Result<Round, Failure> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + time;
    let clients: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(client(address, begin, end)))
        .collect();
    let mut samples = Vec::new();
    for client in clients {
        samples.extend(client.await??);
    }
    let per_second = samples.len() as f64 / time.as_secs_f64();
    let (p50, p99) = (percentile(&mut samples, 500), percentile(&mut samples, 990));
    Ok(Round {
        per_second,
        p50,
        p99,
    })
}

async fn client(
    address: SocketAddr,
    begin: Instant,
    end: Instant,
) -> Result<Vec<Duration>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut samples = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= end {
            return Ok(samples);
        }
        sender.ready().await?;
        let request = ::http::Request::builder()
            .uri("/")
            .header("host", "bench.example");
        let answer = sender
            .send_request(request.body(Empty::<Bytes>::new())?)
            .await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != 200 || body != "hello, world\n" {
            return Err(format!("unexpected answer: {status} {body:?}").into());
        }
        if asked >= begin {
            samples.push(asked.elapsed());
        }
    }
}
