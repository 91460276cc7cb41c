//! Membership: tickets, votes, joining, leaving, evicting.
//!
//! What is placed on a member that goes is placed on others in the same block; a member that comes
//! takes what had no place.

use types::{NodeId, Principal, PublicKey};

use crate::execute::{BlockContext, Stop, fabric};
use crate::genesis::quorum;
use crate::key::StateKey;
use crate::member::{
    Admission, CANDIDATES_MAX, CandidatesRecord, CensusRecord, CertificateFact, INVITE_LIFE_MS_MAX,
    INVITES_MAX, InviteRecord, InvitesRecord, MEMBERS_MAX, MemberRecord, Membership,
    MembershipOperation, REASON_BYTES_MAX, join_bytes,
};
use crate::outcome::Refusal;
use crate::rate::SpentRate;
use crate::record::{PrincipalRecord, Role};
use crate::rules::{assets, certificates, faults, leases, liveness, roles, validators};
use crate::schedule::Scheduler;
use crate::state::{Draft, StateView};
use crate::transaction::Transaction;

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    transaction: &Transaction,
    operation: &MembershipOperation,
) -> Result<(), Stop> {
    let signer = transaction.principal;
    match operation {
        MembershipOperation::Invite {
            ticket,
            expires_at_ms,
        } => invite(draft, block, signer, ticket, *expires_at_ms),
        MembershipOperation::Withdraw { ticket } => withdraw(draft, signer, ticket),
        MembershipOperation::Approve { node } => approve(draft, signer, node),
        MembershipOperation::Join {
            admission,
            certificate,
        } => join(draft, block, transaction, admission, certificate),
        MembershipOperation::Leave => {
            let left = Membership::Left { at: block.height };
            end(draft, block, &signer, left, "the node left")
        }
        MembershipOperation::Evict { node, reason } => {
            roles::require(draft, &signer, Role::Admin)?;
            check_reason(reason)?;
            let evicted = Membership::Evicted {
                at: block.height,
                reason: reason.clone(),
            };
            end(draft, block, node, evicted, reason)
        }
    }
}

/// The record of a node that belongs to the fabric now.
pub(super) fn member<V: StateView>(
    draft: &Draft<'_, V>,
    node: &NodeId,
) -> Result<MemberRecord, Stop> {
    match draft.read::<MemberRecord>(&StateKey::member(node))? {
        Some(record) => match &record.membership {
            Membership::Member => Ok(record),
            Membership::Left { .. } => Err(Refusal::NotAMember(*node).into()),
            Membership::Evicted { reason, .. } => Err(Refusal::Evicted {
                node: *node,
                reason: reason.clone(),
            }
            .into()),
        },
        None if fabric(draft)?.nodes.contains(node) => Ok(MemberRecord::founder()),
        None => Err(Refusal::NotAMember(*node).into()),
    }
}

pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.len() > REASON_BYTES_MAX {
        return Err(Refusal::ReasonTooLong {
            bytes: reason.len() as u64,
            max: REASON_BYTES_MAX as u64,
        });
    }
    Ok(())
}

fn invite<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    by: Principal,
    ticket: &PublicKey,
    expires_at_ms: u64,
) -> Result<(), Stop> {
    roles::require(draft, &by, Role::Admin)?;
    let latest = block.time_ms.saturating_add(INVITE_LIFE_MS_MAX);
    if expires_at_ms <= block.time_ms || expires_at_ms > latest {
        return Err(Refusal::InviteLife {
            expires_at_ms,
            block_ms: block.time_ms,
        }
        .into());
    }
    if draft
        .read::<InviteRecord>(&StateKey::invite(ticket))?
        .is_some()
    {
        return Err(Refusal::InviteExists.into());
    }
    let mut invites: InvitesRecord = draft.read(&StateKey::invites())?.unwrap_or_default();
    let (over, open) = invites
        .open
        .into_iter()
        .partition(|(_, expires_at_ms)| *expires_at_ms < block.time_ms);
    invites.open = open;
    let over: Vec<(PublicKey, u64)> = over;
    for (ticket, _) in over {
        draft.remove(StateKey::invite(&ticket));
    }
    if invites.open.len() >= INVITES_MAX {
        return Err(Refusal::TooMany {
            what: "open tickets".to_owned(),
            max: u32::try_from(INVITES_MAX).unwrap_or(u32::MAX),
        }
        .into());
    }
    invites.open.push((*ticket, expires_at_ms));
    draft.write(StateKey::invites(), &invites);
    let record = InviteRecord {
        expires_at_ms,
        by,
        used_by: None,
    };
    draft.write(StateKey::invite(ticket), &record);
    Ok(())
}

