//! From local files to a workload that the node could run: uploads, inspection, checks.

use admin::{ArtifactReport, ArtifactUse, Inspection, PlannedReplica, WorkloadStatus};
use types::{Capability, ComponentKind, ComponentSpec, Route, WorkloadSpec};

use crate::exit::{Exit, Failure, Outcome};
use crate::place::Step;
use crate::session::Session;
use crate::source::{ComponentSource, Content, Source};
use crate::{terminal, text};

/// A workload that may be admitted, and what it replaces.
pub(crate) struct Prepared {
    pub(crate) spec: WorkloadSpec,
    pub(crate) former: Option<WorkloadStatus>,
    /// Where its replicas would be.
    pub(crate) placements: Vec<PlannedReplica>,
}

/// Brings everything that `source` names to the node and checks it there. Admits nothing.
///
/// # Errors
/// [`Failure`] that names every problem that the node found, or the first one that was found here.
pub(crate) async fn prepare(session: &Session, source: &Source) -> Outcome<Prepared> {
    // What can be known without a node is said before anything is sent.
    let guessed: Vec<_> = source.components.iter().map(guess).collect();
    check(source, &resolve(source, &guessed))?;
    let former = session.workload(&source.name).await?;
    let mut inspected = Vec::with_capacity(source.components.len());
    for (index, component) in source.components.iter().enumerate() {
        inspected.push(upload(session, component).await.map_err(
            |failure| match &source.manifest {
                Some(manifest) if failure.exit() == Exit::Refused => {
                    let steps = [
                        Step::Key("component"),
                        Step::Index(index),
                        Step::Key("source"),
                    ];
                    manifest.refused(&steps, failure.message())
                }
                _ => failure,
            },
        )?);
    }
    let kinds: Vec<_> = inspected.iter().map(|inspection| inspection.kind).collect();
    let mut spec = resolve(source, &kinds);
    if source.manifest.is_none() {
        inherit(session, &mut spec, former.as_ref()).await?;
    }
    settle(session, &mut spec, &inspected, former.as_ref()).await?;
    check(source, &spec)?;
    let report = session
        .client()
        .check(&spec)
        .await
        .map_err(|error| session.failure(error))?;
    if report.problems.is_empty() {
        let placements = report.placements;
        return Ok(Prepared {
            spec,
            former,
            placements,
        });
    }
    let mut failure = Failure::new(Exit::Refused, format!("`{}` cannot run here:", spec.name));
    for problem in report.problems {
        failure = failure.hint(format!(
            "  component `{}`: {}",
            problem.component, problem.message
        ));
    }
    Err(failure)
}

/// The kind that forbids least of what the manifest says.
fn guess(component: &ComponentSource) -> ComponentKind {
    if component.declared.subscriptions.is_empty() {
        ComponentKind::Http
    } else {
        ComponentKind::Worker
    }
}

fn resolve(source: &Source, kinds: &[ComponentKind]) -> WorkloadSpec {
    let resolved = |(component, kind): (&ComponentSource, &ComponentKind)| {
        let files = component.files.iter().map(|file| file.digest).collect();
        component
            .declared
            .resolve(component.binary.digest, *kind, files)
    };
    let components = source.components.iter().zip(kinds).map(resolved).collect();
    WorkloadSpec {
        name: source.name.clone(),
        components,
    }
}

/// The workload's own rules, with the place in the manifest.
fn check(source: &Source, spec: &WorkloadSpec) -> Outcome {
    spec.check().map_err(|error| match &source.manifest {
        Some(manifest) => manifest.invalid(spec, &error),
        None => Failure::new(Exit::Refused, error),
    })
}

/// Brings a component and its files to the node, which says what the component is.
async fn upload(session: &Session, component: &ComponentSource) -> Outcome<Inspection> {
    let binary = &component.binary;
    let report = offer(session, binary, ArtifactUse::Component).await?;
    for file in &component.files {
        offer(session, file, ArtifactUse::File).await?;
    }
    report.component.ok_or_else(|| {
        let message = format!("{} is not a WebAssembly component", binary.label);
        Failure::new(Exit::Refused, message)
    })
}

