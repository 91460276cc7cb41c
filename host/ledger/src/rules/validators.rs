//! Validators: votes about them, resigning, and the change that begins an epoch.

use types::{NodeId, Principal, PublicKey};

use crate::evidence::ConvictionRecord;
use crate::execute::{Stop, fabric};
use crate::genesis::{Genesis, quorum};
use crate::key::StateKey;
use crate::liveness::VALIDATORS_KEPT;
use crate::outcome::Refusal;
use crate::record::FabricRecord;
use crate::rules::membership::member;
use crate::state::{Draft, NotLoaded, StateView};
use crate::validator::{
    CommitteeRecord, PROPOSED_CHANGES_MAX, ValidatorChange, ValidatorOperation,
};

/// The validators in office and what is to become of them.
struct Committee {
    fabric: FabricRecord,
    record: CommitteeRecord,
}

impl Committee {
    fn read<V: StateView>(draft: &Draft<'_, V>) -> Result<Self, NotLoaded> {
        Ok(Self {
            fabric: fabric(draft)?,
            record: draft.read(&StateKey::committee())?.unwrap_or_default(),
        })
    }

    /// Who votes from the next epoch on, as far as it is decided.
    fn next(&self) -> &[PublicKey] {
        self.record.next.as_ref().unwrap_or(&self.fabric.validators)
    }

    /// Decides what has enough votes now that others are in office. What cannot be done any more is
    /// dropped.
    fn count_again<V: StateView>(&mut self, draft: &Draft<'_, V>) -> Result<(), NotLoaded> {
        let proposed = self.record.proposed.iter();
        let enough = proposed.filter(|(_, votes)| self.fabric.is_enough(votes));
        let enough: Vec<_> = enough.map(|(change, _)| *change).collect();
        for change in enough {
            match check(draft, self, change) {
                Ok(()) => self.decide(change),
                Err(Stop::Refused(_)) => self.record.proposed.retain(|(other, _)| *other != change),
                Err(Stop::NotLoaded(missing)) => return Err(missing),
            }
        }
        Ok(())
    }

    fn decide(&mut self, change: ValidatorChange) {
        let mut next = self.next().to_vec();
        match change {
            ValidatorChange::Add { node } => next.push(node),
            ValidatorChange::Remove { node } => next.retain(|validator| *validator != node),
        }
        next.sort_unstable();
        next.dedup();
        self.record.next = (next != self.fabric.validators).then_some(next);
        self.record.proposed.retain(|(other, _)| *other != change);
    }

    fn write<V: StateView>(&self, draft: &mut Draft<'_, V>) {
        draft.write(StateKey::committee(), &self.record);
    }
}

impl FabricRecord {
    /// Whether `votes` are more than two thirds of those in office.
    fn is_enough(&self, votes: &[PublicKey]) -> bool {
        let count = votes.iter().filter(|vote| self.validators.contains(vote));
        count.count() >= quorum(self.validators.len())
    }
}

/// Whether a node votes, or will.
pub(super) fn has_vote<V: StateView>(
    draft: &Draft<'_, V>,
    node: &NodeId,
) -> Result<bool, NotLoaded> {
    let committee = Committee::read(draft)?;
    Ok(committee.fabric.validators.contains(node) || committee.next().contains(node))
}

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    signer: Principal,
    operation: &ValidatorOperation,
) -> Result<(), Stop> {
    let mut committee = Committee::read(draft)?;
    if !committee.fabric.validators.contains(&signer) {
        return Err(Refusal::NotAValidator(signer).into());
    }
    match *operation {
        ValidatorOperation::Vote(change) => {
            check(draft, &committee, change)?;
            vote(&mut committee, signer, change);
        }
        ValidatorOperation::Resign => {
            let change = ValidatorChange::Remove { node: signer };
            check(draft, &committee, change)?;
            committee.decide(change);
        }
    }
    committee.write(draft);
    Ok(())
}

