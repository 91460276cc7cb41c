//! Whether a workload could run here, before the ledger is asked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use admin::{ApiError, CheckReport, ErrorCode, ImportProblem, PlannedReplica};
use ledger::Refusal;
use types::{ComponentSpec, Name, WorkloadSpec};

use crate::api::refusal::{Body, Refused};
use crate::shared::Shared;

/// Checks rules, routes, artifacts, imports and grants of a workload; changes nothing.
#[utoipa::path(
    post,
    path = "/v1/check",
    request_body(content = Object, content_type = "application/json", description = "a workload as `describe` shows it"),
    responses((status = 200, body = CheckReport), (status = 400, body = ApiError), (status = 422, body = ApiError))
)]
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    Body(spec): Body<WorkloadSpec>,
) -> Result<Json<CheckReport>, Refused> {
    spec.check()
        .map_err(|error| Refused::new(ErrorCode::Refused, error))?;
    let mut problems = route_problems(&shared, &spec)?;
    let planned = planned(&shared, &spec);
    for component in spec.components {
        let shared = Arc::clone(&shared);
        let found = tokio::task::spawn_blocking(move || component_problems(&shared, &component));
        problems.extend(found.await.map_err(Refused::internal)?);
    }
    let placements = match planned {
        Ok(placements) => placements,
        // Said better by what was found before.
        Err(_) if !problems.is_empty() => Vec::new(),
        Err(problem) => {
            problems.push(problem);
            Vec::new()
        }
    };
    Ok(Json(CheckReport {
        problems,
        placements,
    }))
}

/// Where the replicas would be.
fn planned(shared: &Shared, spec: &WorkloadSpec) -> Result<Vec<PlannedReplica>, ImportProblem> {
    // Who deploys it makes no difference to where it goes.
    let planned = shared.state().view.plan(shared.node, spec);
    let placements = planned.map_err(|refusal| {
        let component = match &refusal {
            Refusal::NoPlace { component, .. } => component.clone(),
            _ => spec
                .components
                .first()
                .map_or_else(Name::least, |it| it.name.clone()),
        };
        let message = refusal.to_string();
        ImportProblem { component, message }
    })?;
    let placements = placements.into_iter();
    let planned = placements.map(|placed| PlannedReplica {
        component: placed.component,
        index: placed.index,
        node: placed.node,
    });
    Ok(planned.collect())
}

fn route_problems(shared: &Shared, spec: &WorkloadSpec) -> Result<Vec<ImportProblem>, Refused> {
    let state = shared.state();
    let mut problems = Vec::new();
    for component in &spec.components {
        for route in &component.routes {
            let owner = state.view.route(route).map_err(Refused::internal)?;
            if let Some(owner) = owner.filter(|owner| owner.workload != spec.name) {
                problems.push(ImportProblem {
                    component: component.name.clone(),
                    message: format!(
                        "route {route} belongs to {}/{}: choose another host or path",
                        owner.workload, owner.component
                    ),
                });
            }
        }
    }
    Ok(problems)
}

fn component_problems(shared: &Shared, spec: &ComponentSpec) -> Vec<ImportProblem> {
    let problem = |message: String| ImportProblem {
        component: spec.name.clone(),
        message,
    };
    let mut problems = Vec::new();
    for file in &spec.files {
        if shared.artifacts.size(&file.artifact).is_none() {
            let message = format!("file {} was not uploaded", file.path.as_str());
            problems.push(problem(message));
        }
    }
    problems.extend(
        shared
            .secrets
            .missing(&spec.secrets)
            .into_iter()
            .map(problem),
    );
    let content = match shared.artifacts.read(&spec.artifact) {
        Ok(content) => content,
        Err(error) => return vec![problem(error.to_string())],
    };
    match shared.runtime.inspect(&content) {
        Err(error) => problems.push(problem(error.to_string())),
        Ok(inspection) => {
            if inspection.kind != spec.kind {
                let (found, said) = (inspection.kind, spec.kind);
                problems.push(problem(format!("it is a {found} component, not {said}")));
            }
            if let Err(refusals) = shared.runtime.check_imports(&inspection, spec) {
                problems.extend(refusals.iter().map(|refusal| problem(refusal.to_string())));
            }
        }
    }
    problems
}
