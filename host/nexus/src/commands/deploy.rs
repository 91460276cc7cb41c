//! `nexus deploy`: from a file to a workload that runs, or to the reason why it does not.

use admin::{WorkloadState, WorkloadStatus};
use types::ComponentKind;

use crate::cli::{DeployArgs, Output};
use crate::deployment::deploy;
use crate::exit::{Exit, Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::preparation::{Prepared, prepare};
use crate::session::Session;
use crate::source::Source;
use crate::status::{replicas, urls};
use crate::{terminal, text};

pub(crate) async fn run(session: &Session, args: DeployArgs) -> Outcome {
    let route = args.route.map(|route| route.0);
    let source = Source::read(&args.file, args.name, route)?;
    let mut interrupt = Interrupt::new()?;
    let prepared = tokio::select! {
        prepared = prepare(session, &source) => prepared?,
        () = interrupt.received() => {
            return Err(Failure::new(Exit::Interrupted, "interrupted: nothing was deployed"));
        }
    };
    if args.dry_run {
        return session.show(&prepared.spec, || plan(&prepared));
    }
    let status = deploy(session, &prepared, args.timeout, &mut interrupt).await?;
    let table = match session.output() {
        Output::Table => success(session, &prepared, &status).await,
        Output::Json | Output::Yaml => String::new(),
    };
    session.show(&status, || table)
}

/// What a dry run found.
fn plan(prepared: &Prepared) -> String {
    let name = &prepared.spec.name;
    let components: Vec<String> = prepared
        .spec
        .components
        .iter()
        .map(|component| {
            let ours = prepared.placements.iter();
            let ours = ours.filter(|placed| placed.component == component.name);
            let nodes: Vec<String> = ours.map(|placed| placed.node.short()).collect();
            let on = match nodes.is_empty() {
                true => String::new(),
                false => format!(", on {}", nodes.join(" ")),
            };
            format!(
                "  {}: {}, {}{on}, {}",
                component.name,
                component.kind,
                text::count(component.replicas.into(), "replica"),
                component.artifact
            )
        })
        .collect();
    let does = match &prepared.former {
        None => format!("would deploy `{name}`:"),
        Some(former) => format!(
            "would replace `{name}` of generation {}:",
            former.generation
        ),
    };
    format!("{does}\n{}\nnothing was changed", components.join("\n"))
}

/// What runs now, and how to reach it.
async fn success(session: &Session, prepared: &Prepared, status: &WorkloadStatus) -> String {
    let name = &status.name;
    let state = match status.state {
        WorkloadState::Running => format!("running, {} replicas", replicas(status)),
        state => state.to_string(),
    };
    let mut lines = vec![match &prepared.former {
        None => format!(
            "deployed `{name}` at generation {}: {state}",
            status.generation
        ),
        Some(former) => format!(
            "replaced `{name}`: generation {} by {}: {state}",
            former.generation, status.generation
        ),
    }];
    let has_routes = prepared
        .spec
        .components
        .iter()
        .any(|c| !c.routes.is_empty());
    if has_routes {
        // The workload runs, whatever the node says now: an answer without addresses will do.
        match session
            .client()
            .node()
            .await
            .ok()
            .and_then(|node| node.http)
        {
            Some(http) => lines.extend(urls(&prepared.spec, &http)),
            None => lines.push(
                "this node serves no HTTP: start it with `nexus up --http IP:PORT`".to_owned(),
            ),
        }
    }
    let library = prepared
        .spec
        .components
        .iter()
        .any(|c| c.kind == ComponentKind::Library);
    if library && let Some(export) = status.components.iter().flat_map(|c| &c.exports).next() {
        lines.push(format!("exports {}", terminal::printable(export)));
    }
    if status.state == WorkloadState::Completed {
        lines.push(format!("`nexus logs {name}` shows what it wrote"));
    }
    lines.join("\n")
}
