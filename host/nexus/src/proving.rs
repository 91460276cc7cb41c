//! The proofs of an operation on an asset that an operator signs: its own claims, and what the host of the
//! asset answers. Knows no rule of the ledger.

use admin::PrincipalStatus;
use data_encoding::HEXLOWER;
use ledger::{AnchorRecord, ProofParts, Provable};
use proofs::{SignedAnswer, StakeClaim, StakeRole};
use types::AssetId;

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{EXPIRY_HEIGHTS, Session};

/// Everything that is signed beside the operation.
pub(crate) async fn parts(
    session: &Session,
    signer: &PrincipalStatus,
    asset: &AssetId,
    operation: &impl Provable,
) -> Outcome<ProofParts> {
    let client = session.client();
    let failure = |error| session.failure(error);
    let status = client.asset(asset).await.map_err(failure)?;
    let shown = client.asset_answer(asset).await.map_err(failure)?;
    let answer = HEXLOWER.decode(shown.answer.as_bytes());
    let answer = answer.map_err(|error| not_understood(&error))?;
    let answer = SignedAnswer::decode(&answer).map_err(|error| not_understood(&error))?;
    let (quota, bond) = operation.takes(&signer.principal, status.policy.bond);
    Ok(ProofParts {
        fabric: signer.fabric,
        anchor: AnchorRecord {
            height: shown.anchor_height,
            digest: shown.anchor_digest,
        },
        answer,
        claim: StakeClaim {
            principal: signer.principal,
            role: role(&signer.role)?,
            quota,
            bond,
        },
        calibration: None,
        nonce: signer.nonce,
        expires_at: signer.height.saturating_add(EXPIRY_HEIGHTS),
    })
}

fn role(text: &str) -> Outcome<StakeRole> {
    Ok(match text {
        "admin" => StakeRole::Admin,
        "deployer" => StakeRole::Deployer,
        "viewer" => StakeRole::Viewer,
        "node" => StakeRole::Node,
        "nothing" => StakeRole::Nothing,
        other => return Err(not_understood(&format!("`{other}` is no role"))),
    })
}

fn not_understood(error: &impl std::fmt::Display) -> Failure {
    let message = format!("the node's answer is not understood: {error}");
    Failure::new(Exit::Failed, message)
}
