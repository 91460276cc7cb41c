//! Workloads: what is deployed, what is observed, calls of typed exports.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;

use admin::{
    ApiError, ErrorCode, InvokeAnswer, InvokeRequest, ListQuery, StatusQuery, WorkloadList,
    WorkloadState, WorkloadStatus,
};
use orchestrator::Target;
use runtime::{CallError, InvokeError};
use types::{ComponentKind, Name, Replication};

use crate::api::called;
use crate::api::elsewhere::{self, Question};
use crate::api::executions;
use crate::api::refusal::{Body, Path, Query, Refused};
use crate::executions::Call;
use crate::shared::Shared;
use crate::status;

/// Longest wait of one status request.
const WAIT_MS_MAX: u64 = 60_000;

/// All workloads.
#[utoipa::path(
    get,
    path = "/v1/workloads",
    params(ListQuery),
    responses((status = 200, body = WorkloadList), (status = 400, body = ApiError))
)]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<WorkloadList>, Refused> {
    let mut workloads = status::workloads(&shared).map_err(Refused::internal)?;
    if query.here {
        for workload in &mut workloads {
            status::keep_own(&shared, workload);
        }
        return Ok(Json(WorkloadList { workloads }));
    }
    let hosts = elsewhere::hosts(&shared, &workloads);
    if !hosts.is_empty() {
        let heard = elsewhere::ask(&shared, hosts, Question::All).await;
        for workload in &mut workloads {
            elsewhere::complete(&shared, workload, &heard);
        }
    }
    Ok(Json(WorkloadList { workloads }))
}

/// One workload; on request only once it is settled.
#[utoipa::path(
    get,
    path = "/v1/workloads/{name}",
    params(("name" = String, Path), StatusQuery),
    responses(
        (status = 200, body = WorkloadStatus), (status = 400, body = ApiError),
        (status = 404, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn describe(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
    Query(query): Query<StatusQuery>,
) -> Result<Json<WorkloadStatus>, Refused> {
    let wait = Duration::from_millis(query.wait_ms.unwrap_or(WAIT_MS_MAX).min(WAIT_MS_MAX));
    let deadline = tokio::time::Instant::now() + wait;
    if let Some(generation) = query.settled {
        // Where it is placed is known only then. Who waited in vain is told what there is.
        let known = wait_for_height(&shared, generation);
        let _ = tokio::time::timeout_at(deadline, known).await;
    }
    let placed = find(&shared, &name)?;
    let hosts = match query.here {
        true => BTreeSet::new(),
        false => elsewhere::hosts(&shared, [&placed]),
    };
    let here = async {
        if query.settled.is_none() {
            return Ok(placed);
        }
        let settled = settled_here(&shared, &name);
        if let Ok(result) = tokio::time::timeout_at(deadline, settled).await {
            result?;
        }
        find(&shared, &name)
    };
    let question = Question::One {
        name: name.clone(),
        settled: query.settled,
        wait: deadline.saturating_duration_since(tokio::time::Instant::now()),
    };
    let there = elsewhere::ask(&shared, hosts, question);
    let (here, heard) = tokio::join!(here, there);
    let mut status = here?;
    if query.here {
        status::keep_own(&shared, &mut status);
    } else if !elsewhere::hosts(&shared, [&status]).is_empty() {
        elsewhere::complete(&shared, &mut status, &heard);
    }
    Ok(Json(status))
}

/// Waits until this node has followed the ledger to `height`.
async fn wait_for_height(shared: &Shared, height: u64) {
    let mut revision = shared.revision.subscribe();
    // The sender is in `shared`.
    let _ = revision
        .wait_for(|_| shared.state().view.height() >= height)
        .await;
}

/// Waits until nothing of a workload moves here.
async fn settled_here(shared: &Shared, name: &Name) -> Result<(), Refused> {
    let mut revision = shared.revision.subscribe();
    loop {
        revision.mark_unchanged();
        let mut status = find(shared, name)?;
        status::keep_own(shared, &mut status);
        let moving = matches!(
            status.state,
            WorkloadState::Starting
                | WorkloadState::Stopping
                | WorkloadState::Pausing
                | WorkloadState::Resuming
        );
        if !moving {
            return Ok(());
        }
        tokio::select! {
            _ = revision.changed() => {}
            () = shared.stopping.cancelled() => {
                return Err(Refused::new(ErrorCode::Unavailable, "the node is stopping"));
            }
        }
    }
}

/// Calls a typed export in a fresh instance; on several nodes, if the dial says so.
#[utoipa::path(
    post,
    path = "/v1/workloads/{name}/invoke",
    params(("name" = String, Path)),
    request_body = InvokeRequest,
    responses(
        (status = 200, body = InvokeAnswer), (status = 400, body = ApiError), (status = 404, body = ApiError),
        (status = 422, body = ApiError), (status = 429, body = ApiError), (status = 503, body = ApiError)
    )
)]
pub(super) async fn invoke(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<Name>,
    Body(request): Body<InvokeRequest>,
) -> Result<Json<InvokeAnswer>, Refused> {
    let status = find(&shared, &name)?;
    let component = target(&status, request.component.as_ref())?;
    let mut specs = status.spec.components.iter();
    let spec = specs.find(|spec| spec.name == component);
    let dialled = spec.map(|spec| spec.replicate).unwrap_or_default();
    let replication = request.replicate.unwrap_or(dialled);
    if replication != Replication::One || request.receipt {
        let call = Call {
            workload: name,
            component,
            export: request.export,
            arguments: request.arguments,
            replication,
        };
        let answer = executions::replicated(&shared, call, request.receipt).await?;
        return Ok(Json(answer));
    }
    let Some(replica) = shared.replicas.least_loaded(&name, &component) else {
        let workload = name;
        let target = Target {
            workload,
            component,
        };
        return called::elsewhere(&shared, &target, request).await.map(Json);
    };
    let InvokeRequest {
        export, arguments, ..
    } = request;
    let result = replica.invoke_apart(&export, arguments).await;
    let runtime::Invocation {
        result, fuel_used, ..
    } = result.map_err(|error| Refused::new(code(&error), error))?;
    Ok(Json(InvokeAnswer {
        result,
        fuel_used,
        replication: None,
        receipt: None,
    }))
}

