//! `nexus fabric`: who belongs, who may join, who has to go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use admin::{FabricStatus, MemberStatus};
use ledger::{MembershipOperation, Operation};
use node::Founding;
use serde::Serialize;
use trust::Ticket;
use types::{FabricId, Millis, NodeId, Principal};

use crate::cli::FabricCommand;
use crate::clock::unix_ms;
use crate::contexts::NodeAddress;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::table::Table;
use crate::text;

/// How long nodes on the local network have to answer: multicast DNS asks twice within it.
const DISCOVER_TIME: Duration = Duration::from_secs(2);

/// What `nexus fabric invite` prints for programs.
#[derive(Serialize)]
struct Invitation {
    ticket: String,
    expires_at_ms: u64,
    addresses: Vec<String>,
}

pub(crate) async fn run(session: &Session, command: FabricCommand) -> Outcome {
    match command {
        FabricCommand::Members => members(session).await,
        FabricCommand::Discover => discover(session).await,
        FabricCommand::Found {
            file,
            validator,
            operator,
        } => found(session, &file, validator, operator),
        FabricCommand::Invite { ttl, address } => invite(session, ttl, address).await,
        FabricCommand::Invites => invites(session).await,
        FabricCommand::Withdraw { ticket } => {
            let withdraw = MembershipOperation::Withdraw { ticket };
            let report = session.submit(Operation::Membership(withdraw)).await?;
            session.show(&report, || format!("withdrew ticket {}", ticket.short()))
        }
        FabricCommand::Approve { id: node } => {
            let report = session.client().approve(&node).await;
            let report = report.map_err(|error| session.failure(error))?;
            session.show(&report, || {
                format!(
                    "this node voted for {} at height {}",
                    node.short(),
                    report.height
                )
            })
        }
        FabricCommand::Evict { id: node, reason } => {
            let evict = MembershipOperation::Evict { node, reason };
            let report = session.submit(Operation::Membership(evict)).await?;
            session.show(&report, || {
                let node = node.short();
                format!(
                    "evicted {node} at height {}: it cannot return",
                    report.height
                )
            })
        }
        FabricCommand::Leave => {
            let report = session.client().leave().await;
            let report = report.map_err(|error| session.failure(error))?;
            session.show(&report, || {
                format!("this node left its fabric at height {}", report.height)
            })
        }
    }
}

async fn status(session: &Session) -> Outcome<FabricStatus> {
    let fabric = session.client().fabric().await;
    fabric.map_err(|error| session.failure(error))
}

async fn members(session: &Session) -> Outcome {
    let fabric = status(session).await?;
    session.show(&fabric, || {
        let mut table = Table::new(&[
            "NODE",
            "MEMBERSHIP",
            "SINCE",
            "VOTE",
            "CERTIFICATES",
            "LIVENESS",
            "HEARD",
            "ADDRESSES",
        ]);
        for member in &fabric.members {
            let good = member
                .certificates
                .iter()
                .filter(|certificate| certificate.state == "good")
                .count();
            let since = match member.founder {
                true => "founder".to_owned(),
                false => member.joined_at.to_string(),
            };
            let membership = match &member.reason {
                Some(reason) => format!("{} ({reason})", member.membership),
                None => member.membership.clone(),
            };
            let vote = if member.validator { "yes" } else { "no" };
            table.row(vec![
                member.node.to_string(),
                membership,
                since,
                vote.to_owned(),
                format!("{good} good"),
                member.liveness.clone(),
                member.heard_at_ms.map(text::moment).unwrap_or_default(),
                addresses(member),
            ]);
        }
        table.render()
    })
}

/// What `nexus fabric found` tells programs.
#[derive(Serialize)]
struct Founded {
    fabric: FabricId,
    file: PathBuf,
}

