//! `cargo bench -p hypermesh-benches --bench streams [BYTES]`: throughput and peak memory of a body
//! that goes through a guest and back, beside the same bytes through a bare hyper server.
//!
//! 1 GB unless `BYTES` says otherwise. Each server is a process of its own, for one round; the
//! client is this one, over loopback, and rounds alternate.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hypermesh_benches::{echo_component, table};
use runtime::{
    Breach, CallRecord, Denial, LogStream, Observer, Replica, ReplicaConfig, ReplicaId, Runtime,
    RuntimeConfig, Services,
};
use tokio::net::{TcpListener, TcpStream};
use types::{ComponentKind, ComponentSpec, Digest, Millis, Name};

const BYTES: u64 = 1_000_000_000;
const ROUNDS: usize = 3;
const PIECE: &[u8] = &[7; 64 << 10];
/// Far more than a round takes.
const WALL_TIME: Millis = Millis::seconds(3_600);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("bare") => runtime.block_on(serve(None)),
        Some("guest") => runtime.block_on(async { serve(Some(replica().await?)).await }),
        first => {
            // Cargo puts `--bench` among the arguments.
            let asked = first.and_then(|text| text.parse().ok());
            let bytes = asked.or_else(|| arguments.find_map(|text| text.parse().ok()));
            runtime.block_on(compare(bytes.unwrap_or(BYTES)))
        }
    }
}

async fn compare(bytes: u64) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut medians = Vec::new();
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (server, rounds) in ["bare", "guest"].into_iter().zip(&mut rounds) {
            let server = Server::start(server)?;
            let before = server.peak_kib()?;
            let time = pass(server.address, bytes).await?;
            rounds.push((time, server.peak_kib()?, before));
        }
    }
    for (server, mut rounds) in ["bare", "guest"].into_iter().zip(rounds) {
        rounds.sort_unstable();
        let (time, peak, before) = rounds.swap_remove(ROUNDS / 2);
        medians.push(time);
        let bare = medians.first().copied().unwrap_or(time);
        rows.push(vec![
            format!("streams::echo/bytes={bytes}/server={server}"),
            format!("{:.0}", bytes as f64 / 1e6 / time.as_secs_f64()),
            format!("{:.2}", bare.as_secs_f64() / time.as_secs_f64()),
            (before / 1024).to_string(),
            (peak / 1024).to_string(),
        ]);
    }
    let head = ["bench", "MB/s", "of bare", "MiB before", "MiB at most"];
    println!("{}", table(&head, &rows));
    Ok(())
}

/// Sends `bytes` and reads them back at the same time.
async fn pass(address: SocketAddr, bytes: u64) -> Result<Duration, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post("/")
        .header("host", "bench.example")
        .body(Pieces { left: bytes })?;
    let begun = Instant::now();
    let mut body = sender.send_request(request).await?.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    if received != bytes {
        return Err(format!("{received} of {bytes} bytes came back").into());
    }
    Ok(begun.elapsed())
}

/// So many bytes, none of them in memory twice.
struct Pieces {
    left: u64,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = usize::try_from(self.left).map_or(PIECE.len(), |left| left.min(PIECE.len()));
        self.left -= size as u64;
        let frame = PIECE.get(..size).filter(|piece| !piece.is_empty());
        std::task::Poll::Ready(frame.map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
    }
}

/// A server process; killed when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(kind)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { process, address })
    }

    /// The most memory that it ever had resident.
    fn peak_kib(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or("no VmHWM")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves on a free port, which it prints, until it is killed.
async fn serve(guest: Option<Replica>) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        let io = TokioIo::new(stream);
        let builder = hyper::server::conn::http1::Builder::new();
        // A client that goes away ends its own connection only.
        if let Some(replica) = guest.clone() {
            let service = service_fn(move |request: Request<Incoming>| {
                let replica = replica.clone();
                async move { replica.handle(request).await }
            });
            tokio::spawn(builder.serve_connection(io, service));
        } else {
            let echo = |request: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(request.into_body()))
            };
            tokio::spawn(builder.serve_connection(io, service_fn(echo)));
        }
    }
}

struct Silent;

impl Observer for Silent {
    fn log(&self, _: LogStream, _: &[u8]) {}
    fn breach(&self, _: Breach) {}
    fn denied(&self, _: Denial) {}
    fn call(&self, _: CallRecord) {}
}

async fn replica() -> Result<Replica, Failure> {
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let bytes = echo_component();
    let artifact = Digest::of(&bytes);
    let name = Name::new("echo")?;
    let mut spec = ComponentSpec::new(name.clone(), ComponentKind::Http, artifact);
    spec.limits.wall_time = WALL_TIME;
    let profile = runtime.profile(&bytes, &spec)?;
    let compiled = runtime.compile(artifact, bytes, profile).await?;
    let config = ReplicaConfig {
        id: ReplicaId {
            workload: name.clone(),
            component: name,
            index: 0,
        },
        spec,
        compiled,
        preopens: Vec::new(),
        services: Services::default(),
        observer: Arc::new(Silent),
    };
    Ok(runtime.replica(config).await?)
}
