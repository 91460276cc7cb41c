//! The load: requests that are due at fixed times, spread over some connections.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::Failure;
use hypermesh_benches::percentile;

const CONNECTIONS: u32 = 8;
/// Between two requests of one connection; all together 400 requests per second, a load that
/// leaves most of a core idle.
const PERIOD: Duration = Duration::from_millis(20);

/// What one round gave.
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Runs one round.
pub(crate) async fn run(address: SocketAddr, time: Duration) -> Result<Latency, Failure> {
    let begin = Instant::now() + Duration::from_millis(100);
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|index| tokio::spawn(client(address, begin + PERIOD * index / CONNECTIONS, time)))
        .collect();
    let mut samples = Vec::new();
    for client in clients {
        samples.extend(client.await??);
    }
    let (p50, p99) = (percentile(&mut samples, 500), percentile(&mut samples, 990));
    Ok(Latency { p50, p99 })
}

async fn client(
    address: SocketAddr,
    begin: Instant,
    time: Duration,
) -> Result<Vec<Duration>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut samples = Vec::new();
    let mut due = begin;
    while due < begin + time {
        // What the timer is late is the client's own; what the last answer was late is not.
        let asked = if Instant::now() <= due {
            sleep_until(due).await;
            Instant::now()
        } else {
            due
        };
        let request = ::http::Request::builder()
            .uri("/")
            .header("host", "bench.example");
        sender.ready().await?;
        let answer = sender
            .send_request(request.body(Empty::<Bytes>::new())?)
            .await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != 200 || body != "hello, world\n" {
            return Err(format!("unexpected answer: {status} {body:?}").into());
        }
        samples.push(asked.elapsed());
        due += PERIOD;
    }
    Ok(samples)
}
