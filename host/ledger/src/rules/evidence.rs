//! Evidence: who proves that a validator contradicted itself takes its vote.

use types::FabricId;

use crate::evidence::{Contradiction, ConvictionRecord, Evidence, SignedVote};
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
    let Contradiction {
        validator,
        epoch,
        view,
        first,
        second,
    } = contradiction;
    let key = StateKey::conviction(validator);
    if let Some(ConvictionRecord { at, .. }) = draft.read(&key)? {
        let node = *validator;
        return Err(Refusal::Convicted { node, at }.into());
    }
    if !first.vote.contradicts(&second.vote) {
        return Err(Refusal::NoContradiction.into());
    }
    for SignedVote { vote, signature } in [first, second] {
        let bytes = vote.signing_bytes(fabric, *epoch, *view);
        let authentic = validator.verify(&bytes, signature);
        authentic.map_err(|_| Refusal::VoteSignature(*validator))?;
    }
    validators::convict(draft, validator)?;
    let record = ConvictionRecord {
        at: block.height,
        evidence: evidence.clone(),
    };
    draft.write(key, &record);
    Ok(())
}
