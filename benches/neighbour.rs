//! `cargo bench -p hypermesh-benches --bench neighbour`: how far a hot loop, a memory bomb and a
//! log flood on the same node move the latency of a hello service, beside the same service alone.
//!
//! Requests are due at fixed times and their latency counts from then, so that a stall is seen by
//! every request that it delays. Rounds with and without a bad neighbour alternate in one process;
//! the median round counts.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod neighbour {
    pub(crate) mod load;
    pub(crate) mod offenders;
}

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use hypermesh_benches::{ms, table};
use neighbour::load::{Latency, run};
use neighbour::offenders::{OFFENDERS, serve};

const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_secs(3);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match std::env::args().nth(1).as_deref() {
        Some("serve") => runtime.block_on(serve()),
        _ => runtime.block_on(compare()),
    }
}

/// The server process; killed when dropped.
struct Server {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start() -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = process.stdin.take().ok_or("the server has no input")?;
        let output = process.stdout.take().ok_or("the server has no output")?;
        let mut answers = BufReader::new(output);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self {
            process,
            requests,
            answers,
            address,
        })
    }

    fn ask(&mut self, request: &str) -> Result<(), Failure> {
        writeln!(self.requests, "{request}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim() {
            "done" => Ok(()),
            other => Err(format!("{request}: the server answered {other:?}").into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn compare() -> Result<(), Failure> {
    let mut server = Server::start()?;
    let mut rows = Vec::new();
    for (name, _) in OFFENDERS {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(run(server.address, ROUND_TIME).await?);
            server.ask(&format!("start {name}"))?;
            beside.push(run(server.address, ROUND_TIME).await?);
            server.ask(&format!("stop {name}"))?;
        }
        let (alone, beside) = (median(alone), median(beside));
        for (with, latency) in [("nobody", &alone), (name, &beside)] {
            rows.push(vec![
                format!("neighbour::hello/beside={with}"),
                ms(latency.p50),
                ms(latency.p99),
                format!("{:.2}", latency.p99.as_secs_f64() / alone.p99.as_secs_f64()),
            ]);
        }
    }
    println!(
        "{}",
        table(&["bench", "p50 ms", "p99 ms", "p99 of alone"], &rows)
    );
    Ok(())
}

fn median(mut rounds: Vec<Latency>) -> Latency {
    rounds.sort_by_key(|round| round.p99);
    rounds.swap_remove(rounds.len() / 2)
}
