//! The demo of `nexus up --demo`: one component, deployed like any other, that answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use admin::{WorkloadState, WorkloadStatus};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use types::{Millis, Name, Route};

use crate::deployment::{deploy, observe};
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::preparation::prepare;
use crate::session::Session;
use crate::source::{Content, Source};
use crate::terminal;

/// `examples/demo/demo.wat`, assembled when this program was built.
const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo.wasm"));
const NAME: &str = "demo";
/// How long it may take until it runs, and then until it answers.
const WITHIN: Millis = Millis::seconds(30);
/// Pause between two questions whether it answers.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Deploys the demo unless it is there, waits until it answers at `http`, says what to try.
pub(crate) async fn run(session: &Session, http: SocketAddr, interrupt: &mut Interrupt) -> Outcome {
    let status = running(session, interrupt).await?;
    let http = reachable(http);
    let answers = tokio::time::timeout(WITHIN.duration(), async {
        while !answers(http).await.unwrap_or(false) {
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    });
    tokio::select! {
        answered = answers => answered.map_err(|_| {
            let message = format!("the demo runs, but http://{http}/ did not answer in {WITHIN}");
            Failure::new(Exit::WorkloadFailed, message)
        })?,
        () = interrupt.received() => return Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
    // Nobody who reads is no reason to stop.
    let _ = terminal::print(&next_steps(session, http, &status));
    Ok(())
}

/// The demo as it runs, deployed now or before.
async fn running(session: &Session, interrupt: &mut Interrupt) -> Outcome<WorkloadStatus> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
    let name = Name::new(NAME).map_err(|error| failed(&error))?;
    let content = Content::new("the demo component", Bytes::from_static(COMPONENT));
    if let Some(status) = session.workload(&name).await? {
        let stopped = matches!(
            status.state,
            WorkloadState::Stopped
                | WorkloadState::Stopping
                | WorkloadState::Paused
                | WorkloadState::Pausing
        );
        let same = status
            .spec
            .components
            .iter()
            .all(|entry| entry.artifact == content.digest);
        if same && !stopped {
            return observe(session, &status.spec, status.generation, WITHIN.duration()).await;
        }
    }
    let route = Route::new("*", "/").map_err(|error| failed(&error))?;
    let source = Source::bare(name, content, Some(route))?;
    let mut prepared = prepare(session, &source).await?;
    for component in &mut prepared.spec.components {
        component.replicas = component.replicas.max(1);
    }
    deploy(session, &prepared, WITHIN, interrupt).await
}

/// Whether a GET of `/` is answered with 200.
async fn answers(http: SocketAddr) -> std::io::Result<bool> {
    const OK: &[u8] = b"HTTP/1.1 200 ";
    let mut stream = TcpStream::connect(http).await?;
    let request = format!("GET / HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; OK.len()];
    stream.read_exact(&mut start).await?;
    Ok(start == OK)
}

/// An address to connect to, where the one to listen on may mean every address.
fn reachable(http: SocketAddr) -> SocketAddr {
    let ip = match http.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, http.port())
}

fn next_steps(session: &Session, http: SocketAddr, status: &WorkloadStatus) -> String {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "nexus".to_owned());
    let data = session.data().display();
    let mut lines = vec![
        format!("\nThe demo answers at http://{http}/ (also /hello and /echo)."),
        "Try next, in another terminal:".to_owned(),
    ];
    let mut add = |rest: &str| lines.push(format!("  {program} --data {data} {rest}"));
    add("ps");
    add("logs demo -f");
    if status
        .components
        .iter()
        .flat_map(|c| &c.exports)
        .any(|export| export.contains("greet"))
    {
        add("invoke demo greet '\"Ann\"'");
    }
    add("deploy FILE.wasm --route /hello");
    lines.join("\n")
}
