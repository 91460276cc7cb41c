//! `cargo bench -p hypermesh-benches --bench node`: a node's start, one transaction to finality, and
//! a deployment to its first answer, beside what the disk alone takes in the same run.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use hypermesh_benches::{Fabric, Failure, hello_component, hello_spec, ms, percentile, table};
use ledger::Operation;
use tokio::net::TcpStream;
use types::Name;

const STARTS: usize = 15;
const TRANSACTIONS: usize = 200;
const DEPLOYMENTS: usize = 60;
/// Pause after a start, for what the start itself still writes.
const IDLE_SETTLES_AFTER: Duration = Duration::from_secs(5);
const IDLE_TIME: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut flushes = flushes()?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let fabric = Fabric::start().await?;
        starts.push(begun.elapsed());
        drop(fabric);
    }
    let fabric = Fabric::start().await?;
    let idle = idle().await?;
    let mut transactions = transactions(&fabric).await?;
    let mut deployments = deployments(&fabric).await?;
    let rows: Vec<_> = [
        ("node::disk_flush/bytes=512 (baseline)", &mut flushes),
        ("node::start/fabric=fresh", &mut starts),
        ("node::transaction/operations=1", &mut transactions),
        (
            "node::deploy_to_first_answer/component=cached",
            &mut deployments,
        ),
    ]
    .into_iter()
    .map(|(name, samples)| {
        let (p50, p99) = (percentile(samples, 500), percentile(samples, 990));
        vec![name.to_owned(), samples.len().to_string(), ms(p50), ms(p99)]
    })
    .collect();
    println!(
        "{}",
        table(&["bench", "samples", "p50 ms", "p99 ms"], &rows)
    );
    println!("{idle}");
    Ok(())
}

/// What a node that has nothing to do uses: cpu time and bytes written of this whole process.
async fn idle() -> Result<String, Failure> {
    tokio::time::sleep(IDLE_SETTLES_AFTER).await;
    let before = usage()?;
    tokio::time::sleep(IDLE_TIME).await;
    let after = usage()?;
    let seconds = IDLE_TIME.as_secs_f64();
    let percent = (after.0 - before.0) / seconds * 100.0;
    let written = (after.1 - before.1) * 60.0 / seconds;
    let head = ["bench", "% of a core", "bytes a minute"];
    let row = vec![
        format!("node::idle/seconds={seconds}"),
        format!("{percent:.2}"),
        format!("{written:.0}"),
    ];
    Ok(table(&head, &[row]))
}

/// Cpu seconds and bytes written of this process so far (proc(5)).
fn usage() -> Result<(f64, f64), Failure> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // User and system time are fields 14 and 15; this text begins with field 3.
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
    let io = std::fs::read_to_string("/proc/self/io")?;
    let written = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    let written: f64 = written.ok_or("/proc/self/io has no write_bytes")?.parse()?;
    Ok((ticks / TICKS_PER_SECOND, written))
}

/// One small append and `fdatasync` after the other, where nodes keep their data.
fn flushes() -> Result<Vec<Duration>, Failure> {
    let mut file = tempfile::tempfile()?;
    let mut samples = Vec::new();
    for _ in 0..TRANSACTIONS {
        let begun = Instant::now();
        file.write_all(&[0; 512])?;
        file.sync_data()?;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

/// A transaction that the rules refuse is final like any other and changes only a nonce.
async fn transactions(fabric: &Fabric) -> Result<Vec<Duration>, Failure> {
    let workload = Name::new("nobody")?;
    let mut samples = Vec::new();
    for _ in 0..TRANSACTIONS {
        let begun = Instant::now();
        let refused = fabric
            .submit(Operation::Start {
                workload: workload.clone(),
            })
            .await;
        samples.push(begun.elapsed());
        if refused.is_ok() {
            return Err("a deployment that is not there was started".into());
        }
    }
    Ok(samples)
}

/// From the client's first question to the first byte of the service's answer. The first deployment
/// compiles the component and is not counted.
async fn deployments(fabric: &Fabric) -> Result<Vec<Duration>, Failure> {
    let mut samples = Vec::new();
    for number in 0..=DEPLOYMENTS {
        let (name, path) = (format!("hello-{number}"), format!("/{number}"));
        let spec = hello_spec(&name, &path);
        let begun = Instant::now();
        fabric.deploy(spec, hello_component()).await?;
        get(fabric.address(), &path).await?;
        samples.push(begun.elapsed());
    }
    samples.remove(0);
    Ok(samples)
}

async fn get(address: SocketAddr, path: &str) -> Result<(), Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = http::Request::builder()
        .uri(path)
        .header("host", "bench.example");
    let answer = sender
        .send_request(request.body(Empty::<Bytes>::new())?)
        .await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if status == 200 && body == "hello, world\n" {
        Ok(())
    } else {
        Err(format!("unexpected answer: {status} {body:?}").into())
    }
}
