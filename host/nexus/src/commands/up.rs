//! `nexus up`: a node in this process, until Ctrl-C. The only file that runs a node.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use node::{Config, Entrance, Founding, Node, StartNodeError};
use serde::Serialize;
use tracing_subscriber::EnvFilter;
use types::{NodeId, Principal};

use crate::cli::{Global, JoinArgs, NodeArgs, Output, UpArgs};
use crate::commands::demo;
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::session::{self, Session, demo_data};
use crate::terminal;

/// How long running calls may go on after Ctrl-C.
const GRACE: Duration = Duration::from_secs(4);
/// How long stopping may take in all.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Where the demo answers, if nobody else does.
const DEMO_PORT: u16 = 8080;

pub(crate) async fn run(global: &Global, args: &UpArgs) -> Outcome {
    start_logging()?;
    let session = local(global, args.demo)?;
    let http = match args.demo {
        true => Some(demo_http(args.node.http)),
        false => args.node.http,
    };
    let founding = match &args.founding {
        Some(path) => Some(read_founding(path)?),
        None => None,
    };
    let config = Config {
        founding,
        ..config(&session, &args.node, http)
    };
    let start = Node::start(config);
    live(&session, args.demo, start).await
}

fn read_founding(path: &Path) -> Outcome<Founding> {
    Founding::read(path).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        Failure::new(Exit::Failed, message)
    })
}

/// What `nexus node prepare` tells programs.
#[derive(Serialize)]
struct Ids {
    node: NodeId,
    operator: Principal,
}

/// Makes a machine's keys.
pub(crate) fn prepare(global: &Global) -> Outcome {
    let session = local(global, false)?;
    let prepared = node::prepare(session.data());
    let prepared = prepared.map_err(|error| Failure::new(Exit::Failed, error))?;
    let ids = Ids {
        node: prepared.node,
        operator: prepared.operator,
    };
    session.show(&ids, || {
        format!("node      {}\noperator  {}", ids.node, ids.operator)
    })
}

/// Joins a fabric, then stays as [`run`] does.
pub(crate) async fn join(global: &Global, args: &JoinArgs) -> Outcome {
    let entrance: Entrance = args
        .entrance
        .parse()
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    start_logging()?;
    let session = local(global, false)?;
    let config = config(&session, &args.node, args.node.http);
    live(&session, false, Node::join(config, &entrance)).await
}

/// A session with the node that this process becomes.
fn local(global: &Global, demo: bool) -> Outcome<Session> {
    if global.node.is_some() {
        let message = "a node starts on this machine: --node is for commands to a node elsewhere";
        return Err(Failure::new(Exit::Usage, message));
    }
    let data = match global.data() {
        None if demo => demo_data()?,
        Some(data) => data.to_owned(),
        None => session::own_data()?,
    };
    // What is printed must be good in other terminals, in other directories.
    let data = std::path::absolute(&data).unwrap_or(data);
    Ok(Session::at(data, global.data().is_some(), global.output))
}

fn config(session: &Session, args: &NodeArgs, http: Option<SocketAddr>) -> Config {
    Config {
        data_dir: session.data().to_owned(),
        founding: None,
        http,
        https: args.https.wanted(),
        stoq: args.stoq,
        advertise: args.advertise.clone(),
        mdns: speaks_mdns(args),
        instances: args.instances,
        dial_for_leases: args.dial_for_leases.clone(),
        storage_quota: args.storage.quota,
        sync_beyond_blocks: args.storage.sync_beyond,
    }
}

/// By default a node speaks to the local network if others there can reach it.
fn speaks_mdns(args: &NodeArgs) -> bool {
    let is_reached = args.stoq.is_some_and(|address| !address.ip().is_loopback());
    args.mdns || (is_reached && !args.no_mdns)
}

/// Starts, says where the node is reached, stays, stops.
async fn live(
    session: &Session,
    demo: bool,
    start: impl Future<Output = Result<Node, StartNodeError>>,
) -> Outcome {
    let mut interrupt = Interrupt::new()?;
    let node = tokio::select! {
        started = start => started.map_err(|error| Failure::new(Exit::Failed, error))?,
        () = interrupt.received() => return Err(Failure::new(Exit::Interrupted, "interrupted")),
    };
    announce(session, &node).await;
    let outcome = stay(session, demo, &node, &mut interrupt).await;
    stop(node, &mut interrupt).await?;
    outcome
}

