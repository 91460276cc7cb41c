//! This node's certificate: made, kept on disk, logged, renewed early. Never knows how it is shown.

use std::path::Path;

use ledger::{CertificateFact, CertificateOperation, Operation};
use stoq::{CertificateDer, Credentials, PrivateKeyDer};
use trust::{CertificateFileError, IssueCertificateError, IssuedCertificate, Rotation, SecretKey};
use types::FabricId;

use crate::clock::unix_ms;
use crate::shared::Shared;
use crate::signer::SignError;

/// No certificate could be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The library or the clock.
    #[error(transparent)]
    Issue(#[from] IssueCertificateError),
    /// Its file.
    #[error(transparent)]
    File(#[from] CertificateFileError),
}

/// A renewal that did not come about; the certificate before stays in use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("the ledger did not take the new certificate: {0}")]
    Ledger(#[from] SignError),
    #[error("the new certificate cannot be shown: {0}")]
    Show(#[from] stoq::CredentialsError),
}

/// The certificate that a start shows: the one on disk while it is good for a while, else a new
/// one, which is written at once.
pub(crate) fn at_start(
    path: &Path,
    identity: &SecretKey,
    fabric: &FabricId,
) -> Result<IssuedCertificate, CredentialsError> {
    let now_ms = unix_ms();
    match IssuedCertificate::load(path) {
        Ok(Some(kept)) if is_fresh(&kept, now_ms) => return Ok(kept),
        Ok(_) => {}
        // It can be made again, which is all that a damaged one needs.
        Err(error) => tracing::warn!("{error}; a new certificate is made"),
    }
    let issued = IssuedCertificate::issue(identity, fabric, true, now_ms)?;
    issued.store(path)?;
    Ok(issued)
}

fn is_fresh(certificate: &IssuedCertificate, now_ms: u64) -> bool {
    let rotation = Rotation::of(certificate.not_before_ms, certificate.not_after_ms);
    certificate.not_before_ms <= now_ms && rotation.wait_ms(now_ms) > 0
}

/// What the ledger is told of a certificate.
pub(crate) const fn fact(certificate: &IssuedCertificate) -> CertificateFact {
    CertificateFact {
        fingerprint: certificate.fingerprint,
        not_before_ms: certificate.not_before_ms,
        not_after_ms: certificate.not_after_ms,
    }
}

/// What STOQ shows of a certificate.
pub(crate) fn shown(certificate: &IssuedCertificate) -> Credentials {
    Credentials {
        chain: vec![CertificateDer::from(certificate.der.clone())],
        key: PrivateKeyDer::Pkcs8(certificate.key_der.to_vec().into()),
    }
}

/// Makes a certificate, has it logged, keeps it and shows it, in this order: what peers are shown
/// is a fact by then, and a crash in between costs one entry on the ledger.
pub(crate) async fn renew(
    shared: &Shared,
    endpoint: &stoq::Endpoint,
    path: &Path,
) -> Result<IssuedCertificate, RenewError> {
    let issued = issue(shared)?;
    log(shared, &issued).await?;
    show(endpoint, path, &issued)?;
    Ok(issued)
}

/// Makes a certificate, keeps it and shows it. It is not logged.
pub(crate) fn replace(
    shared: &Shared,
    endpoint: &stoq::Endpoint,
    path: &Path,
) -> Result<IssuedCertificate, RenewError> {
    let issued = issue(shared)?;
    show(endpoint, path, &issued)?;
    Ok(issued)
}

fn issue(shared: &Shared) -> Result<IssuedCertificate, CredentialsError> {
    let issued = IssuedCertificate::issue(shared.signer.key(), &shared.fabric, true, unix_ms());
    Ok(issued?)
}

fn show(
    endpoint: &stoq::Endpoint,
    path: &Path,
    certificate: &IssuedCertificate,
) -> Result<(), RenewError> {
    certificate.store(path).map_err(CredentialsError::from)?;
    Ok(endpoint.set_credentials(shown(certificate))?)
}

/// Has a certificate logged, unless it is.
pub(crate) async fn log(shared: &Shared, certificate: &IssuedCertificate) -> Result<(), SignError> {
    let fact = fact(certificate);
    let known = shared.state().view.certificate(&fact.fingerprint);
    // State that cannot be read ends the node elsewhere.
    if known.is_ok_and(|known| known.is_some()) {
        return Ok(());
    }
    let issue = CertificateOperation::Issue { certificate: fact };
    shared
        .signer
        .submit(shared, Operation::Certificate(issue))
        .await?;
    Ok(())
}
