//! `nexus node`: the node itself.

use admin::{HttpsCertificateStatus, NodeStatus};
use ledger::NodeState;

use crate::cli::NodeCommand;
use crate::commands::ledger::render_rules;
use crate::commands::nodes;
use crate::exit::Outcome;
use crate::patience::shortage;
use crate::session::Session;
use crate::table::Fields;
use crate::text;

pub(crate) async fn run(session: &Session, command: NodeCommand) -> Outcome {
    match command {
        NodeCommand::Status => status(session).await,
        NodeCommand::List => nodes::list(session).await,
        NodeCommand::Cordon(args) => nodes::turn(session, &args.id, NodeState::Cordoned).await,
        NodeCommand::Drain(args) => nodes::turn(session, &args.id, NodeState::Draining).await,
        NodeCommand::Open(args) => nodes::turn(session, &args.id, NodeState::Open).await,
        NodeCommand::Label(args) => nodes::label(session, &args.id, &args.labels).await,
        // Needs no node.
        NodeCommand::Prepare => Ok(()),
    }
}

async fn status(session: &Session) -> Outcome {
    let status = session
        .client()
        .node()
        .await
        .map_err(|error| session.failure(error))?;
    session.show(&status, || render(&status))
}

fn render(status: &NodeStatus) -> String {
    let mut fields = Fields::default();
    fields.add("Node", status.node);
    fields.add("Version", &status.version);
    fields.add("Up for", text::duration(status.uptime_ms));
    fields.add("Data", &status.data_directory);
    fields.add("HTTP", status.http.as_deref().unwrap_or("not served"));
    if let Some(https) = &status.https {
        fields.add("HTTPS", https);
    }
    if let Some(certificate) = &status.https_certificate {
        certified(&mut fields, certificate);
    }
    fields.add("Fabric", status.fabric);
    fields.add("Height", status.height);
    fields.add("Block time", text::moment(status.block_time_ms));
    fields.add("State root", &status.state_root);
    fields.add("Rules", render_rules(&status.rules));
    fields.add("Validators", status.validators);
    fields.add(
        "Waiting",
        text::count(status.waiting_transactions as usize, "transaction"),
    );
    if let Some(short) = status.quorum.as_ref().and_then(shortage) {
        fields.add("No quorum", short);
    }
    fields.add("Deployments", status.deployments);
    let used = status.instances_max.saturating_sub(status.instances_free);
    fields.add(
        "Instances",
        format!("{used} of {} in use", status.instances_max),
    );
    let room = &status.artifacts;
    fields.add(
        "Artifacts",
        format!(
            "{} of {} used, {} of it by deployments",
            text::size(room.used_bytes),
            text::size(room.quota_bytes),
            text::size(room.pinned_bytes),
        ),
    );
    fields.add(
        "Running here",
        text::count(status.replicas_running as usize, "replica"),
    );
    fields.render(0)
}

/// What clients of HTTPS are shown, and what stands in the way of a new certificate.
fn certified(fields: &mut Fields, certificate: &HttpsCertificateStatus) {
    let shown = match (&certificate.issuer, certificate.expires_ms) {
        (Some(issuer), Some(expires_ms)) => format!(
            "{}, by {issuer}, until {}",
            certificate.names.join(", "),
            text::moment(expires_ms)
        ),
        _ => "none yet: TLS handshakes fail".to_owned(),
    };
    fields.add("Certificate", shown);
    if let Some(problem) = &certificate.problem {
        let retry = certificate.retry_ms.map_or(String::new(), |retry_ms| {
            format!("; tried again at {}", text::moment(retry_ms))
        });
        fields.add("Not renewed", format!("{problem}{retry}"));
    }
}