/// Writes down a fabric to be founded; needs no node.
fn found(
    session: &Session,
    file: &Path,
    validators: Vec<NodeAddress>,
    operators: Vec<Principal>,
) -> Outcome {
    let mut addresses = BTreeMap::new();
    for validator in validators {
        let NodeAddress {
            node,
            relay,
            addresses: at,
        } = validator;
        if relay.is_some() {
            let message = "a founder is reached at its own address, not through a relay";
            return Err(Failure::new(Exit::Usage, message));
        }
        if addresses.insert(node, at).is_some() {
            let message = format!("validator {node} is named twice");
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    let founding = Founding::new(addresses, operators);
    let founding = founding.map_err(|error| Failure::new(Exit::Usage, error))?;
    let written = File::create_new(file).and_then(|mut created| {
        created.write_all(founding.to_text().as_bytes())?;
        created.write_all(b"\n")?;
        created.sync_all()
    });
    written.map_err(|error| {
        let message = format!("cannot write {}: {error}", file.display());
        Failure::new(Exit::Failed, message)
    })?;
    let founded = Founded {
        fabric: founding.fabric(),
        file: file.to_owned(),
    };
    session.show(&founded, || {
        let (fabric, file) = (founded.fabric, founded.file.display());
        format!("{file} founds fabric {fabric}: start each validator with --founding {file}")
    })
}

/// A node on the local network, for programs.
#[derive(Serialize)]
struct Found {
    fabric: FabricId,
    node: NodeId,
    addresses: Vec<SocketAddr>,
}

/// Says who is on the local network; needs no node.
async fn discover(session: &Session) -> Outcome {
    let found = node::nodes_on_lan(DISCOVER_TIME).await;
    let found = found.map_err(|error| Failure::new(Exit::Failed, error))?;
    let found = found.into_iter().map(|node| Found {
        fabric: node.fabric,
        node: node.node,
        addresses: node.addresses,
    });
    let found: Vec<Found> = found.collect();
    session.show(&found, || {
        if found.is_empty() {
            return "no node is on the local network".to_owned();
        }
        let mut table = Table::new(&["FABRIC", "NODE", "ADDRESSES"]);
        for node in &found {
            let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
            table.row(vec![
                node.fabric.to_string(),
                node.node.to_string(),
                addresses.join(", "),
            ]);
        }
        table.render()
    })
}

/// Each address with who says so.
fn addresses(member: &MemberStatus) -> String {
    let each = member.addresses.iter();
    let each = each.map(|known| format!("{} ({})", known.address, known.source));
    each.collect::<Vec<_>>().join(", ")
}

async fn invites(session: &Session) -> Outcome {
    let fabric = status(session).await?;
    session.show(&fabric.invites, || {
        if fabric.invites.is_empty() {
            return "no tickets".to_owned();
        }
        let mut table = Table::new(&["TICKET", "GOOD UNTIL", "USED BY"]);
        for invite in &fabric.invites {
            let used_by = invite.used_by.map(|node| node.short()).unwrap_or_default();
            let until = text::moment(invite.expires_at_ms);
            table.row(vec![invite.ticket.to_string(), until, used_by]);
        }
        table.render()
    })
}

/// Opens a ticket on the ledger and prints it. Its secret is nowhere else.
async fn invite(session: &Session, ttl: Millis, given: Vec<SocketAddr>) -> Outcome {
    let failed = |error| session.failure(error);
    let fabric = session.client().fabric().await.map_err(failed)?.fabric;
    let addresses = match given.is_empty() {
        false => given,
        true => {
            let stoq = session.client().stoq().await.map_err(failed)?;
            let parsed = stoq.addresses.iter().filter_map(|text| text.parse().ok());
            parsed.collect()
        }
    };
    if addresses.is_empty() {
        let message = "this node does not listen for peers, so nobody could join through it";
        return Err(Failure::new(Exit::Refused, message).hint(
            "Start it with `nexus up --stoq IP:PORT`, or name another member with --address.",
        ));
    }
    let expires_at_s = unix_ms().saturating_add(ttl.as_u64()) / 1_000;
    let expires_at_s = u32::try_from(expires_at_s).unwrap_or(u32::MAX);
    let ticket = Ticket::generate(fabric, addresses, expires_at_s)?;
    let expires_at_ms = u64::from(expires_at_s) * 1_000;
    let operation = MembershipOperation::Invite {
        ticket: ticket.key().public(),
        expires_at_ms,
    };
    session.submit(Operation::Membership(operation)).await?;
    let invitation = Invitation {
        ticket: ticket.to_string(),
        expires_at_ms,
        addresses: ticket.addresses.iter().map(ToString::to_string).collect(),
    };
    session.show(&invitation, || invitation.ticket.clone())
}
