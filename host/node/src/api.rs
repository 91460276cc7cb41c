//! The admin API's server: HTTP/JSON on a Unix socket. Handlers and their OpenAPI document are
//! registered together, so neither can be there without the other.

mod artifacts;
mod assets;
mod blocks;
mod called;
mod caller;
mod check;
mod elsewhere;
mod executions;
mod fabric;
mod ledger;
mod logs;
mod membership;
mod messages;
mod refusal;
mod rules;
mod secrets;
mod space;
mod stoq;
mod validators;
mod watching;
mod workloads;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::{Extension, Json, Router, middleware};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::refusal::Refused;
use crate::shared::Shared;
pub(crate) use caller::Caller;

/// Largest JSON or transaction body; artifacts are streamed and have a bound of their own.
const BODY_BYTES_MAX: usize = 1024 * 1024;

#[derive(OpenApi)]
#[openapi(info(
    title = "nexus admin API",
    description = "Served on the Unix socket `admin.sock` of a node's data directory, and over STOQ to operators, as far as their role goes."
))]
struct Api;

fn router() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(fabric::node))
        .routes(routes!(fabric::principal))
        .routes(routes!(fabric::submit))
        .routes(routes!(fabric::metrics))
        .routes(routes!(artifacts::describe, artifacts::store))
        .routes(routes!(check::check))
        .routes(routes!(workloads::list))
        .routes(routes!(workloads::describe))
        .routes(routes!(workloads::invoke))
        .routes(routes!(executions::draw))
        .routes(routes!(executions::challenge))
        .routes(routes!(logs::read))
        .routes(routes!(messages::publish))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::remove))
        .routes(routes!(ledger::status))
        .routes(routes!(ledger::block))
        .routes(routes!(ledger::certificate))
        .routes(routes!(ledger::entry))
        .routes(routes!(ledger::keys))
        .routes(routes!(ledger::proof))
        .routes(routes!(blocks::list))
        .routes(routes!(blocks::contents))
        .routes(routes!(blocks::transaction))
        .routes(routes!(blocks::watch))
        .routes(routes!(membership::fabric))
        .routes(routes!(membership::genesis))
        .routes(routes!(membership::roles))
        .routes(routes!(membership::approve))
        .routes(routes!(membership::leave))
        .routes(routes!(validators::list))
        .routes(routes!(validators::handovers))
        .routes(routes!(validators::add))
        .routes(routes!(validators::remove))
        .routes(routes!(validators::resign))
        .routes(routes!(rules::vote))
        .routes(routes!(rules::cancel))
        .routes(routes!(assets::list, assets::register))
        .routes(routes!(assets::show))
        .routes(routes!(assets::remeasure))
        .routes(routes!(space::answer))
        .routes(routes!(space::keep))
        .routes(routes!(assets::lease))
        .routes(routes!(assets::held))
        .routes(routes!(stoq::stoq))
        .routes(routes!(stoq::cap))
        .routes(routes!(stoq::rotate))
        .routes(routes!(document))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// The OpenAPI document of the admin API.
#[must_use]
pub fn openapi() -> Document {
    router().into_openapi()
}

/// The API as one service, without any idea of who asks.
pub(crate) fn service(shared: &Arc<Shared>) -> Router {
    let (router, _) = router().split_for_parts();
    let authorise = middleware::from_fn_with_state(Arc::clone(shared), caller::authorise);
    router
        .route_layer(authorise)
        .fallback(nothing_here)
        .with_state(Arc::clone(shared))
}

/// Serves until `stop`; requests in flight then end first. Dropping the future ends them.
pub(crate) async fn serve(shared: Arc<Shared>, socket: UnixListener, stop: CancellationToken) {
    let service = service(&shared).layer(Extension(Caller::Local));
    let ended = axum::serve(socket, service)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    if let Err(error) = ended {
        shared.fail(format!("the admin API stopped: {error}"));
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, description = "OpenAPI 3.1")))]
async fn document(State(_): State<Arc<Shared>>) -> Json<Document> {
    Json(openapi())
}

async fn nothing_here(uri: http::Uri) -> Refused {
    Refused::not_found(format!("the admin API has no {}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_documented_with_its_answers() {
        let document = openapi();
        let mut operations = 0;
        for (path, item) in &document.paths.paths {
            let each = [&item.get, &item.put, &item.post, &item.delete];
            for operation in each.into_iter().flatten() {
                operations += 1;
                assert!(
                    !operation.responses.responses.is_empty(),
                    "{path} documents no answer"
                );
                let text = operation
                    .summary
                    .as_ref()
                    .or(operation.description.as_ref());
                assert!(text.is_some(), "{path} says not what it does");
            }
        }
        assert_eq!(operations, 51);
    }
}