/// What a component keeps on its node, and its secrets, are on one node only: unless the manifest says
/// where it goes, it stays where it is, or goes to the node that takes it.
async fn settle(
    session: &Session,
    spec: &mut WorkloadSpec,
    inspected: &[Inspection],
    former: Option<&WorkloadStatus>,
) -> Outcome {
    let former = former.map(|former| former.spec.components.as_slice());
    let former = former.unwrap_or_default();
    let mut node = None;
    for (component, inspection) in spec.components.iter_mut().zip(inspected) {
        if !component.placement.is_empty() || !is_local(component, inspection) {
            continue;
        }
        let before = former.iter().find(|before| before.name == component.name);
        if let Some(before) = before.filter(|before| !before.placement.is_empty()) {
            component.placement.clone_from(&before.placement);
            continue;
        }
        let here = match node {
            Some(here) => here,
            None => {
                let status = session.client().node().await;
                status.map_err(|error| session.failure(error))?.node
            }
        };
        node = Some(here);
        component.placement.nodes.insert(here);
    }
    Ok(())
}

/// Whether something that a component uses is on one node only.
fn is_local(component: &ComponentSpec, inspection: &Inspection) -> bool {
    let local = |capability: &Capability| {
        matches!(
            capability,
            Capability::Keyvalue { .. } | Capability::Blobstore { .. } | Capability::Publish { .. }
        )
    };
    let keeps_state = |export: &String| export.starts_with("hypermesh:workload/lifecycle@");
    component.capabilities.iter().any(local)
        || !component.secrets.is_empty()
        || !component.subscriptions.is_empty()
        || inspection.exports.iter().any(keeps_state)
}

/// Sends what the node does not have yet.
async fn offer(
    session: &Session,
    content: &Content,
    r#use: ArtifactUse,
) -> Outcome<ArtifactReport> {
    let client = session.client();
    let known = client.artifact(&content.digest, r#use).await;
    if let Some(report) = known.map_err(|error| session.failure(error).context(&content.label))? {
        return Ok(report);
    }
    let what = format!(
        "uploading {} ({})",
        content.label,
        text::size(content.bytes.len() as u64)
    );
    let sent = client.store_artifact(&content.digest, r#use, content.bytes.clone());
    let sent = terminal::progress(&what, sent).await;
    sent.map_err(|error| session.failure(error).context(&content.label))
}

/// A bare component says nothing about replicas and routes: an update keeps those that are there,
/// a first deployment answers everywhere where nobody else does.
async fn inherit(
    session: &Session,
    spec: &mut WorkloadSpec,
    former: Option<&WorkloadStatus>,
) -> Outcome {
    let name = spec.name.clone();
    let Some(component) = spec.components.first_mut() else {
        return Ok(());
    };
    let former = former.and_then(|former| {
        former
            .spec
            .components
            .iter()
            .find(|entry| entry.name == component.name)
    });
    if let Some(former) = former {
        component.replicas = former.replicas;
    }
    if component.kind != ComponentKind::Http || !component.routes.is_empty() {
        return Ok(());
    }
    if let Some(former) = former.filter(|former| !former.routes.is_empty()) {
        component.routes.clone_from(&former.routes);
        return Ok(());
    }
    let route = Route::new("*", "/").map_err(|error| Failure::new(Exit::Failed, error))?;
    let list = session
        .client()
        .workloads()
        .await
        .map_err(|error| session.failure(error))?;
    let has_route = |component: &&ComponentSpec| component.routes.contains(&route);
    let others = list
        .workloads
        .iter()
        .filter(|workload| workload.name != name);
    let taken = others
        .filter_map(|other| Some((other, other.spec.components.iter().find(has_route)?)))
        .next();
    if let Some((owner, owning)) = taken {
        let message = format!("route {route} belongs to {}/{}", owner.name, owning.name);
        let failure = Failure::new(Exit::Refused, message);
        return Err(failure.hint(format!("Choose another, for instance `--route /{name}`.")));
    }
    component.routes.push(route);
    Ok(())
}
