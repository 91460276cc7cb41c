//! `nexus dev`: builds, deploys, shows the log, and again after each change.

use std::path::Path;
use std::time::{Duration, Instant};

use admin::{LogQuery, WorkloadStatus};
use types::{Millis, Name};

use super::build::build;
use crate::cli::ProjectArgs;
use crate::clock::unix_ms;
use crate::deployment::deploy;
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::preparation::prepare;
use crate::project::{Profile, Project};
use crate::session::Session;
use crate::source::Source;
use crate::status::{log_line, urls};
use crate::terminal;
use crate::watch::Snapshot;

/// How long a version may take until it runs.
const RUNS_WITHIN: Millis = Millis::seconds(60);
/// Pause before the log is opened again: it is not there before the first version runs.
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(200);

pub(crate) async fn run(session: &Session, args: &ProjectArgs) -> Outcome {
    let project = Project::open(&args.folder)?;
    let name = workload_name(&project.manifest())?;
    let mut interrupt = Interrupt::new()?;
    // Without a node there is nothing to wait for.
    let node = session.client().node().await;
    let http = node.map_err(|error| session.failure(error))?.http;
    tokio::select! {
        outcome = rounds(session, &project, http.as_deref(), &mut interrupt) => outcome,
        outcome = follow(session, &name) => outcome,
    }
}

/// Serves version after version until Ctrl-C. A version that cannot be built or does not run is
/// reported, and the one before it stays.
async fn rounds(
    session: &Session,
    project: &Project,
    http: Option<&str>,
    interrupt: &mut Interrupt,
) -> Outcome {
    let mut saved = Instant::now();
    let mut served_before = false;
    loop {
        // Before the build, so that a change during it is not missed.
        let sources = Snapshot::take(project.folder());
        match round(session, project, interrupt).await {
            Ok(status) => {
                let took = saved.elapsed().as_secs_f64();
                let word = if served_before { "saved" } else { "started" };
                terminal::print(&format!(
                    "{word} -> served in {took:.1} s: {}",
                    address(&status, http)
                ))?;
                served_before = true;
            }
            Err(failure) if failure.exit() == Exit::Interrupted => return Ok(()),
            Err(failure) if failure.exit() == Exit::Unreachable => return Err(failure),
            Err(failure) => {
                terminal::report(&failure);
                let rest = if served_before {
                    "the version before keeps serving; save to try again"
                } else {
                    "nothing is served yet; save to try again"
                };
                terminal::note(rest);
            }
        }
        tokio::select! {
            () = sources.changes(project.folder()) => saved = Instant::now(),
            () = interrupt.received() => return Ok(()),
        }
    }
}

/// One version, from its sources until it runs.
async fn round(
    session: &Session,
    project: &Project,
    interrupt: &mut Interrupt,
) -> Outcome<WorkloadStatus> {
    build(project, Profile::Dev, interrupt).await?;
    let source = Source::read(&project.manifest(), None, None)?;
    let prepared = prepare(session, &source).await?;
    deploy(session, &prepared, RUNS_WITHIN, interrupt).await
}

fn address(status: &WorkloadStatus, http: Option<&str>) -> String {
    let urls = http
        .map(|http| urls(&status.spec, http))
        .unwrap_or_default();
    match urls.first() {
        Some(url) => url.clone(),
        None => format!("`{}` is {}", status.name, status.state),
    }
}

/// The name that the manifest gives the workload. Its component need not be built yet.
fn workload_name(manifest: &Path) -> Outcome<Name> {
    let label = manifest.display().to_string();
    let text = std::fs::read_to_string(manifest)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {label}: {error}")))?;
    let manifest = types::Manifest::parse(&label, &text);
    let manifest = manifest.map_err(|error| Failure::new(Exit::Refused, error))?;
    Ok(manifest.name)
}

/// Prints what the workload writes from now on. Ends only if nobody reads it.
async fn follow(session: &Session, name: &Name) -> Outcome {
    let begun_ms = unix_ms();
    let mut query = LogQuery {
        component: None,
        tail: None,
        follow: true,
        here: false,
    };
    loop {
        if let Ok(mut reader) = session.client().logs(name, &query).await {
            while let Ok(Some(line)) = reader.next().await {
                // Lines of an earlier session are of no interest.
                if line.time_ms >= begun_ms {
                    terminal::print(&terminal::printable(&log_line(&line)))?;
                    // Opened again, the log shows what is new only.
                    query.tail = Some(0);
                }
            }
        }
        tokio::time::sleep(OPEN_AGAIN_AFTER).await;
    }
}
