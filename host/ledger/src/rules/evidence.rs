//! Evidence: who proves that a validator contradicted itself takes its vote.

use types::FabricId;

use crate::evidence::{ConvictionRecord, Evidence};
use crate::execute::{BlockContext, Stop};
use crate::key::StateKey;
use crate::outcome::Refusal;
use crate::rules::validators;
use crate::state::{Draft, StateView};

/// Anyone whom the fabric knows may hand it in: it proves itself.
pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    fabric: &FabricId,
    evidence: &Evidence,
) -> Result<(), Stop> {
    let Evidence::Contradiction(contradiction) = evidence;
    let validator = &contradiction.validator;
    let key = StateKey::conviction(validator);
    if let Some(ConvictionRecord { at, .. }) = draft.read(&key)? {
        let node = *validator;
        return Err(Refusal::Convicted { node, at }.into());
    }
    if !contradiction
        .first
        .vote
        .contradicts(&contradiction.second.vote)
    {
        return Err(Refusal::NoContradiction.into());
    }
    let authentic = contradiction.verify_signatures(fabric);
    authentic.map_err(|_| Refusal::VoteSignature(*validator))?;
    validators::convict(draft, validator)?;
    let record = ConvictionRecord {
        at: block.height,
        evidence: evidence.clone(),
    };
    draft.write(key, &record);
    Ok(())
}