/// Runs the demo if it is wanted, then waits for a signal or for the node's own end.
async fn stay(session: &Session, demo: bool, node: &Node, interrupt: &mut Interrupt) -> Outcome {
    if let (true, Some(http)) = (demo, node.http_address()) {
        unless_failed(node, demo::run(session, http, interrupt)).await??;
    }
    unless_failed(node, interrupt.received()).await
}

/// The result of `work`, unless the node has to end before.
async fn unless_failed<T>(node: &Node, work: impl Future<Output = T>) -> Outcome<T> {
    tokio::select! {
        result = work => Ok(result),
        reason = node.failed() => Err(Failure::new(Exit::Failed, reason)),
    }
}

/// Says where the node is reached. A closed output is no reason to stop a node.
async fn announce(session: &Session, node: &Node) {
    let lines = || {
        let http = node.http_address();
        let http = http.map_or("not served: --http IP:PORT".to_owned(), |a| {
            format!("http://{a}")
        });
        let https = node.https_address();
        let https = https.map_or(String::new(), |address| {
            format!("\n  https  https://{address}")
        });
        let stoq = node.stoq_address();
        let stoq = stoq.map_or(String::new(), |address| format!("\n  stoq   {address}"));
        format!(
            "nexus {} is up; Ctrl-C stops it\n  data   {}\n  admin  {}\n  http   {http}{https}{stoq}",
            env!("CARGO_PKG_VERSION"),
            session.data().display(),
            node.admin_socket().display(),
        )
    };
    let printed = match session.output() {
        Output::Table => terminal::print(&lines()),
        Output::Json | Output::Yaml => match session.client().node().await {
            Ok(status) => session.show(&status, lines),
            Err(error) => Err(session.failure(error)),
        },
    };
    if let Err(failure) = printed {
        terminal::report(&failure);
    }
}

/// Lets running calls end; a second signal, or too much time, ends the wait.
async fn stop(node: Node, interrupt: &mut Interrupt) -> Outcome {
    if terminal::notes_are_read() {
        terminal::note("stopping; Ctrl-C again ends at once");
    }
    // A task of its own: whatever the node does to stop, this one stays able to give up.
    let stopping = tokio::spawn(node.stop(GRACE));
    tokio::select! {
        stopped = tokio::time::timeout(STOP_WITHIN, stopping) => match stopped {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(Failure::new(Exit::Failed, format!("the node failed while it stopped: {error}")))
            }
            Err(_) => Err(Failure::new(
                Exit::Failed,
                format!(
                    "the node did not stop within {} s and was ended; its data is safe",
                    STOP_WITHIN.as_secs()
                ),
            )),
        },
        () = interrupt.received() => {
            Err(Failure::new(Exit::Interrupted, "ended at once; running calls were cut short"))
        }
    }
}

/// Where the demo serves HTTP: as told, else the usual port, else any free one.
fn demo_http(wanted: Option<SocketAddr>) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, DEMO_PORT));
    match wanted {
        Some(wanted) => wanted,
        None => match TcpListener::bind(usual) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                terminal::note(&format!(
                    "port {DEMO_PORT} is taken: using a free one instead"
                ));
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
            }
            // Any other error is the node's to report.
            _ => usual,
        },
    }
}

/// Logs to standard error: lines for people, JSON for collectors.
fn start_logging() -> Outcome {
    /// Ours in full, everybody else's only if it is bad. The storage engine warns at every ordinary
    /// start that it begins without a bitmap, and the resolver calls every ordinary stop an error.
    const DEFAULT: &str =
        "warn,commonware_storage=error,commonware_resolver=off,nexus=info,hypermesh=info";
    let wanted = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(DEFAULT)).map_err(|error| {
        let message = format!("RUST_LOG is not a filter ({error}): write for instance debug");
        Failure::new(Exit::Usage, message)
    })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let set = if terminal::notes_are_read() {
        logs.with_ansi(terminal::coloured()).try_init()
    } else {
        logs.json().try_init()
    };
    set.map_err(|error| Failure::new(Exit::Failed, format!("cannot start logging: {error}")))?;
    // What fails inside is reported by the node in a sentence; where it failed belongs in the log.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}
