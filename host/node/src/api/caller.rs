//! Who may ask what. The Unix socket is for the user who runs the node, who may ask anything; a peer
//! may ask what its standing on the ledger covers, looked up again for each request.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::Method;

use admin::ErrorCode;
use ledger::Role;
use trust::Standing;

use crate::api::refusal::Refused;
use crate::shared::Shared;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Through the Unix socket.
    Local,
    /// Through a session.
    Peer(Standing),
}

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing: what a newcomer must know to join, and what the ledger judges by itself.
    Nothing,
    /// A role of people.
    Role(Role),
}

/// What newcomers, members and everyone else may ask.
const OPEN: &[(&str, &str)] = &[
    ("GET", "/v1/genesis"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/v1/principals/{id}"),
];

/// What members ask of each other, beside what takes a role.
const AMONG_MEMBERS: &[(&str, &str)] = &[
    ("GET", "/v1/workloads"),
    ("GET", "/v1/workloads/{name}"),
    ("GET", "/v1/workloads/{name}/logs"),
    ("POST", "/v1/workloads/{name}/invoke"),
    ("GET", "/v1/assets/{asset}/answer"),
];

/// What takes a role, any of them: the ledger checks who signed.
const SUBMITTING: &[(&str, &str)] = &[("POST", "/v1/transactions")];

/// What deploying and running workloads takes, beside looking.
const DEPLOYING: &[(&str, &str)] = &[
    ("PUT", "/v1/artifacts/{digest}"),
    ("POST", "/v1/check"),
    ("POST", "/v1/workloads/{name}/invoke"),
    ("POST", "/v1/receipts/draw"),
    ("POST", "/v1/receipts/challenge"),
    ("POST", "/v1/messages"),
    ("PUT", "/v1/secrets/{name}"),
    ("DELETE", "/v1/secrets/{name}"),
];

/// Whatever is in no table takes an admin, unless it only looks.
fn need(method: &Method, path: &str) -> Need {
    let listed = |table: &[(&str, &str)]| table.contains(&(method.as_str(), path));
    if listed(OPEN) {
        Need::Nothing
    } else if listed(DEPLOYING) {
        Need::Role(Role::Deployer)
    } else if method == Method::GET || listed(SUBMITTING) {
        Need::Role(Role::Viewer)
    } else {
        Need::Role(Role::Admin)
    }
}

/// Lets a request through if its caller may make it.
pub(super) async fn authorise(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>().copied();
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str);
    match (caller, need(request.method(), path)) {
        (Some(Caller::Local), _) | (Some(Caller::Peer(_)), Need::Nothing) => {}
        (Some(Caller::Peer(Standing::Member(_))), Need::Role(_))
            if AMONG_MEMBERS.contains(&(request.method().as_str(), path)) => {}
        (Some(Caller::Peer(Standing::Operator(principal))), Need::Role(needed)) => {
            // State that cannot be read ends the node elsewhere.
            let record = shared.state().view.principal(&principal).ok().flatten();
            let role = record.map_or(Role::Nothing, |record| record.role);
            if !role.covers(needed) {
                let message = format!(
                    "operator {} has role {role}, this takes role {needed}",
                    principal.short()
                );
                return Refused::new(ErrorCode::Forbidden, message).into_response();
            }
        }
        (_, Need::Role(needed)) => {
            let message = format!("this takes an operator with role {needed}");
            return Refused::new(ErrorCode::Forbidden, message).into_response();
        }
        (None, Need::Nothing) => {
            let message = "a request came without its caller";
            return Refused::internal(message).into_response();
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openapi;

    /// Each entry of the tables is an operation that exists, and every operation has one answer.
    #[test]
    fn tables_name_what_is_served() {
        let document = openapi();
        let mut served = Vec::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in [
                ("GET", &item.get),
                ("PUT", &item.put),
                ("POST", &item.post),
                ("DELETE", &item.delete),
            ] {
                if operation.is_some() {
                    served.push((method, path.as_str()));
                }
            }
        }
        for entry in OPEN
            .iter()
            .chain(AMONG_MEMBERS)
            .chain(SUBMITTING)
            .chain(DEPLOYING)
        {
            assert!(served.contains(entry), "{entry:?} is not served");
        }
        let role = |method: &str, path| need(&Method::from_bytes(method.as_bytes()).unwrap(), path);
        assert_eq!(role("GET", "/v1/workloads"), Need::Role(Role::Viewer));
        assert_eq!(role("POST", "/v1/trust/rotate"), Need::Role(Role::Admin));
        let changing = served.iter().filter(|entry| {
            let (method, _) = entry;
            *method != "GET" && !SUBMITTING.contains(entry)
        });
        for (method, path) in changing {
            let looks = role(method, path) == Need::Role(Role::Viewer);
            assert!(!looks, "a viewer could {method} {path}");
        }
    }
}
