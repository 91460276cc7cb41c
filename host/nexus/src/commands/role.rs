//! `nexus role`: who may do what in the fabric.

use ledger::{Operation, Role, RoleOperation};
use types::Principal;

use crate::cli::{GrantedRole, RoleCommand};
use crate::exit::Outcome;
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
    }
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
