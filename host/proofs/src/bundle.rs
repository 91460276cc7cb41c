//! All four proofs of one asset operation: none may be missing, each must be valid, and one signature
//! ties them together. What each claims is its own file's.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use types::{Digest, FabricId};

use crate::answer::{ANSWER_BYTES_MAX, SignedAnswer, SpaceFacts, VerifySpaceError};
use crate::calibration::CALIBRATION_UNITS_MAX;
use crate::encoding::{DecodeProofError, read, to_sign, written};
use crate::stake::{StakeClaim, StakeFacts, StakeProof, VerifyStakeError};
use crate::time::{TimeFacts, TimeProof, VerifyTimeError};
use crate::work::{VerifyWorkError, WorkDemand, WorkProof};

const DOMAIN: &[u8] = b"hypermesh/proofs/bundle/1\0";

/// Most bytes of all four: the largest answer, the largest calibration (receipts are fewer), and 512
/// for the rest. They fit a transaction of the ledger, which is 128 KiB.
pub const PROOFS_BYTES_MAX: usize = ANSWER_BYTES_MAX + CALIBRATION_UNITS_MAX * 32 + 512;

/// One of the four. The order is part of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofKind {
    /// Where.
    Space,
    /// Who.
    Stake,
    /// What.
    Work,
    /// When.
    Time,
}

impl fmt::Display for ProofKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Space => "space",
            Self::Stake => "stake",
            Self::Work => "work",
            Self::Time => "time",
        })
    }
}

/// The proofs that come with one operation; whoever lacks one is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proofs {
    /// Where: the node's answer to a challenge.
    pub space: Option<SignedAnswer>,
    /// Who: the principal's claim and its signature over everything here.
    pub stake: Option<StakeProof>,
    /// What: the operation and what shows it.
    pub work: Option<WorkProof>,
    /// When: after one block, before another, once.
    pub time: Option<TimeProof>,
}

/// Some of the four are not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an asset operation needs all four proofs; missing: {}", listed(.which))]
pub struct MissingProofs {
    /// Which, at least one.
    pub which: BTreeSet<ProofKind>,
}

fn listed(kinds: &BTreeSet<ProofKind>) -> String {
    let names: Vec<_> = kinds.iter().map(ProofKind::to_string).collect();
    names.join(", ")
}

/// What the proofs of one operation are judged by.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// This fabric.
    pub fabric: FabricId,
    /// The operation: [`operation_digest`](crate::operation_digest).
    pub operation: Digest,
    /// For the first.
    pub space: &'a SpaceFacts,
    /// For the second.
    pub stake: &'a StakeFacts,
    /// For the third.
    pub work: WorkDemand<'a>,
    /// For the fourth.
    pub time: TimeFacts<'a>,
}

/// Why the proofs of an operation are refused: the first reason, in the order of what it costs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyProofsError {
    /// Not all are there.
    #[error(transparent)]
    Missing(#[from] MissingProofs),
    /// When.
    #[error("proof of time: {0}")]
    Time(#[from] VerifyTimeError),
    /// Who.
    #[error("proof of stake: {0}")]
    Stake(#[from] VerifyStakeError),
    /// Where.
    #[error("proof of space: {0}")]
    Space(#[from] VerifySpaceError),
    /// What.
    #[error("proof of work: {0}")]
    Work(#[from] VerifyWorkError),
}

/// All four, borrowed.
struct All<'a> {
    space: &'a SignedAnswer,
    stake: &'a StakeProof,
    work: &'a WorkProof,
    time: &'a TimeProof,
}

impl Proofs {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(self)
    }

    /// Reads the wire form; whatever is missing may be missing here.
    ///
    /// # Errors
    /// [`DecodeProofError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeProofError> {
        read("proofs", PROOFS_BYTES_MAX, bytes)
    }

    /// The bytes that the principal signs: all of it but that signature. The operation is among them,
    /// as the work proof names it.
    #[must_use]
    pub fn signing_bytes(&self, fabric: &FabricId) -> Vec<u8> {
        #[derive(Serialize)]
        struct Signed<'a> {
            fabric: &'a FabricId,
            space: &'a Option<SignedAnswer>,
            claim: Option<&'a StakeClaim>,
            work: &'a Option<WorkProof>,
            time: &'a Option<TimeProof>,
        }
        let signed = Signed {
            fabric,
            space: &self.space,
            claim: self.stake.as_ref().map(|stake| &stake.claim),
            work: &self.work,
            time: &self.time,
        };
        to_sign(DOMAIN, &signed)
    }

    /// Checks that all four are there, whatever they say.
    ///
    /// # Errors
    /// [`MissingProofs`] names those that are not.
    pub fn require(&self) -> Result<(), MissingProofs> {
        self.all().map(|_| ())
    }

    /// Checks that all four are there, valid, and signed together by the principal.
    ///
    /// # Errors
    /// [`VerifyProofsError`].
    pub fn verify(&self, facts: &Facts<'_>) -> Result<(), VerifyProofsError> {
        let all = self.all()?;
        all.time.verify(&facts.time)?;
        let StakeProof { claim, signature } = all.stake;
        claim.verify(facts.stake)?;
        let signed = self.signing_bytes(&facts.fabric);
        claim
            .principal
            .verify(&signed, signature)
            .map_err(VerifyStakeError::from)?;
        all.space.verify(facts.space)?;
        all.work.verify(&facts.operation, &facts.work)?;
        Ok(())
    }

    fn all(&self) -> Result<All<'_>, MissingProofs> {
        if let (Some(space), Some(stake), Some(work), Some(time)) =
            (&self.space, &self.stake, &self.work, &self.time)
        {
            return Ok(All {
                space,
                stake,
                work,
                time,
            });
        }
        let there = [
            (ProofKind::Space, self.space.is_some()),
            (ProofKind::Stake, self.stake.is_some()),
            (ProofKind::Work, self.work.is_some()),
            (ProofKind::Time, self.time.is_some()),
        ];
        let missing = there.iter().filter(|(_, is_there)| !is_there);
        let which = missing.map(|(kind, _)| *kind).collect();
        Err(MissingProofs { which })
    }
}
