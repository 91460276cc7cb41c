//! `nexus trust`: certificates, and the log that they are in.

use admin::{CertificateStatus, FabricStatus, MemberStatus};
use ledger::{CertificateOperation, Operation};
use types::{Digest, NodeId};

use crate::cli::TrustCommand;
use crate::commands::audit;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::table::{Fields, Table};
use crate::text;

pub(crate) async fn run(session: &Session, command: TrustCommand) -> Outcome {
    match command {
        TrustCommand::List => list(session).await,
        TrustCommand::Show { id } => show(session, id).await,
        TrustCommand::Audit { fabric } => audit::run(session, fabric).await,
        TrustCommand::Rotate => {
            let certificate = session.client().rotate().await;
            let certificate = certificate.map_err(|error| session.failure(error))?;
            session.show(&certificate, || {
                format!(
                    "this node shows {} since height {}",
                    certificate.fingerprint, certificate.issued_at
                )
            })
        }
        TrustCommand::Revoke {
            fingerprint,
            reason,
        } => revoke(session, fingerprint, reason).await,
    }
}

async fn fabric(session: &Session) -> Outcome<FabricStatus> {
    let fabric = session.client().fabric().await;
    fabric.map_err(|error| session.failure(error))
}

async fn list(session: &Session) -> Outcome {
    let fabric = fabric(session).await?;
    let logged = fabric.members.iter().flat_map(|member| {
        let certificates = member.certificates.iter();
        certificates.map(move |certificate| (member.node, certificate))
    });
    let logged: Vec<_> = logged.collect();
    session.show(&logged, || {
        let mut table = Table::new(&["CERTIFICATE", "NODE", "STATE", "GOOD UNTIL", "LOGGED AT"]);
        for (node, certificate) in &logged {
            table.row(vec![
                certificate.fingerprint.to_string(),
                node.short(),
                state(certificate),
                text::moment(certificate.not_after_ms),
                certificate.issued_at.to_string(),
            ]);
        }
        table.render()
    })
}

fn state(certificate: &CertificateStatus) -> String {
    match &certificate.reason {
        Some(reason) if !reason.is_empty() => format!("{} ({reason})", certificate.state),
        _ => certificate.state.clone(),
    }
}

async fn show(session: &Session, node: Option<NodeId>) -> Outcome {
    let node = match node {
        Some(node) => node,
        None => {
            let own = session.client().node().await;
            own.map_err(|error| session.failure(error))?.node
        }
    };
    let fabric = fabric(session).await?;
    let member = fabric.members.iter().find(|member| member.node == node);
    let Some(member) = member else {
        let message = format!("fabric {} knows no node {node}", fabric.fabric.short());
        return Err(Failure::new(Exit::NotFound, message));
    };
    session.show(member, || render(&fabric, member))
}

fn render(fabric: &FabricStatus, member: &MemberStatus) -> String {
    let mut fields = Fields::default();
    fields.add("Node", member.node);
    fields.add("Fabric", fabric.fabric);
    fields.add("Membership", &member.membership);
    if let Some(reason) = &member.reason {
        fields.add("Reason", reason);
    }
    let since = match member.founder {
        true => "the beginning (founder)".to_owned(),
        false => format!("height {}", member.joined_at),
    };
    fields.add("Since", since);
    fields.add("Vote", if member.validator { "yes" } else { "no" });
    let certificate = |certificate: &CertificateStatus| {
        format!(
            "{}\n  {}, {} to {}, logged at height {}",
            certificate.fingerprint,
            state(certificate),
            text::moment(certificate.not_before_ms),
            text::moment(certificate.not_after_ms),
            certificate.issued_at
        )
    };
    fields.list("Certificates", member.certificates.iter().map(certificate));
    fields.render(0)
}

async fn revoke(session: &Session, fingerprint: Digest, reason: String) -> Outcome {
    let revoke = CertificateOperation::Revoke {
        fingerprint,
        reason,
    };
    let report = session.submit(Operation::Certificate(revoke)).await?;
    session.show(&report, || {
        format!("revoked {fingerprint} at height {}", report.height)
    })
}