fn find(shared: &Shared, name: &Name) -> Result<WorkloadStatus, Refused> {
    let found = status::workload(shared, name).map_err(Refused::internal)?;
    found.ok_or_else(|| Refused::not_found(format!("no workload is called `{name}`")))
}

/// The component that is meant: the one that is named, else the only one that can be invoked.
fn target(status: &WorkloadStatus, wanted: Option<&Name>) -> Result<Name, Refused> {
    let callable = |kind| kind != ComponentKind::Command;
    let names = || {
        status
            .components
            .iter()
            .filter(|c| callable(c.kind))
            .map(|c| c.name.clone())
    };
    let list = || {
        names()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match wanted {
        Some(wanted) => names().find(|name| name == wanted).ok_or_else(|| {
            let text = format!(
                "no component `{wanted}` can be invoked; there are: {}",
                list()
            );
            Refused::not_found(text)
        }),
        None => {
            let mut all = names();
            match (all.next(), all.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => Err(Refused::not_found(
                    "it has no component that can be invoked",
                )),
                (Some(_), Some(_)) => {
                    let text = format!("name one of its components: {}", list());
                    Err(Refused::new(ErrorCode::BadRequest, text))
                }
            }
        }
    }
}

pub(super) fn code(error: &InvokeError) -> ErrorCode {
    match error {
        InvokeError::Call(CallError::QueueFull { .. } | CallError::QueueTimeout { .. }) => {
            ErrorCode::Busy
        }
        InvokeError::Call(CallError::Stopped | CallError::Paused { .. }) => ErrorCode::Unavailable,
        InvokeError::Call(_) => ErrorCode::GuestFailed,
        InvokeError::UnknownExport { .. } => ErrorCode::NotFound,
        _ => ErrorCode::BadRequest,
    }
}
