//! Upgrades: votes about the version of the rules, and the block from which on it is in force.
//! Never decides what a version changes.

use types::{Principal, PublicKey};

use crate::execute::{BlockContext, Stop, fabric};
use crate::genesis::quorum;
use crate::key::StateKey;
use crate::outcome::Refusal;
use crate::state::{Draft, NotLoaded, StateView};
use crate::upgrade::{RULES_LEAD_BLOCKS_MIN, RulesChange, RulesOperation, RulesRecord};

fn read<V: StateView>(draft: &Draft<'_, V>) -> Result<RulesRecord, NotLoaded> {
    Ok(draft.read(&StateKey::rules())?.unwrap_or_default())
}

/// The first step of every block: puts the rules in force that were decided on for its height.
pub(crate) fn begin_block<V: StateView>(
    draft: &mut Draft<'_, V>,
    height: u64,
) -> Result<RulesRecord, NotLoaded> {
    let mut record = read(draft)?;
    let (version, since) = record.at(height);
    if version != record.version {
        record = RulesRecord {
            version,
            since,
            next: None,
            votes: Vec::new(),
        };
        draft.write(StateKey::rules(), &record);
    }
    Ok(record)
}

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    operation: RulesOperation,
) -> Result<(), Stop> {
    let in_office = fabric(draft)?.validators;
    if !in_office.contains(&signer) {
        return Err(Refusal::NotAValidator(signer).into());
    }
    let mut record = read(draft)?;
    record.votes.retain(|(voter, _)| in_office.contains(voter));
    match operation {
        RulesOperation::Vote(change) => check(&record, block, change)?,
        RulesOperation::Cancel if record.next.is_none() => {
            let voted = record.votes.len();
            record.votes.retain(|(voter, _)| *voter != signer);
            if record.votes.len() == voted {
                return Err(Refusal::NoRulesDecided.into());
            }
            draft.write(StateKey::rules(), &record);
            return Ok(());
        }
        RulesOperation::Cancel => {}
    }
    vote(&mut record, &in_office, signer, operation);
    draft.write(StateKey::rules(), &record);
    Ok(())
}

fn check(record: &RulesRecord, block: &BlockContext, change: RulesChange) -> Result<(), Stop> {
    let RulesChange { version, height } = change;
    let expected = record.version.saturating_add(1);
    if version != expected {
        return Err(Refusal::RulesVersion { version, expected }.into());
    }
    let least = block.height.saturating_add(RULES_LEAD_BLOCKS_MIN);
    if height < least {
        return Err(Refusal::RulesHeight { height, least }.into());
    }
    if record.next == Some(change) {
        return Err(Refusal::RulesDecided { version, height }.into());
    }
    Ok(())
}

fn vote(
    record: &mut RulesRecord,
    in_office: &[PublicKey],
    signer: PublicKey,
    operation: RulesOperation,
) {
    record.votes.retain(|(voter, _)| *voter != signer);
    let at = record.votes.partition_point(|(voter, _)| *voter < signer);
    record.votes.insert(at, (signer, operation));
    let same = record.votes.iter().filter(|(_, vote)| *vote == operation);
    if same.count() < quorum(in_office.len()) {
        return;
    }
    record.votes.clear();
    record.next = match operation {
        RulesOperation::Vote(change) => Some(change),
        RulesOperation::Cancel => None,
    };
}
