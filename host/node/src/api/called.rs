//! Calls of typed exports whose component runs on other nodes. Each node that is asked answers with
//! replicas of its own only, so that no call goes in circles.

use std::collections::BTreeSet;
use std::sync::Arc;

use admin::{ClientError, ErrorCode, InvokeAnswer, InvokeRequest};
use orchestrator::Target;

use crate::api::refusal::Refused;
use crate::mesh::{self, Way};
use crate::shared::Shared;

/// Has another node call an export. One that cannot be reached, or does not run the component, costs
/// a try; a call that may have begun is not made again.
pub(super) async fn elsewhere(
    shared: &Arc<Shared>,
    target: &Target,
    request: InvokeRequest,
) -> Result<InvokeAnswer, Refused> {
    let Target {
        workload,
        component,
    } = target;
    let text = format!("{workload}/{component} does not run: see `nexus describe {workload}`");
    let mut refused = Refused::new(ErrorCode::Unavailable, text);
    if request.here {
        return Err(refused);
    }
    let request = InvokeRequest {
        component: Some(component.clone()),
        here: true,
        ..request
    };
    let within = mesh::patience(shared, target).map_err(Refused::internal)?;
    let mut tried = BTreeSet::new();
    while let Some(mut way) = next(shared, target, &tried)? {
        let node = way.node();
        tried.insert(node);
        let client = shared.peers.get().and_then(|peers| peers.admin_of(&node));
        let Some(client) = client else {
            way.failed();
            continue;
        };
        let called = tokio::time::timeout(within, client.invoke(workload, &request));
        match called.await {
            Ok(Ok(answer)) => return Ok(answer),
            // It was not reached, or had no replica: nothing was called.
            Ok(Err(ClientError::Unreachable { .. })) => way.failed(),
            Ok(Err(ClientError::Refused(error))) if error.code == ErrorCode::Unavailable => {
                way.failed();
                refused = Refused(error);
            }
            Ok(Err(ClientError::Refused(error))) => return Err(Refused(error)),
            Ok(Err(error)) => {
                way.failed();
                let text = format!(
                    "the call may have been made; node {}: {error}",
                    node.short()
                );
                return Err(Refused::new(ErrorCode::Unavailable, text));
            }
            Err(_) => {
                way.failed();
                let text = format!(
                    "the call may have been made; node {} did not answer within {within:?}",
                    node.short()
                );
                return Err(Refused::new(ErrorCode::Unavailable, text));
            }
        }
    }
    Err(refused)
}

fn next(
    shared: &Arc<Shared>,
    target: &Target,
    tried: &BTreeSet<types::NodeId>,
) -> Result<Option<Way>, Refused> {
    let nodes = mesh::elsewhere(shared, target).map_err(Refused::internal)?;
    Ok(Way::choose(shared, target, &nodes, tried))
}
