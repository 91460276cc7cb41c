//! Absence: reports and their withdrawal, and what a long absence costs a validator. Who reports is a
//! validator, and what fewer than f + 1 of them say has no effect.

use types::{NodeId, Principal};

use crate::execute::{BlockContext, Stop, fabric};
use crate::key::StateKey;
use crate::liveness::{
    ABSENCES_CLEANED_PER_EPOCH, AbsenceRecord, AbsenceReport, AbsencesRecord, AbsentSince,
    LivenessOperation, VOTE_KEPT_MS,
};
use crate::outcome::Refusal;
use crate::rules::membership::member;
use crate::rules::validators;
use crate::schedule::Scheduler;
use crate::state::{Draft, NotLoaded, StateView};

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    operation: LivenessOperation,
) -> Result<(), Stop> {
    let (LivenessOperation::Absent { node } | LivenessOperation::Present { node }) = operation;
    let says_absent = matches!(operation, LivenessOperation::Absent { .. });
    let in_office = fabric(draft)?.validators;
    if signer == node && !says_absent {
        member(draft, &node)?;
        if !forget(draft, &node)? {
            return Err(Refusal::NotReported(node).into());
        }
        return came(draft, block);
    }
    if !in_office.contains(&signer) {
        return Err(Refusal::NotAValidator(signer).into());
    }
    if signer == node {
        return Err(Refusal::AboutItself.into());
    }
    member(draft, &node)?;
    let mut record = read(draft, &node)?;
    let was_gone = record.since(&in_office).is_some();
    let own = record.reports.iter().any(|it| it.witness == signer);
    match (says_absent, own) {
        (true, true) => return Err(Refusal::Reported(node).into()),
        (false, false) => return Err(Refusal::NotReported(node).into()),
        (true, false) => record.reports.push(AbsenceReport {
            witness: signer,
            height: block.height,
            time_ms: block.time_ms,
        }),
        (false, true) => record.reports.retain(|it| it.witness != signer),
    }
    // So that an entry has at most one report for each validator.
    record.reports.retain(|it| in_office.contains(&it.witness));
    write(draft, &node, &record)?;
    match (was_gone, record.since(&in_office).is_some()) {
        (false, true) => went(draft, block, &node),
        (true, false) => came(draft, block),
        _ => Ok(()),
    }
}

/// What is placed on a node that is gone goes to others.
fn went<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    node: &NodeId,
) -> Result<(), Stop> {
    let mut scheduler = Scheduler::open(draft, block)?;
    scheduler.evacuate(draft, node)?;
    Ok(scheduler.close(draft)?)
}

/// A node that is there again takes what has no place. What went to others meanwhile stays there.
fn came<V: StateView>(draft: &mut Draft<'_, V>, block: &BlockContext) -> Result<(), Stop> {
    let mut scheduler = Scheduler::open(draft, block)?;
    scheduler.retry(draft)?;
    Ok(scheduler.close(draft)?)
}

/// Nothing is said any more of a node that is there, or has left. Whether there was anything.
pub(super) fn forget<V: StateView>(
    draft: &mut Draft<'_, V>,
    node: &NodeId,
) -> Result<bool, NotLoaded> {
    let known = !read(draft, node)?.reports.is_empty();
    if known {
        write(draft, node, &AbsenceRecord::default())?;
    }
    Ok(known)
}

/// A step of the last block but one of an epoch: validators that are absent for long are not among
/// the next. The last block is too late: the next validators are read from what it begins with.
pub(crate) fn release_absent<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
) -> Result<(), NotLoaded> {
    let reported = reported(draft)?.reported;
    if reported.is_empty() {
        return Ok(());
    }
    let in_office = fabric(draft)?.validators;
    let mut gone: Vec<(AbsentSince, NodeId)> = Vec::new();
    for validator in in_office.iter().filter(|node| reported.contains(node)) {
        let since = read(draft, validator)?.since(&in_office);
        let is_long =
            |since: &AbsentSince| block.time_ms.saturating_sub(since.time_ms) >= VOTE_KEPT_MS;
        gone.extend(since.filter(is_long).map(|since| (since, *validator)));
    }
    // If not all can go, those go that are away longest.
    gone.sort_unstable();
    for (_, validator) in gone {
        validators::release(draft, &validator)?;
    }
    Ok(())
}

/// A step of an epoch's first block: some entries lose the reports of those not in office.
pub(crate) fn clean<V: StateView>(draft: &mut Draft<'_, V>) -> Result<(), NotLoaded> {
    let mut all = reported(draft)?;
    if all.reported.is_empty() {
        return Ok(());
    }
    let looked_at = all.reported.len().min(ABSENCES_CLEANED_PER_EPOCH);
    all.reported.rotate_left(looked_at);
    let first = all.reported.len() - looked_at;
    let nodes = all.reported.get(first..).unwrap_or_default().to_vec();
    if first > 0 {
        draft.write(StateKey::absences(), &all);
    }
    let in_office = fabric(draft)?.validators;
    for node in nodes {
        let mut record = read(draft, &node)?;
        let before = record.reports.len();
        record.reports.retain(|it| in_office.contains(&it.witness));
        if record.reports.len() != before {
            write(draft, &node, &record)?;
        }
    }
    Ok(())
}

fn read<V: StateView>(draft: &Draft<'_, V>, node: &NodeId) -> Result<AbsenceRecord, NotLoaded> {
    Ok(draft.read(&StateKey::absence(node))?.unwrap_or_default())
}

fn reported<V: StateView>(draft: &Draft<'_, V>) -> Result<AbsencesRecord, NotLoaded> {
    Ok(draft.read(&StateKey::absences())?.unwrap_or_default())
}

/// Keeps the entry and the list of entries in step.
fn write<V: StateView>(
    draft: &mut Draft<'_, V>,
    node: &NodeId,
    record: &AbsenceRecord,
) -> Result<(), NotLoaded> {
    let key = StateKey::absence(node);
    let mut all = reported(draft)?;
    let listed = all.reported.contains(node);
    if record.reports.is_empty() {
        draft.remove(key);
        all.reported.retain(|other| other != node);
    } else {
        draft.write(key, record);
        if !listed {
            all.reported.push(*node);
        }
    }
    if all.reported.is_empty() {
        draft.remove(StateKey::absences());
    } else if listed == record.reports.is_empty() {
        draft.write(StateKey::absences(), &all);
    }
    Ok(())
}