fn withdraw<V: StateView>(
    draft: &mut Draft<'_, V>,
    by: Principal,
    ticket: &PublicKey,
) -> Result<(), Stop> {
    roles::require(draft, &by, Role::Admin)?;
    let key = StateKey::invite(ticket);
    match draft.read::<InviteRecord>(&key)? {
        None => return Err(Refusal::UnknownInvite.into()),
        Some(InviteRecord {
            used_by: Some(node),
            ..
        }) => return Err(Refusal::InviteUsed { by: node }.into()),
        Some(_) => {}
    }
    draft.remove(key);
    let mut invites: InvitesRecord = draft.read(&StateKey::invites())?.unwrap_or_default();
    invites.open.retain(|(open, _)| open != ticket);
    draft.write(StateKey::invites(), &invites);
    Ok(())
}

fn approve<V: StateView>(
    draft: &mut Draft<'_, V>,
    validator: PublicKey,
    node: &NodeId,
) -> Result<(), Stop> {
    if !fabric(draft)?.validators.contains(&validator) {
        return Err(Refusal::NotAValidator(validator).into());
    }
    if member(draft, node).is_ok() {
        return Err(Refusal::IsMember(*node).into());
    }
    let mut record: CandidatesRecord = draft.read(&StateKey::candidates())?.unwrap_or_default();
    match record.candidates.iter_mut().find(|(id, _)| id == node) {
        Some((_, votes)) if votes.contains(&validator) => return Ok(()),
        Some((_, votes)) => votes.push(validator),
        None => {
            // A vote that leads nowhere must not keep later ones out.
            if record.candidates.len() >= CANDIDATES_MAX {
                record.candidates.remove(0);
            }
            record.candidates.push((*node, vec![validator]));
        }
    }
    draft.write(StateKey::candidates(), &record);
    Ok(())
}

fn join<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    transaction: &Transaction,
    admission: &Admission,
    certificate: &CertificateFact,
) -> Result<(), Stop> {
    let node = transaction.principal;
    let known: Option<MemberRecord> = draft.read(&StateKey::member(&node))?;
    match known.map(|record| record.membership) {
        Some(Membership::Member) => return Err(Refusal::IsMember(node).into()),
        Some(Membership::Evicted { reason, .. }) => {
            return Err(Refusal::Evicted { node, reason }.into());
        }
        Some(Membership::Left { .. }) | None => {}
    }
    let principal: Option<PrincipalRecord> = draft.read(&StateKey::principal(&node))?;
    if principal
        .as_ref()
        .is_some_and(|record| record.role != Role::Nothing)
        || fabric(draft)?.nodes.contains(&node)
    {
        return Err(Refusal::IsMember(node).into());
    }
    match admission {
        Admission::Ticket { ticket, signature } => {
            let authentic = ticket.verify(&join_bytes(&transaction.fabric, &node), signature);
            authentic.map_err(|_| Refusal::TicketSignature)?;
            use_ticket(draft, block, ticket, node)?;
        }
        Admission::Vote => use_votes(draft, &node)?,
    }
    count(draft, 1)?;
    let mut record = MemberRecord {
        membership: Membership::Member,
        joined_at: block.height,
        certificates: Vec::new(),
    };
    certificates::issue(draft, block, node, &mut record, certificate)?;
    draft.write(StateKey::member(&node), &record);
    let mut joined = faults::joined(draft)?;
    joined.nodes.push((node, block.height));
    draft.write(StateKey::joined(), &joined);
    // A known signer has paid with its nonce and rate when it was admitted.
    let paid = principal.unwrap_or(PrincipalRecord {
        role: Role::Nothing,
        nonce: 1,
        rate: SpentRate::first(block.time_ms),
    });
    let role = Role::Node;
    draft.write(
        StateKey::principal(&node),
        &PrincipalRecord { role, ..paid },
    );
    let mut scheduler = Scheduler::open(draft, block)?;
    scheduler.retry(draft)?;
    Ok(scheduler.close(draft)?)
}

