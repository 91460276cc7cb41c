//! `cargo bench -p hypermesh-benches --bench http`: requests per second of a hello service on a
//! whole node, beside a bare wasmtime-wasi-http server of the same component and engine settings:
//! both with a fresh instance per request, both with kept ones, and a node with WASI 0.3.
//!
//! Each server is a process of its own; the load comes from this one, over loopback, with the same
//! client for both. Rounds alternate, and the median round counts.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod http {
    pub(crate) mod bare;
    pub(crate) mod bare_host;
    pub(crate) mod load;
    pub(crate) mod whole;
}

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::load::{Round, run};
use hypermesh_benches::{ms, table};

const CONNECTIONS: [usize; 3] = [1, 32, 256];
const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_secs(3);

/// Every server and what it is compared with.
const SERVERS: [(&str, &str); 5] = [
    ("bare", "bare"),
    ("node", "bare"),
    ("bare-kept", "bare-kept"),
    ("node-kept", "bare-kept"),
    ("node-0.3", "bare"),
];

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match std::env::args().nth(1).as_deref() {
        Some("bare") => runtime.block_on(http::bare::serve(false)),
        Some("bare-kept") => runtime.block_on(http::bare::serve(true)),
        Some("node") => runtime.block_on(http::whole::serve(NonZeroU32::MIN)),
        Some("node-kept") => runtime.block_on(http::whole::serve(NonZeroU32::MAX)),
        Some("node-0.3") => runtime.block_on(http::whole::serve_0_3()),
        _ => runtime.block_on(compare()),
    }
}

/// A server process; killed when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { process, address })
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
    let servers = SERVERS.map(|(name, baseline)| Ok((name, baseline, Server::start(name)?)));
    let servers = servers.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        let mut rounds: BTreeMap<&str, Vec<Round>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for (name, _, server) in &servers {
                let round = run(server.address, connections, ROUND_TIME).await?;
                rounds.entry(name).or_default().push(round);
            }
        }
        let medians: BTreeMap<_, _> = rounds
            .into_iter()
            .map(|(name, rounds)| (name, median(rounds)))
            .collect();
        for (name, baseline, _) in &servers {
            let (round, bare) = (&medians[name], &medians[baseline]);
            rows.push(vec![
                format!("http::hello/connections={connections}/server={name}"),
                format!("{:.0}", round.per_second),
                ms(round.p50),
                ms(round.p99),
                format!("{:.2}", round.per_second / bare.per_second),
            ]);
        }
    }
    println!(
        "{}",
        table(
            &["bench", "requests/s", "p50 ms", "p99 ms", "of bare"],
            &rows
        )
    );
    Ok(())
}

fn median(mut rounds: Vec<Round>) -> Round {
    rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    rounds.swap_remove(rounds.len() / 2)
}
