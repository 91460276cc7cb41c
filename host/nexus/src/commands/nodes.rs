//! `nexus node list`, `cordon`, `drain`, `open`, `label`: nodes as places for replicas.

use std::collections::BTreeMap;

use admin::{FabricStatus, MemberStatus};
use ledger::{NodeOperation, NodeState, Operation};
use types::{Labels, Name};

use crate::cli::LabelChange;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::table::Table;
use crate::text;

pub(super) async fn list(session: &Session) -> Outcome {
    let status = fabric(session).await?;
    session.show(&status, || render(&status))
}

fn render(status: &FabricStatus) -> String {
    let headings = ["NODE", "TAKES", "REPLICAS", "LIVENESS", "LABELS"];
    let mut table = Table::new(&headings);
    for member in members(status) {
        let labels = member.labels.iter();
        let labels: Vec<String> = labels
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        table.row(vec![
            member.node.to_string(),
            member.takes.clone(),
            member.placements.to_string(),
            member.liveness.clone(),
            match labels.is_empty() {
                true => "-".to_owned(),
                false => labels.join(" "),
            },
        ]);
    }
    table.render()
}

/// Has a node take replicas, no more, or give them away.
pub(super) async fn turn(session: &Session, id: &str, state: NodeState) -> Outcome {
    let node = find(&fabric(session).await?, id)?.node;
    let turn = NodeOperation::Turn { node, state };
    let report = session.submit(Operation::Node(turn)).await?;
    let left = fabric(session).await?;
    let left = members(&left).find(|member| member.node == node);
    let left = left.map_or(0, |member| member.placements as usize);
    session.show(&report, || {
        let (node, height) = (node.short(), report.height);
        let replicas = text::count(left, "replica");
        match state {
            NodeState::Open => format!("{node} takes replicas from height {height} on"),
            NodeState::Cordoned => {
                format!("{node} keeps {replicas} and takes no more from height {height} on")
            }
            NodeState::Draining if left > 0 => format!(
                "{node} drains from height {height} on; {replicas} fit nowhere else and stay until \
                 they do"
            ),
            NodeState::Draining => format!("{node} is empty from height {height} on"),
        }
    })
}

/// Gives a node labels and takes some away.
pub(super) async fn label(session: &Session, id: &str, changes: &[LabelChange]) -> Outcome {
    let status = fabric(session).await?;
    let member = find(&status, id)?;
    let node = member.node;
    let labels = changed(&member.labels, changes)?;
    let label = NodeOperation::Label {
        node,
        labels: labels.clone(),
    };
    let report = session.submit(Operation::Node(label)).await?;
    session.show(&report, || {
        let labels = labels.iter();
        let labels: Vec<String> = labels
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        match labels.is_empty() {
            true => format!("{} has no label", node.short()),
            false => format!("{} has {}", node.short(), labels.join(" ")),
        }
    })
}

fn changed(before: &BTreeMap<String, String>, changes: &[LabelChange]) -> Outcome<Labels> {
    let mut labels = Labels::new();
    for (label, value) in before {
        let name = |text: &String| {
            let name = Name::new(text.as_str());
            name.map_err(|error| Failure::new(Exit::Failed, error))
        };
        labels.insert(name(label)?, name(value)?);
    }
    for LabelChange { label, value } in changes {
        match value {
            Some(value) => drop(labels.insert(label.clone(), value.clone())),
            None => drop(labels.remove(label)),
        }
    }
    Ok(labels)
}

async fn fabric(session: &Session) -> Outcome<FabricStatus> {
    let status = session.client().fabric().await;
    status.map_err(|error| session.failure(error))
}

fn members(status: &FabricStatus) -> impl Iterator<Item = &MemberStatus> {
    let members = status.members.iter();
    members.filter(|member| member.membership == "member")
}

/// The one member whose id begins so.
fn find<'a>(status: &'a FabricStatus, id: &str) -> Outcome<&'a MemberStatus> {
    let mut found = members(status).filter(|member| member.node.to_string().starts_with(id));
    match (found.next(), found.next()) {
        (Some(only), None) if !id.is_empty() => Ok(only),
        (None, _) => {
            let message = format!("no member's id begins with `{id}`: see `nexus node list`");
            Err(Failure::new(Exit::NotFound, message))
        }
        _ => {
            let message = format!("`{id}` is the beginning of several ids: give more digits");
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_given_replaced_and_taken_away() {
        let parse = |text: &str| text.parse::<LabelChange>();
        let before = BTreeMap::from([("zone", "eu"), ("disk", "slow")]);
        let before = before
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let changes = ["disk=fast", "zone-", "rack=r-1"].map(|text| parse(text).unwrap());
        let after = changed(&before, &changes).unwrap();
        let shown: Vec<String> = after.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(shown, ["disk=fast", "rack=r-1"]);
        for wrong in ["zone", "=eu", "zone=", "-", "Zone=eu"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
