//! Roles: who may sign what, and how roles are given and taken.

use types::Principal;

use crate::allowance::AllowanceRecord;
use crate::execute::{Stop, fabric};
use crate::key::StateKey;
use crate::member::{CensusRecord, ROLES_MAX, RoleOperation};
use crate::outcome::Refusal;
use crate::record::{PrincipalRecord, Role};
use crate::state::{Draft, NotLoaded, StateView};
use crate::transaction::{Operation, Transaction};

/// What a signer is, as far as the rules ask.
pub(crate) fn role_of<V: StateView>(
    draft: &Draft<'_, V>,
    principal: &Principal,
) -> Result<Option<PrincipalRecord>, NotLoaded> {
    if let Some(record) = draft.read::<PrincipalRecord>(&StateKey::principal(principal))? {
        return Ok(Some(record));
    }
    // Founding nodes sign, too; they get a record with their first transaction.
    let founder = fabric(draft)?.nodes.contains(principal);
    Ok(founder.then(|| PrincipalRecord::new(Role::Node)))
}

/// Refuses an operation that the signer's role does not cover.
pub(super) fn check<V: StateView>(
    draft: &Draft<'_, V>,
    transaction: &Transaction,
) -> Result<(), Stop> {
    let needed = match &transaction.operation {
        // These look at more than the role.
        Operation::Membership(_)
        | Operation::Certificate(_)
        | Operation::Validator(_)
        | Operation::Evidence(_)
        | Operation::Record(_)
        | Operation::Rules(_)
        | Operation::Liveness(_)
        | Operation::Asset(_)
        | Operation::Lease(_)
        | Operation::Space(_)
        | Operation::Fault(_)
        | Operation::Node(_) => return Ok(()),
        Operation::Role(_) => Role::Admin,
        _ => Role::Deployer,
    };
    require(draft, &transaction.principal, needed)
}

/// Refuses a signer whose role does not cover `needed`.
pub(super) fn require<V: StateView>(
    draft: &Draft<'_, V>,
    principal: &Principal,
    needed: Role,
) -> Result<(), Stop> {
    let Some(record) = role_of(draft, principal)? else {
        return Err(Refusal::UnknownPrincipal(*principal).into());
    };
    if record.role.covers(needed) {
        return Ok(());
    }
    Err(Refusal::Role {
        principal: *principal,
        role: record.role,
        needed,
    }
    .into())
}

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    signer: Principal,
    operation: &RoleOperation,
) -> Result<(), Stop> {
    let (principal, role) = match *operation {
        RoleOperation::Grant { principal, role } => {
            if !matches!(role, Role::Admin | Role::Deployer | Role::Viewer) {
                return Err(Refusal::NotGrantable(role).into());
            }
            (principal, role)
        }
        RoleOperation::Revoke { principal } => (principal, Role::Nothing),
        RoleOperation::Allow {
            principal,
            allowance,
        } => return allow(draft, &principal, &allowance),
    };
    if principal == signer {
        return Err(Refusal::OwnRole.into());
    }
    let record = match role_of(draft, &principal)? {
        Some(PrincipalRecord {
            role: Role::Node, ..
        }) => return Err(Refusal::IsNode(principal).into()),
        Some(record) => PrincipalRecord { role, ..record },
        None if role == Role::Nothing => return Err(Refusal::UnknownPrincipal(principal).into()),
        None => {
            count(draft)?;
            PrincipalRecord::new(role)
        }
    };
    draft.write(StateKey::principal(&principal), &record);
    Ok(())
}

/// Also of nodes, and of the signer itself: an allowance gives no right that a role does not.
fn allow<V: StateView>(
    draft: &mut Draft<'_, V>,
    principal: &Principal,
    allowance: &AllowanceRecord,
) -> Result<(), Stop> {
    if role_of(draft, principal)?.is_none() {
        return Err(Refusal::UnknownPrincipal(*principal).into());
    }
    let key = StateKey::allowance(principal);
    if *allowance == AllowanceRecord::default() {
        draft.remove(key);
    } else {
        draft.write(key, allowance);
    }
    Ok(())
}

fn count<V: StateView>(draft: &mut Draft<'_, V>) -> Result<(), Stop> {
    let mut census: CensusRecord = draft.read(&StateKey::census())?.unwrap_or_default();
    if census.roles >= ROLES_MAX {
        return Err(Refusal::TooMany {
            what: "principals with a role".to_owned(),
            max: ROLES_MAX,
        }
        .into());
    }
    census.roles += 1;
    draft.write(StateKey::census(), &census);
    Ok(())
}
