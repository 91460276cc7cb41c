//! The four proofs of an operation on an asset: what each must show, taken from the state before the
//! operation. Judges no operation, and checks no proof itself.

use std::collections::BTreeMap;

use proofs::{
    CalibrationCheck, CalibrationFacts, CalibrationSeed, Challenge, Facts, MissingProofs, Proofs,
    SpaceFacts, StakeFacts, StakeRole, TimeFacts, VerifyProofsError, WorkDemand, beacon_of,
};
use types::{AssetId, Digest, NodeId};

use super::roles;
use crate::anchor;
use crate::asset_refusal::AssetRefusal;
use crate::execute::{BlockContext, Stop};
use crate::key::StateKey;
use crate::proven::{Provable, Proven};
use crate::record::Role;
use crate::space::SpaceRecord;
use crate::state::{Draft, NotLoaded, StateView};
use crate::transaction::Transaction;

/// Units of the calibration that a cpu is registered and measured with: some 130 ms of one core, of
/// which a validator computes an eighth again.
pub const CALIBRATION_UNITS: u16 = 64;

/// What the proofs of one operation must show.
#[derive(Debug)]
pub(super) struct Demand {
    host: NodeId,
    asset: AssetId,
    space: SpaceRecord,
    needs_role: Option<StakeRole>,
    calibrated: bool,
    quota: Spent,
    bond: Spent,
}

/// How much an operation takes of what is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) taken: u64,
    pub(super) left: u64,
}

impl Spent {
    const NOTHING: Self = Self {
        taken: 0,
        left: u64::MAX,
    };
}

impl Demand {
    /// Of an operation on an asset of `host` that takes nothing of the signer.
    pub(super) fn of<V: StateView>(
        draft: &Draft<'_, V>,
        host: NodeId,
        asset: &AssetId,
    ) -> Result<Self, NotLoaded> {
        let space = draft.read(&StateKey::asset_space(asset))?;
        Ok(Self {
            host,
            asset: *asset,
            space: space.unwrap_or_default(),
            needs_role: None,
            calibrated: false,
            quota: Spent::NOTHING,
            bond: Spent::NOTHING,
        })
    }

    /// That only a member node does.
    pub(super) const fn by_node(mut self) -> Self {
        self.needs_role = Some(StakeRole::Node);
        self
    }

    /// That shows what the host's processor can do.
    pub(super) const fn calibrated(mut self, calibrated: bool) -> Self {
        self.calibrated = calibrated;
        self
    }

    /// That takes of the signer's quota and ties its bond.
    pub(super) const fn taking(mut self, quota: Spent, bond: Spent) -> Self {
        self.quota = quota;
        self.bond = bond;
        self
    }
}

/// Refuses an operation that lacks one of the four, before anything is looked at.
pub(super) fn require(proofs: &Proofs) -> Result<(), AssetRefusal> {
    let missing = |missing: MissingProofs| AssetRefusal::MissingProofs(missing.which);
    proofs.require().map_err(missing)
}

/// Checks all four. Comes last: it costs most, and executing starts again for each entry that is
/// read, so everything is read before.
pub(super) fn check<V: StateView, O: Provable>(
    draft: &Draft<'_, V>,
    block: &BlockContext,
    transaction: &Transaction,
    proven: &Proven<O>,
    demand: &Demand,
) -> Result<(), Stop> {
    let proofs = &proven.proofs;
    let anchored_at = proofs.time.map_or(0, |time| time.anchor_height);
    let anchor = anchor::digest_at(draft, anchored_at)?;
    let signer = transaction.principal;
    let role = roles::role_of(draft, &signer)?.map(|known| stake_role(known.role));
    let beacon = beacon_of(&anchor.unwrap_or_else(|| Digest::of(&[])));
    let space = space_facts(transaction, block, demand, (anchored_at, &beacon));
    let stake = StakeFacts {
        principal: signer,
        role,
        quota_left: demand.quota.left,
        bond_left: demand.bond.left,
        needs_role: demand.needs_role,
        needs_quota: demand.quota.taken,
        needs_bond: demand.bond.taken,
    };
    let calibration = calibration_facts(block, demand, (anchored_at, &beacon));
    let facts = Facts {
        fabric: transaction.fabric,
        operation: proven.operation.operation_digest(&transaction.fabric),
        space: &space,
        stake: &stake,
        work: match demand.calibrated {
            true => WorkDemand::Calibration(&calibration),
            false => WorkDemand::Operation,
        },
        time: TimeFacts {
            now_height: block.height,
            anchors: &anchor
                .map(|digest| (anchored_at, digest))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            next_nonce: transaction.nonce,
        },
    };
    proofs
        .verify(&facts)
        .map_err(|error| refusal(&error).into())
}

/// The host answers the beacon of the anchor: it was there after that block.
fn space_facts(
    transaction: &Transaction,
    block: &BlockContext,
    demand: &Demand,
    (anchored_at, beacon): (u64, &Digest),
) -> SpaceFacts {
    let commitment = demand.space.commitment(beacon, demand.host, &demand.asset);
    SpaceFacts {
        fabric: transaction.fabric,
        challenge: Challenge::draw(beacon, anchored_at, &commitment),
        deadline_height: anchored_at.saturating_add(proofs::ANCHOR_BLOCKS_MAX),
        seen_at_height: block.height,
    }
}

/// The samples are drawn by the block before this one, which nobody but its leader knew when the
/// calibration was computed.
fn calibration_facts(
    block: &BlockContext,
    demand: &Demand,
    (anchored_at, beacon): (u64, &Digest),
) -> CalibrationFacts {
    let digest = demand.asset.digest();
    CalibrationFacts {
        seed: CalibrationSeed::draw(beacon, anchored_at, &demand.host, digest),
        units: CALIBRATION_UNITS,
        deadline_height: anchored_at.saturating_add(proofs::ANCHOR_BLOCKS_MAX),
        seen_at_height: block.height,
        check: CalibrationCheck::Sampled {
            beacon: beacon_of(&block.parent),
        },
    }
}

/// As what a principal of this role acts.
#[must_use]
pub const fn stake_role(role: Role) -> StakeRole {
    match role {
        Role::Admin => StakeRole::Admin,
        Role::Deployer => StakeRole::Deployer,
        Role::Viewer => StakeRole::Viewer,
        Role::Node => StakeRole::Node,
        Role::Nothing => StakeRole::Nothing,
    }
}

fn refusal(error: &VerifyProofsError) -> AssetRefusal {
    use proofs::ProofKind;
    let (kind, reason) = match error {
        VerifyProofsError::Missing(missing) => {
            return AssetRefusal::MissingProofs(missing.which.clone());
        }
        VerifyProofsError::Time(error) => (ProofKind::Time, error.to_string()),
        VerifyProofsError::Stake(error) => (ProofKind::Stake, error.to_string()),
        VerifyProofsError::Space(error) => (ProofKind::Space, error.to_string()),
        VerifyProofsError::Work(error) => (ProofKind::Work, error.to_string()),
    };
    AssetRefusal::Proof { kind, reason }
}
