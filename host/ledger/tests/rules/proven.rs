//! Makes the four proofs that operations of these tests need, as hosts and signers would.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_ledger::{
    AnchorRecord, AssetOperation, LeaseOperation, ProofParts, Provable, Proven, Role,
};
use proofs::{Answer, Challenge, Content, SignedAnswer, StakeClaim, StakeRole, beacon_of};
use types::{AssetId, AssetType, Digest, LeaseId, Principal, PublicKey, Signature};

use crate::membership::secret;
use crate::{Fabric, block_digest, public};

/// The secret behind a key of these tests.
fn secret_of(key: &PublicKey) -> Option<&'static SigningKey> {
    static KEYS: OnceLock<BTreeMap<PublicKey, SigningKey>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        (0..=255)
            .map(|seed| (public(&secret(seed)), secret(seed)))
            .collect()
    });
    keys.get(key)
}

pub(crate) fn signed(signer: &SigningKey, bytes: &[u8]) -> Signature {
    Signature::from_bytes(signer.sign(bytes).to_bytes())
}

/// An operation of which these tests know what it is about.
pub(crate) trait About: Provable + Clone {
    /// The asset, and what is taken of the signer.
    fn about(&self, fabric: &Fabric, signer: Principal) -> (AssetId, (u64, u64));
}

impl About for AssetOperation {
    fn about(&self, fabric: &Fabric, signer: Principal) -> (AssetId, (u64, u64)) {
        let asset = self.subject(&signer, fabric.nonce_of(&signer));
        (asset, (0, 0))
    }
}

impl About for LeaseOperation {
    fn about(&self, fabric: &Fabric, signer: Principal) -> (AssetId, (u64, u64)) {
        let view = fabric.view();
        let of_lease = |lease: &LeaseId| view.lease(lease).unwrap().map(|lease| lease.asset);
        let asset = match self {
            Self::Grant { asset, .. } => Some(*asset),
            Self::Renew { lease, .. } | Self::Release { lease } => of_lease(lease),
        };
        let nothing = AssetId::from_parts(AssetType::Memory, Digest::of(b"nothing"));
        let asset = asset.unwrap_or(nothing);
        let record = view.asset(&asset).unwrap();
        let bond = record.map_or(0, |record| record.policy.bond);
        (asset, self.takes(&signer, bond))
    }
}

impl Fabric {
    pub(crate) fn nonce_of(&self, signer: &Principal) -> u64 {
        let known = self.view().principal(signer).unwrap();
        known.map_or(0, |known| known.nonce)
    }

    /// The last block, as a proof names it.
    pub(crate) fn anchor(&self) -> AnchorRecord {
        let height = self.height - 1;
        let digest = block_digest(height);
        AnchorRecord { height, digest }
    }

    fn stake_role(&self, signer: &Principal) -> StakeRole {
        let known = self.view().principal(signer).unwrap();
        match known.map(|known| known.role) {
            Some(Role::Admin) => StakeRole::Admin,
            Some(Role::Deployer) => StakeRole::Deployer,
            Some(Role::Viewer) => StakeRole::Viewer,
            Some(Role::Nothing) => StakeRole::Nothing,
            Some(Role::Node) | None => StakeRole::Node,
        }
    }

    /// What the host of an asset answers to the beacon of `anchor`, or the signer, if there is no asset
    /// yet.
    fn answer(&self, signer: &SigningKey, asset: &AssetId, anchor: &AnchorRecord) -> SignedAnswer {
        let record = self.view().asset(asset).unwrap();
        let host = record.map_or_else(|| public(signer), |record| record.host);
        let space = self.view().space_of(asset).unwrap();
        let beacon = beacon_of(&anchor.digest);
        let commitment = space.commitment(&beacon, host, asset);
        let challenge = Challenge::draw(&beacon, anchor.height, &commitment);
        let answer = match commitment.content {
            Content::Filler => Answer::present(self.genesis.fabric_id(), &challenge),
            Content::Kept => self.kept_answer(&challenge),
        };
        let signature = signed(secret_of(&host).unwrap_or(signer), &answer.signing_bytes());
        SignedAnswer { answer, signature }
    }

    pub(crate) fn parts<O: About>(&self, signer: &SigningKey, operation: &O) -> ProofParts {
        let principal = public(signer);
        let (asset, (quota, bond)) = operation.about(self, principal);
        let anchor = self.anchor();
        ProofParts {
            fabric: self.genesis.fabric_id(),
            answer: self.answer(signer, &asset, &anchor),
            claim: StakeClaim {
                principal,
                role: self.stake_role(&principal),
                quota,
                bond,
            },
            calibration: None,
            nonce: self.nonce_of(&principal),
            expires_at: self.height + 10,
            anchor,
        }
    }

    /// `operation` with all that it needs, but for calibrations.
    pub(crate) fn proven<O: About>(&self, signer: &SigningKey, operation: O) -> Proven<O> {
        let parts = self.parts(signer, &operation);
        Proven::seal(operation, parts, |bytes| signed(signer, bytes))
    }
}