fn check<V: StateView>(
    draft: &Draft<'_, V>,
    committee: &Committee,
    change: ValidatorChange,
) -> Result<(), Stop> {
    let next = committee.next();
    match change {
        ValidatorChange::Add { node } => {
            member(draft, &node)?;
            let conviction = draft.read::<ConvictionRecord>(&StateKey::conviction(&node))?;
            if let Some(ConvictionRecord { at, .. }) = conviction {
                return Err(Refusal::Convicted { node, at }.into());
            }
            if next.contains(&node) {
                return Err(Refusal::IsValidator(node).into());
            }
            if next.len() >= Genesis::VALIDATORS_MAX {
                return Err(Refusal::TooMany {
                    what: "validators".to_owned(),
                    max: u32::try_from(Genesis::VALIDATORS_MAX).unwrap_or(u32::MAX),
                }
                .into());
            }
        }
        ValidatorChange::Remove { node } => {
            if !next.contains(&node) {
                return Err(Refusal::NotAValidator(node).into());
            }
            if next.len() == 1 {
                return Err(Refusal::LastValidator(node).into());
            }
        }
    }
    Ok(())
}

fn vote(committee: &mut Committee, signer: PublicKey, change: ValidatorChange) {
    let proposed = &mut committee.record.proposed;
    let at = match proposed.iter().position(|(known, _)| *known == change) {
        Some(at) => at,
        None => {
            // A vote that leads nowhere must not keep later ones out.
            if proposed.len() >= PROPOSED_CHANGES_MAX {
                proposed.remove(0);
            }
            proposed.push((change, Vec::new()));
            proposed.len() - 1
        }
    };
    let Some((_, votes)) = proposed.get_mut(at) else {
        return;
    };
    if !votes.contains(&signer) {
        votes.push(signer);
    }
    if committee.fabric.is_enough(votes) {
        committee.decide(change);
    }
}

/// Takes a convicted validator's vote with the next epoch, unless nobody else has one.
pub(super) fn convict<V: StateView>(
    draft: &mut Draft<'_, V>,
    validator: &PublicKey,
) -> Result<(), Stop> {
    let mut committee = Committee::read(draft)?;
    if !committee.fabric.validators.contains(validator) && !committee.next().contains(validator) {
        return Err(Refusal::NotAValidator(*validator).into());
    }
    if committee.next() != [*validator] {
        committee.decide(ValidatorChange::Remove { node: *validator });
        committee.write(draft);
    }
    Ok(())
}

/// Takes an absent validator's vote with the next epoch, if enough others keep theirs.
pub(super) fn release<V: StateView>(
    draft: &mut Draft<'_, V>,
    validator: &PublicKey,
) -> Result<(), NotLoaded> {
    let mut committee = Committee::read(draft)?;
    let next = committee.next();
    if next.len() > VALIDATORS_KEPT && next.contains(validator) {
        committee.decide(ValidatorChange::Remove { node: *validator });
        committee.write(draft);
    }
    Ok(())
}

/// The first step of an epoch: who was decided on is in office.
pub(crate) fn begin_epoch<V: StateView>(draft: &mut Draft<'_, V>) -> Result<(), NotLoaded> {
    let Committee { fabric, mut record } = Committee::read(draft)?;
    let Some(validators) = record.next.take() else {
        return Ok(());
    };
    // Votes of those who left count no more, and changes about nobody who is there are settled.
    record.proposed.retain_mut(|(change, votes)| {
        votes.retain(|vote| validators.contains(vote));
        let (ValidatorChange::Add { node } | ValidatorChange::Remove { node }) = *change;
        let adds = matches!(change, ValidatorChange::Add { .. });
        !votes.is_empty() && adds != validators.contains(&node)
    });
    let mut committee = Committee {
        fabric: FabricRecord {
            validators,
            ..fabric
        },
        record,
    };
    committee.count_again(draft)?;
    if committee.record == CommitteeRecord::default() {
        draft.remove(StateKey::committee());
    } else {
        committee.write(draft);
    }
    draft.write(StateKey::fabric(), &committee.fabric);
    Ok(())
}
