//! Space: commitments of hosts, challenges by anybody, and what a failed one costs.

use proofs::{COMMITTED_BYTES_MAX, Challenge, SignedAnswer, SpaceFacts, beacon_of};
use types::{AssetId, AssetType, Digest, NodeId, Principal};

use super::assets;
use crate::allowance::AllowanceRecord;
use crate::anchor;
use crate::asset::AssetRecord;
use crate::asset_refusal::AssetRefusal;
use crate::execute::{BlockContext, Stop};
use crate::key::StateKey;
use crate::outcome::Refusal;
use crate::space::{
    ANSWER_MS, CHALLENGE_PAUSE_MS, KEPT_MAX, KeptContent, OpenChallenge, SpaceOperation,
    SpaceRecord,
};
use crate::state::{Draft, NotLoaded, StateView};
use crate::transaction::Transaction;

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    transaction: &Transaction,
    operation: &SpaceOperation,
) -> Result<(), Stop> {
    match operation {
        SpaceOperation::Challenge { asset } => {
            challenge(draft, block, transaction.principal, asset)
        }
        SpaceOperation::Answer { asset, answer } => {
            answered(draft, block, transaction, asset, answer)
        }
        SpaceOperation::Settle { asset } => settle(draft, block, asset),
    }
}

/// What is known of an asset's space.
pub(super) fn read<V: StateView>(
    draft: &Draft<'_, V>,
    asset: &AssetId,
) -> Result<SpaceRecord, NotLoaded> {
    Ok(draft
        .read(&StateKey::asset_space(asset))?
        .unwrap_or_default())
}

fn write<V: StateView>(draft: &mut Draft<'_, V>, asset: &AssetId, space: &SpaceRecord) {
    let key = StateKey::asset_space(asset);
    if space.is_empty() {
        draft.remove(key);
    } else {
        draft.write(key, space);
    }
}

/// Takes in what the host commits to. The answer that comes with it is to what was kept before; the
/// next challenge asks for this, too.
pub(super) fn keep<V: StateView>(
    draft: &mut Draft<'_, V>,
    asset: &AssetId,
    record: &AssetRecord,
    content: KeptContent,
) -> Result<(), Stop> {
    if asset.asset_type() != AssetType::Storage {
        let found = asset.asset_type();
        return Err(AssetRefusal::NotStorage {
            asset: *asset,
            found,
        }
        .into());
    }
    let mut space = read(draft, asset)?;
    refuse_open(&space, asset)?;
    let bytes = content.bytes;
    let kept = space.kept.iter().map(|kept| kept.bytes);
    let total = kept.fold(bytes, u64::saturating_add);
    let room = record.facts.capacity().0.min(COMMITTED_BYTES_MAX);
    if bytes == 0 || total > room {
        let asset = *asset;
        return Err(AssetRefusal::Room { asset, total, room }.into());
    }
    if space.kept.iter().any(|kept| kept.root == content.root) {
        let (asset, root) = (*asset, content.root);
        return Err(AssetRefusal::Kept { asset, root }.into());
    }
    if space.kept.len() >= KEPT_MAX {
        return Err(assets::too_many(
            "contents that one asset keeps",
            KEPT_MAX as u64,
        ));
    }
    space.kept.push(content);
    write(draft, asset, &space);
    Ok(())
}

/// Lets go of a content. Not while a challenge is open, or whoever lost it would forget it in time.
pub(super) fn forget<V: StateView>(
    draft: &mut Draft<'_, V>,
    asset: &AssetId,
    root: &Digest,
) -> Result<(), Stop> {
    let mut space = read(draft, asset)?;
    refuse_open(&space, asset)?;
    let before = space.kept.len();
    space.kept.retain(|kept| kept.root != *root);
    if space.kept.len() == before {
        let (asset, root) = (*asset, *root);
        return Err(AssetRefusal::NotKept { asset, root }.into());
    }
    write(draft, asset, &space);
    Ok(())
}

/// Refuses what would change the answer to a challenge that is open.
pub(super) fn refuse_open(space: &SpaceRecord, asset: &AssetId) -> Result<(), AssetRefusal> {
    match space.open {
        Some(open) => Err(AssetRefusal::Challenged {
            asset: *asset,
            height: open.height,
        }),
        None => Ok(()),
    }
}

fn challenge<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    asset: &AssetId,
) -> Result<(), Stop> {
    assets::read(draft, asset)?;
    if !assets::has_role(draft, &signer)? {
        return Err(Refusal::UnknownPrincipal(signer).into());
    }
    let mut space = read(draft, asset)?;
    refuse_open(&space, asset)?;
    let until_ms = space.next_challenge_ms;
    if block.time_ms < until_ms {
        let asset = *asset;
        return Err(AssetRefusal::ChallengedLately { asset, until_ms }.into());
    }
    space.open = Some(OpenChallenge {
        height: block.height,
        time_ms: block.time_ms,
    });
    space.next_challenge_ms = block.time_ms.saturating_add(CHALLENGE_PAUSE_MS);
    write(draft, asset, &space);
    Ok(())
}

fn answered<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    transaction: &Transaction,
    asset: &AssetId,
    answer: &SignedAnswer,
) -> Result<(), Stop> {
    let record = assets::read(draft, asset)?;
    let mut space = read(draft, asset)?;
    let Some(open) = space.open else {
        return Err(AssetRefusal::NotChallenged(*asset).into());
    };
    // Blocks are many, answers few: a digest that is forgotten by now was asked for too long ago.
    let digest = anchor::digest_at(draft, open.height)?;
    let Some(digest) = digest else {
        return Err(AssetRefusal::ChallengeOver(*asset).into());
    };
    let beacon = beacon_of(&digest);
    let commitment = space.commitment(&beacon, record.host, asset);
    let facts = SpaceFacts {
        fabric: transaction.fabric,
        challenge: Challenge::draw(&beacon, open.height, &commitment),
        deadline_height: open.deadline(block.height, block.time_ms),
        seen_at_height: block.height,
    };
    answer.verify(&facts).map_err(|error| AssetRefusal::Proof {
        kind: proofs::ProofKind::Space,
        reason: error.to_string(),
    })?;
    space.open = None;
    space.proven_at = Some(block.height);
    space.failed_at = None;
    write(draft, asset, &space);
    Ok(())
}

fn settle<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    asset: &AssetId,
) -> Result<(), Stop> {
    let record = assets::read(draft, asset)?;
    let mut space = read(draft, asset)?;
    let Some(open) = space.open else {
        return Err(AssetRefusal::NotChallenged(*asset).into());
    };
    if !open.is_overdue(block.height, block.time_ms) {
        return Err(AssetRefusal::StillOpen {
            asset: *asset,
            height: open.height.saturating_add(crate::space::ANSWER_BLOCKS),
            time_ms: open.time_ms.saturating_add(ANSWER_MS),
        }
        .into());
    }
    space.open = None;
    space.failed_at = Some(block.height);
    write(draft, asset, &space);
    Ok(forfeit(draft, &record.host)?)
}

/// Takes the whole bond of a node that did not keep its word.
pub(super) fn forfeit<V: StateView>(
    draft: &mut Draft<'_, V>,
    node: &NodeId,
) -> Result<(), NotLoaded> {
    let key = StateKey::allowance(node);
    if let Some(allowance) = draft.read::<AllowanceRecord>(&key)? {
        let bond = 0;
        draft.write(key, &AllowanceRecord { bond, ..allowance });
    }
    Ok(())
}
