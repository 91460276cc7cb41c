//! The four proofs of simulated operations on assets: hosts answer at once, as whoever signs here has every
//! key. Judges nothing.

use ed25519_dalek::{Signer as _, SigningKey};
use ledger::{
    AnchorRecord, LeaseOperation, Operation, ProofParts, Provable, Proven, View, stake_role,
};
use proofs::{
    Answer, Challenge, Commitment, EXPIRY_BLOCKS_MAX, SignedAnswer, StakeClaim, StakeRole,
    beacon_of,
};
use types::{AssetId, FabricId, NodeId, PublicKey, Signature};

/// An operation that has no proofs yet: whoever signs it puts them in.
pub(crate) fn bare<O: Provable>(operation: O) -> Operation {
    O::admitted(Proven {
        operation,
        proofs: Box::default(),
    })
}

/// What whoever signs knows.
pub(crate) struct Signing<'a> {
    pub(crate) view: &'a View,
    pub(crate) fabric: FabricId,
    pub(crate) key: &'a SigningKey,
    pub(crate) nonce: u64,
    /// A recent block; without one the operation stays bare, and is refused.
    pub(crate) anchor: Option<AnchorRecord>,
}

impl Signing<'_> {
    /// `operation` with its proofs, if it is one on an asset that is known here.
    pub(crate) fn proven(
        &self,
        operation: Operation,
        key_of: impl Fn(&NodeId) -> Option<SigningKey>,
    ) -> Operation {
        match operation {
            Operation::Asset(proven) => {
                let asset = proven.operation.subject(&self.me(), self.nonce);
                self.sealed(proven.operation, asset, key_of)
            }
            Operation::Lease(proven) => match self.leased(&proven.operation) {
                Some(asset) => self.sealed(proven.operation, asset, key_of),
                None => Operation::Lease(proven),
            },
            other => other,
        }
    }

    fn me(&self) -> PublicKey {
        PublicKey::from_bytes(self.key.verifying_key().to_bytes())
    }

    fn leased(&self, operation: &LeaseOperation) -> Option<AssetId> {
        match operation {
            LeaseOperation::Grant { asset, .. } => Some(*asset),
            LeaseOperation::Renew { lease, .. } | LeaseOperation::Release { lease } => {
                let lease = self.view.lease(lease).ok()??;
                Some(lease.asset)
            }
        }
    }

    fn sealed<O: Provable>(
        &self,
        operation: O,
        asset: AssetId,
        key_of: impl Fn(&NodeId) -> Option<SigningKey>,
    ) -> Operation {
        let record = self.view.asset(&asset).ok().flatten();
        let host = record
            .as_ref()
            .map_or_else(|| self.me(), |record| record.host);
        let (Some(anchor), Some(host_key)) = (self.anchor, key_of(&host)) else {
            return bare(operation);
        };
        let commitment = Commitment::presence(host, *asset.digest());
        let challenge = Challenge::draw(&beacon_of(&anchor.digest), anchor.height, &commitment);
        let answer = Answer::present(self.fabric, &challenge);
        let signature = signed(&host_key, &answer.signing_bytes());
        let bond = record.map_or(0, |record| record.policy.bond);
        let (quota, bond) = operation.takes(&self.me(), bond);
        let parts = ProofParts {
            fabric: self.fabric,
            anchor,
            answer: SignedAnswer { answer, signature },
            claim: StakeClaim {
                principal: self.me(),
                role: self.role(),
                quota,
                bond,
            },
            calibration: None,
            nonce: self.nonce,
            expires_at: anchor.height.saturating_add(EXPIRY_BLOCKS_MAX),
        };
        O::admitted(Proven::seal(operation, parts, |bytes| {
            signed(self.key, bytes)
        }))
    }

    fn role(&self) -> StakeRole {
        let known = self.view.principal(&self.me()).ok().flatten();
        known.map_or(StakeRole::Node, |known| stake_role(known.role))
    }
}

fn signed(key: &SigningKey, bytes: &[u8]) -> Signature {
    Signature::from_bytes(key.sign(bytes).to_bytes())
}