fn use_ticket<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    ticket: &PublicKey,
    node: NodeId,
) -> Result<(), Stop> {
    let key = StateKey::invite(ticket);
    let Some(mut invite) = draft.read::<InviteRecord>(&key)? else {
        return Err(Refusal::UnknownInvite.into());
    };
    if let Some(by) = invite.used_by {
        return Err(Refusal::InviteUsed { by }.into());
    }
    if invite.expires_at_ms < block.time_ms {
        return Err(Refusal::InviteExpired {
            expires_at_ms: invite.expires_at_ms,
            block_ms: block.time_ms,
        }
        .into());
    }
    invite.used_by = Some(node);
    draft.write(key, &invite);
    Ok(())
}

fn use_votes<V: StateView>(draft: &mut Draft<'_, V>, node: &NodeId) -> Result<(), Stop> {
    let mut record: CandidatesRecord = draft.read(&StateKey::candidates())?.unwrap_or_default();
    let validators = fabric(draft)?.validators;
    let votes = record.votes(node, &validators);
    let needed = quorum(validators.len());
    if !record.approves(node, &validators) {
        return Err(Refusal::Votes {
            votes: u32::try_from(votes).unwrap_or(u32::MAX),
            needed: u32::try_from(needed).unwrap_or(u32::MAX),
        }
        .into());
    }
    record.candidates.retain(|(id, _)| id != node);
    draft.write(StateKey::candidates(), &record);
    Ok(())
}

/// Ends a membership: certificates are revoked, the identity signs no more.
fn end<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    node: &NodeId,
    membership: Membership,
    reason: &str,
) -> Result<(), Stop> {
    let mut record = member(draft, node)?;
    if fabric(draft)?.nodes.contains(node) || validators::has_vote(draft, node)? {
        return Err(Refusal::Founder(*node).into());
    }
    for fingerprint in &record.certificates {
        certificates::revoke(draft, block, fingerprint, reason)?;
    }
    liveness::forget(draft, node)?;
    assets::forget_host(draft, node)?;
    leases::forget_holder(draft, block, node)?;
    record.membership = membership;
    draft.write(StateKey::member(node), &record);
    let mut joined = faults::joined(draft)?;
    joined.nodes.retain(|(other, _)| other != node);
    draft.write(StateKey::joined(), &joined);
    let mut scheduler = Scheduler::open(draft, block)?;
    scheduler.evacuate(draft, node)?;
    scheduler.close(draft)?;
    draft.remove(StateKey::node(node));
    draft.remove(StateKey::node_workloads(node));
    let key = StateKey::principal(node);
    if let Some(principal) = draft.read::<PrincipalRecord>(&key)? {
        let role = Role::Nothing;
        draft.write(key, &PrincipalRecord { role, ..principal });
    }
    count(draft, -1)
}

fn count<V: StateView>(draft: &mut Draft<'_, V>, by: i32) -> Result<(), Stop> {
    let mut census: CensusRecord = draft.read(&StateKey::census())?.unwrap_or_default();
    census.joined = census.joined.saturating_add_signed(by);
    if census.joined > MEMBERS_MAX {
        return Err(Refusal::TooMany {
            what: "members".to_owned(),
            max: MEMBERS_MAX,
        }
        .into());
    }
    draft.write(StateKey::census(), &census);
    Ok(())
}
