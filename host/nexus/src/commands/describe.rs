//! `nexus describe`: everything that is known of one workload.

use admin::{ComponentStatus, NodeMisfit, ReplicaStatus, WorkloadStatus};
use types::{Capability, ComponentSpec, Limits, Name, Replication, RestartPolicy};

use crate::exit::Outcome;
use crate::session::Session;
use crate::status::{countdown, why};
use crate::table::{Fields, Table};
use crate::text;

pub(crate) async fn run(session: &Session, name: &Name) -> Outcome {
    let status = session
        .client()
        .workload(name)
        .await
        .map_err(|error| session.failure(error))?;
    session.show(&status, || render(&status))
}

fn render(status: &WorkloadStatus) -> String {
    let mut fields = Fields::default();
    fields.add("Name", &status.name);
    fields.add("State", status.state);
    if let Some(reason) = why(status) {
        fields.add("Reason", reason);
    }
    fields.add("Generation", status.generation);
    fields.add("Admitted at", format!("height {}", status.created_at));
    fields.add("Owner", status.owner);
    let mut parts = vec![fields.render(0)];
    for component in &status.components {
        parts.push(format!("\nComponent {}", component.name));
        let spec = status
            .spec
            .components
            .iter()
            .find(|spec| spec.name == component.name);
        parts.push(describe_component(component, spec).render(2));
        if !component.replicas.is_empty() {
            parts.push(format!(
                "\n{}",
                indent(&replica_table(&component.replicas).render())
            ));
            parts.extend(component.replicas.iter().filter_map(checkpoint));
        }
        if !component.no_place.is_empty() {
            parts.push("\n  A replica is not where it should be. Each node:".to_owned());
            let said = |misfit: &NodeMisfit| {
                let node = misfit.node.short();
                format!("  {node} is {}", misfit.reason)
            };
            parts.extend(component.no_place.iter().map(said));
        }
    }
    parts.join("\n")
}

/// A line for a replica that keeps state.
fn checkpoint(replica: &ReplicaStatus) -> Option<String> {
    let checkpoint = replica.checkpoint?;
    let size = text::size(checkpoint.bytes);
    Some(format!(
        "  Replica {}: checkpoint {} ({size})",
        replica.index, checkpoint.sequence
    ))
}

fn describe_component(component: &ComponentStatus, spec: Option<&ComponentSpec>) -> Fields {
    let mut fields = Fields::default();
    fields.add("Kind", component.kind);
    fields.add("Artifact", component.artifact);
    fields.add("Replicas", component.replicas_wanted);
    fields.list("Routes", &component.routes);
    fields.list("Exports", &component.exports);
    if let Some(spec) = spec {
        fields.add(
            "Restart",
            match spec.restart {
                RestartPolicy::OnFailure => "on-failure",
                RestartPolicy::Always => "always",
                RestartPolicy::Never => "never",
            },
        );
        if !spec.subscriptions.is_empty() {
            fields.list("Subscriptions", &spec.subscriptions);
        }
        fields.list("Capabilities", spec.capabilities.iter().map(capability));
        if !spec.args.is_empty() {
            fields.list("Arguments", &spec.args);
        }
        let pairs = |(key, value): (&String, &String)| format!("{key}={value}");
        if !spec.env.is_empty() {
            fields.list("Environment", spec.env.iter().map(pairs));
        }
        if !spec.config.is_empty() {
            fields.list("Config", spec.config.iter().map(pairs));
        }
        if !spec.files.is_empty() {
            let mount = |file: &types::FileMount| {
                format!("{} ({})", file.path.as_str(), file.artifact.short())
            };
            fields.list("Files", spec.files.iter().map(mount));
        }
    }
    if let Some(seed) = spec.and_then(|spec| spec.deterministic_seed) {
        fields.add("Deterministic", format!("seed {seed}, fuel always counted"));
    }
    let replicate = spec.map(|spec| spec.replicate).unwrap_or_default();
    if replicate != Replication::One {
        fields.add("Calls run by", format!("{replicate} nodes"));
    }
    if let Some(spec) = spec.filter(|spec| !spec.placement.is_empty()) {
        fields.add("Placement", &spec.placement);
    }
    fields.list("Limits", limits(&component.limits));
    fields
}

fn capability(capability: &Capability) -> String {
    format!("{} {}", capability.field(), capability.scope())
}

fn limits(limits: &Limits) -> Vec<String> {
    let fuel = limits
        .fuel
        .map_or("unbounded".to_owned(), |fuel| format!("{fuel} per call"));
    vec![
        format!("memory {}", limits.memory),
        format!("table elements {}", limits.table_elements),
        format!("wall time {} per call", limits.wall_time),
        format!("cpu {} % of a core", limits.cpu_percent),
        format!("fuel {fuel}"),
        format!("requests in flight {}", limits.requests_in_flight),
        format!(
            "requests queued {} for {}",
            limits.requests_queued, limits.queue_time
        ),
        format!("log {} per second", limits.log_rate),
        format!("outbound connections {}", limits.outbound_connections),
    ]
}

fn replica_table(replicas: &[ReplicaStatus]) -> Table {
    let headings = [
        "REPLICA",
        "NODE",
        "STATE",
        "RESTARTS",
        "CALLS",
        "IN-FLIGHT",
        "FAILURES",
        "CPU",
        "MEMORY",
        "REASON",
    ];
    let mut table = Table::new(&headings);
    for replica in replicas {
        let next = countdown(replica);
        let activity = replica.activity.as_ref().map(ToString::to_string);
        let parts = [activity, replica.reason.clone(), next];
        let reason: Vec<String> = parts.into_iter().flatten().collect();
        table.row(vec![
            replica.index.to_string(),
            replica.node.short(),
            replica.state.to_string(),
            replica.restarts.to_string(),
            replica.calls.to_string(),
            replica.in_flight.to_string(),
            replica.failures.to_string(),
            text::duration(replica.cpu_ms),
            text::size(replica.memory_peak_bytes),
            reason.join("; "),
        ]);
    }
    table
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
