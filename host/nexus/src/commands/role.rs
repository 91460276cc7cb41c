//! `nexus role`: who may do what in the fabric.

use ledger::{AllowanceRecord, Operation, Role, RoleOperation};
use types::{AssetType, ParseAssetWordError, Principal};

use crate::cli::{GrantedRole, RoleCommand};
use crate::commands::lease;
use crate::exit::{Exit, Failure, Outcome};
use crate::session::Session;
use crate::table::Table;

pub(crate) async fn run(session: &Session, command: RoleCommand) -> Outcome {
    match command {
        RoleCommand::List => list(session).await,
        RoleCommand::Grant { role, principal } => {
            let role = match role {
                GrantedRole::Admin => Role::Admin,
                GrantedRole::Deployer => Role::Deployer,
                GrantedRole::Viewer => Role::Viewer,
            };
            let grant = RoleOperation::Grant { principal, role };
            submit(session, grant, principal, &format!("{role}")).await
        }
        RoleCommand::Revoke { principal } => {
            let revoke = RoleOperation::Revoke { principal };
            submit(session, revoke, principal, "nothing").await
        }
        RoleCommand::Allow {
            principal,
            quotas,
            bond,
        } => {
            let allow = RoleOperation::Allow {
                principal,
                allowance: allowance(&quotas, bond)?,
            };
            let report = session.submit(Operation::Role(allow)).await?;
            session.show(&report, || {
                let height = report.height;
                format!(
                    "{} holds within that since height {height}",
                    principal.short()
                )
            })
        }
    }
}

fn allowance(quotas: &[String], bond: u64) -> Outcome<AllowanceRecord> {
    let mut allowance = AllowanceRecord {
        bond,
        ..AllowanceRecord::default()
    };
    for text in quotas {
        let wrong = |why: &str| Failure::new(Exit::Usage, format!("--quota {text}: {why}"));
        let (kind, amount) = text
            .split_once('=')
            .ok_or_else(|| wrong("expected TYPE=AMOUNT"))?;
        let kind: AssetType = kind
            .parse()
            .map_err(|error: ParseAssetWordError| wrong(&error.to_string()))?;
        let amount = lease::amount_of(amount, kind)?;
        let places = AssetType::ALL.iter().zip(&mut allowance.quota);
        for (_, place) in places.filter(|(other, _)| **other == kind) {
            *place = Some(amount);
        }
    }
    Ok(allowance)
}

async fn list(session: &Session) -> Outcome {
    let roles = session.client().roles().await;
    let roles = roles.map_err(|error| session.failure(error))?;
    session.show(&roles, || {
        let mut table = Table::new(&["PRINCIPAL", "ROLE"]);
        for status in &roles.principals {
            table.row(vec![status.principal.to_string(), status.role.clone()]);
        }
        table.render()
    })
}

async fn submit(
    session: &Session,
    operation: RoleOperation,
    principal: Principal,
    role: &str,
) -> Outcome {
    let report = session.submit(Operation::Role(operation)).await?;
    session.show(&report, || {
        format!(
            "{} is {role} since height {}",
            principal.short(),
            report.height
        )
    })
}
