//! The load: N connections, each with one request after the other, for a while.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Failure;
use hypermesh_benches::percentile;

/// Part of a round that is not counted: connections open, caches warm.
const WARM_UP: Duration = Duration::from_millis(300);

/// What is asked, and so what must come back.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// `hello, world`.
    Hello,
    /// What is sent.
    Echo(Bytes),
}

/// What one round gave.
pub(crate) struct Round {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// All requests, also those of the warm-up.
    pub(crate) requests: usize,
}

/// Runs one round. Any answer that is not the right one fails it.
pub(crate) async fn run(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    ask: &Ask,
) -> Result<Round, Failure> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + time;
    let clients: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(client(address, begin, end, ask.clone())))
        .collect();
    let (mut samples, mut requests) = (Vec::new(), 0);
    for client in clients {
        let (counted, warm_up) = client.await??;
        requests += counted.len() + warm_up;
        samples.extend(counted);
    }
    let per_second = samples.len() as f64 / time.as_secs_f64();
    let (p50, p99) = (percentile(&mut samples, 500), percentile(&mut samples, 990));
    Ok(Round {
        per_second,
        p50,
        p99,
        requests,
    })
}

/// The times of the requests that count, and how many did not.
async fn client(
    address: SocketAddr,
    begin: Instant,
    end: Instant,
    ask: Ask,
) -> Result<(Vec<Duration>, usize), Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (mut samples, mut warm_up) = (Vec::new(), 0);
    loop {
        let asked = Instant::now();
        if asked >= end {
            return Ok((samples, warm_up));
        }
        sender.ready().await?;
        let request = ::http::Request::builder()
            .uri("/")
            .header("host", "bench.example");
        let request = match &ask {
            Ask::Hello => request.body(Full::default())?,
            Ask::Echo(body) => request.method("POST").body(Full::new(body.clone()))?,
        };
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let wanted = match &ask {
            Ask::Hello => b"hello, world\n",
            Ask::Echo(body) => body.as_ref(),
        };
        if status != 200 || !is(answer.into_body(), wanted).await? {
            return Err(format!("unexpected answer with status {status}").into());
        }
        if asked >= begin {
            samples.push(asked.elapsed());
        } else {
            warm_up += 1;
        }
    }
}

/// Whether `body` is `wanted`, byte for byte.
async fn is(mut body: Incoming, mut wanted: &[u8]) -> Result<bool, Failure> {
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(rest) = wanted.strip_prefix(frame.data_ref().map_or(&[][..], |data| data)) else {
            return Ok(false);
        };
        wanted = rest;
    }
    Ok(wanted.is_empty())
}
