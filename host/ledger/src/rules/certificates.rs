//! Certificates: logging them, revoking them, forgetting those that are long over.

use types::{Digest, NodeId, Principal};

use crate::execute::{BlockContext, Stop};
use crate::key::StateKey;
use crate::member::{
    CERTIFICATE_LIFE_MS_MAX, CERTIFICATE_RECORD_GRACE_MS, CERTIFICATES_PER_MEMBER_MAX,
    CLOCK_TOLERANCE_MS, CertificateFact, CertificateOperation, CertificateRecord, MemberRecord,
    Revocation,
};
use crate::outcome::Refusal;
use crate::record::Role;
use crate::rules::membership::{self, check_reason};
use crate::rules::roles;
use crate::state::{Draft, StateView};

pub(super) fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signer: Principal,
    operation: &CertificateOperation,
) -> Result<(), Stop> {
    match operation {
        CertificateOperation::Issue { certificate } => {
            let mut member = membership::member(draft, &signer)?;
            issue(draft, block, signer, &mut member, certificate)?;
            draft.write(StateKey::member(&signer), &member);
            Ok(())
        }
        CertificateOperation::Revoke {
            fingerprint,
            reason,
        } => {
            check_reason(reason)?;
            let key = StateKey::certificate(fingerprint);
            let Some(record) = draft.read::<CertificateRecord>(&key)? else {
                return Err(Refusal::UnknownCertificate(*fingerprint).into());
            };
            if record.node != signer {
                roles::require(draft, &signer, Role::Admin)?;
            }
            revoke(draft, block, fingerprint, reason)
        }
    }
}

/// Logs a certificate of `node` and forgets those of it that are long over.
pub(super) fn issue<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    node: NodeId,
    member: &mut MemberRecord,
    certificate: &CertificateFact,
) -> Result<(), Stop> {
    check_times(block, certificate)?;
    let key = StateKey::certificate(&certificate.fingerprint);
    if draft.read::<CertificateRecord>(&key)?.is_some() {
        return Err(Refusal::CertificateExists(certificate.fingerprint).into());
    }
    forget_old(draft, block, member)?;
    // A node that starts often must not lock itself out. What is dropped is older than what is
    // kept, and peers take no unlogged certificate that is older than a logged one.
    while member.certificates.len() >= CERTIFICATES_PER_MEMBER_MAX {
        let oldest = member.certificates.remove(0);
        draft.remove(StateKey::certificate(&oldest));
    }
    member.certificates.push(certificate.fingerprint);
    let CertificateFact {
        not_before_ms,
        not_after_ms,
        ..
    } = *certificate;
    let record = CertificateRecord {
        node,
        not_before_ms,
        not_after_ms,
        issued_at: block.height,
        revoked: None,
    };
    draft.write(key, &record);
    Ok(())
}

/// Revokes one certificate; revoking it again changes nothing.
pub(super) fn revoke<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    fingerprint: &Digest,
    reason: &str,
) -> Result<(), Stop> {
    let key = StateKey::certificate(fingerprint);
    let Some(mut record) = draft.read::<CertificateRecord>(&key)? else {
        return Ok(());
    };
    if record.revoked.is_none() {
        record.revoked = Some(Revocation {
            at: block.height,
            reason: reason.to_owned(),
        });
        draft.write(key, &record);
    }
    Ok(())
}

/// A certificate must be good now, for a day at most, by ledger time.
fn check_times(block: &BlockContext, certificate: &CertificateFact) -> Result<(), Refusal> {
    let CertificateFact {
        not_before_ms,
        not_after_ms,
        ..
    } = *certificate;
    let block_ms = block.time_ms;
    let clock = |skew_ms| Refusal::Clock { skew_ms, block_ms };
    if not_before_ms > block_ms.saturating_add(CLOCK_TOLERANCE_MS) {
        return Err(clock(signed_difference(not_before_ms, block_ms)));
    }
    if not_after_ms <= block_ms {
        return Err(clock(signed_difference(not_after_ms, block_ms)));
    }
    let life_ms = not_after_ms.saturating_sub(not_before_ms);
    if not_before_ms >= not_after_ms || life_ms > CERTIFICATE_LIFE_MS_MAX {
        return Err(Refusal::CertificateLife {
            life_ms,
            max_ms: CERTIFICATE_LIFE_MS_MAX,
        });
    }
    Ok(())
}

fn signed_difference(later: u64, earlier: u64) -> i64 {
    let difference = i128::from(later) - i128::from(earlier);
    i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
}

fn forget_old<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    member: &mut MemberRecord,
) -> Result<(), Stop> {
    let mut kept = Vec::with_capacity(member.certificates.len());
    for fingerprint in &member.certificates {
        let key = StateKey::certificate(fingerprint);
        let over = match draft.read::<CertificateRecord>(&key)? {
            Some(record) => {
                let until = record
                    .not_after_ms
                    .saturating_add(CERTIFICATE_RECORD_GRACE_MS);
                until < block.time_ms
            }
            None => true,
        };
        if over {
            draft.remove(key);
        } else {
            kept.push(*fingerprint);
        }
    }
    member.certificates = kept;
    Ok(())
}
