//! `cargo bench -p hypermesh-benches --bench http`: requests per second of a hello service, and of
//! one that echoes 1 MB, on a whole node. Beside it a bare wasmtime-wasi-http server of the same
//! component and engine settings, and `wasmtime serve` of the same release where there is one.
//!
//! Each server is a process of its own; the load comes from this one, over loopback, with the same
//! client for all. Rounds alternate, and the best round of each counts: what else a machine does can
//! only make one slower. Cpu is the server's own, per
//! request: it says what a request costs on a machine that has other things to do, too.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod http {
    pub(crate) mod bare;
    pub(crate) mod bare_host;
    pub(crate) mod load;
    pub(crate) mod server;
    pub(crate) mod whole;
}

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http::load::{Ask, Round, run};
use http::server::{Guest, Server, Wasmtime, tell};
use hypermesh_benches::{ms, table};

const CONNECTIONS: [usize; 3] = [1, 32, 256];
const ECHO_CONNECTIONS: [usize; 2] = [1, 32];
const ECHO_BYTES: usize = 1_000_000;
const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_secs(1);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let guest = Guest::parse(std::env::args().nth(2).as_deref());
    match std::env::args().nth(1).as_deref() {
        Some("bare") => runtime.block_on(http::bare::serve(guest, false)),
        Some("bare-kept") => runtime.block_on(http::bare::serve(guest, true)),
        Some("node") => runtime.block_on(http::whole::serve(guest, NonZeroU32::MIN)),
        Some("node-kept") => runtime.block_on(http::whole::serve(guest, NonZeroU32::MAX)),
        _ => runtime.block_on(compare()),
    }
}

/// A server and the two that it is compared with: a bare one and `wasmtime serve`, by name.
struct Contestant {
    name: &'static str,
    bare: &'static str,
    serve: &'static str,
    server: Server,
    rounds: Vec<Measured>,
}

/// A round, and what it cost the server.
struct Measured {
    round: Round,
    cpu_us_per_request: f64,
}

impl Contestant {
    fn ours(
        (name, kind): (&'static str, &str),
        guest: Guest,
        (bare, serve): (&'static str, &'static str),
    ) -> Result<Self, Failure> {
        let server = Server::start(kind, guest)?;
        Ok(Self::new(name, (bare, serve), server))
    }

    const fn new(
        name: &'static str,
        (bare, serve): (&'static str, &'static str),
        server: Server,
    ) -> Self {
        Self {
            name,
            bare,
            serve,
            server,
            rounds: Vec::new(),
        }
    }

    async fn measure(&mut self, connections: usize, ask: &Ask) -> Result<(), Failure> {
        let before = self.server.cpu()?;
        let round = run(self.server.address, connections, ROUND_TIME, ask).await?;
        let cpu = self.server.cpu()?.saturating_sub(before);
        let cpu_us_per_request = cpu.as_secs_f64() * 1e6 / round.requests as f64;
        self.rounds.push(Measured {
            round,
            cpu_us_per_request,
        });
        Ok(())
    }

    fn best(&self) -> Option<&Round> {
        let rounds = self.rounds.iter().map(|measured| &measured.round);
        rounds.max_by(|a, b| a.per_second.total_cmp(&b.per_second))
    }

    fn least_cpu_us(&self) -> f64 {
        let rounds = self.rounds.iter();
        let cpu = rounds.map(|measured| measured.cpu_us_per_request);
        cpu.fold(f64::INFINITY, f64::min)
    }
}

async fn compare() -> Result<(), Failure> {
    let wasmtime = Wasmtime::find()
        .inspect_err(|reason| tell(&format!("`wasmtime serve`: skipped: {reason}")))
        .ok();
    let mut rows = Vec::new();
    let mut hello = hello_servers(wasmtime.as_ref())?;
    for connections in CONNECTIONS {
        rows.extend(rounds("hello", &mut hello, connections, &Ask::Hello).await?);
    }
    drop(hello);
    let mut echo = echo_servers(wasmtime.as_ref())?;
    let body = Ask::Echo(Bytes::from(vec![b'x'; ECHO_BYTES]));
    for connections in ECHO_CONNECTIONS {
        rows.extend(rounds("echo-1MB", &mut echo, connections, &body).await?);
    }
    let head = [
        "bench",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "server cpu us",
        "of bare",
        "of serve",
    ];
    println!("{}", table(&head, &rows));
    Ok(())
}

fn hello_servers(wasmtime: Option<&Wasmtime>) -> Result<Vec<Contestant>, Failure> {
    let (fresh, kept) = (("bare", "serve"), ("bare-kept", "serve-kept"));
    let mut servers = vec![
        Contestant::ours(("bare", "bare"), Guest::Hello, fresh)?,
        Contestant::ours(("node", "node"), Guest::Hello, fresh)?,
        Contestant::ours(("bare-kept", "bare-kept"), Guest::Hello, kept)?,
        Contestant::ours(("node-kept", "node-kept"), Guest::Hello, kept)?,
        Contestant::ours(("node-0.3", "node"), Guest::Hello03, ("bare", "serve-0.3"))?,
    ];
    if let Some(wasmtime) = wasmtime {
        let serve = |name, with, guest, keep, resident| {
            let server = wasmtime.serve(guest, keep, resident)?;
            Ok::<_, Failure>(Contestant::new(name, with, server))
        };
        servers.push(serve("serve", fresh, Guest::Hello, false, false)?);
        servers.push(serve("serve-resident", fresh, Guest::Hello, false, true)?);
        servers.push(serve("serve-kept", kept, Guest::Hello, true, false)?);
        let with = ("bare", "serve-0.3");
        servers.push(serve("serve-0.3", with, Guest::Hello03, false, false)?);
    }
    Ok(servers)
}

fn echo_servers(wasmtime: Option<&Wasmtime>) -> Result<Vec<Contestant>, Failure> {
    let with = ("bare", "serve");
    let mut servers = vec![
        Contestant::ours(("bare", "bare"), Guest::Echo, with)?,
        Contestant::ours(("node", "node"), Guest::Echo, with)?,
    ];
    if let Some(wasmtime) = wasmtime {
        let server = wasmtime.serve(Guest::Echo, false, false)?;
        servers.push(Contestant::new("serve", with, server));
    }
    Ok(servers)
}

/// Alternating rounds of all `servers`; a row for each.
async fn rounds(
    what: &str,
    servers: &mut [Contestant],
    connections: usize,
    ask: &Ask,
) -> Result<Vec<Vec<String>>, Failure> {
    for server in &mut *servers {
        server.rounds.clear();
    }
    for _ in 0..ROUNDS {
        for server in &mut *servers {
            server.measure(connections, ask).await?;
        }
    }
    let rate = |server: &Contestant| Some((server.name, server.best()?.per_second));
    let rates: Vec<_> = servers.iter().filter_map(rate).collect();
    let of = |rate: f64, other: &str| {
        let other = rates.iter().find(|(name, _)| *name == other);
        other.map_or_else(
            || "-".to_owned(),
            |(_, other)| format!("{:.2}", rate / other),
        )
    };
    let row = |server: &Contestant| {
        let (name, round) = (server.name, server.best()?);
        Some(vec![
            format!("http::{what}/connections={connections}/server={name}"),
            format!("{:.0}", round.per_second),
            ms(round.p50),
            ms(round.p99),
            format!("{:.1}", server.least_cpu_us()),
            of(round.per_second, server.bare),
            of(round.per_second, server.serve),
        ])
    };
    Ok(servers.iter().filter_map(row).collect())
}
