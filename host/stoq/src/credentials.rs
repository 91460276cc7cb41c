//! What this node shows to peers, and the proof that it holds the key. Where it comes from is
//! `trust`'s business.

use std::sync::{Arc, RwLock};

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::proto::{CredentialsFrame, credentials_message};

/// A certificate chain, leaf first, and the secret key of the leaf.
#[derive(Debug)]
pub struct Credentials {
    /// One to four certificates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key; it leaves this value only as signatures.
    pub key: PrivateKeyDer<'static>,
}

/// Credentials that cannot be used, or a proof that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// No certificate, too many, or too long.
    #[error("a chain has one to four certificates of together at most 16 KiB")]
    Chain,
    /// The key is of no kind that TLS 1.3 can sign with, or not the leaf's.
    #[error("the key does not fit the certificate: {0}")]
    Key(String),
    /// The leaf is no X.509 certificate.
    #[error("the certificate does not parse")]
    Certificate,
    /// A scheme that this build does not check.
    #[error("signature scheme {0:#06x} is unknown here")]
    Scheme(u16),
    /// The peer does not hold the key, or the proof is of another connection.
    #[error("the signature over the new certificate does not hold")]
    Signature,
}

/// Credentials that were found usable.
pub(crate) fn load(
    credentials: Credentials,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, CredentialsError> {
    let refused = |error: rustls::Error| CredentialsError::Key(error.to_string());
    let key = provider
        .key_provider
        .load_private_key(credentials.key)
        .map_err(refused)?;
    let certified = CertifiedKey::new(credentials.chain, key);
    if !frame_of(&certified).is_bounded() {
        return Err(CredentialsError::Chain);
    }
    certified.keys_match().map_err(refused)?;
    Ok(Arc::new(certified))
}

fn frame_of(certified: &CertifiedKey) -> CredentialsFrame {
    CredentialsFrame {
        chain: certified.cert.iter().map(|der| der.to_vec()).collect(),
        scheme: 0,
        signature: Vec::new(),
    }
}

/// The frame that shows `certified` within a session; `exporter` binds it to the connection.
pub(crate) fn prove(
    certified: &CertifiedKey,
    provider: &CryptoProvider,
    exporter: &[u8; 32],
    from_dialler: bool,
) -> Result<CredentialsFrame, CredentialsError> {
    let refused = |error: rustls::Error| CredentialsError::Key(error.to_string());
    let offered = provider
        .signature_verification_algorithms
        .supported_schemes();
    let signer = certified
        .key
        .choose_scheme(&offered)
        .ok_or_else(|| CredentialsError::Key("no signature scheme fits".to_owned()))?;
    let mut frame = frame_of(certified);
    let message = credentials_message(exporter, from_dialler, &frame.chain);
    frame.signature = signer.sign(&message).map_err(refused)?;
    frame.scheme = signer.scheme().into();
    Ok(frame)
}

/// The chain of `frame`, if its sender holds the leaf's key and meant this connection.
pub(crate) fn verify(
    frame: CredentialsFrame,
    provider: &CryptoProvider,
    exporter: &[u8; 32],
    from_dialler: bool,
) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    if !frame.is_bounded() {
        return Err(CredentialsError::Chain);
    }
    let message = credentials_message(exporter, from_dialler, &frame.chain);
    let scheme = SignatureScheme::from(frame.scheme);
    let known = provider.signature_verification_algorithms.mapping;
    let algorithm = known
        .iter()
        .find(|(known, _)| *known == scheme)
        .and_then(|(_, algorithms)| algorithms.first())
        .ok_or(CredentialsError::Scheme(frame.scheme))?;
    let chain: Vec<CertificateDer<'static>> =
        frame.chain.into_iter().map(CertificateDer::from).collect();
    let leaf = chain.first().ok_or(CredentialsError::Chain)?;
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|_| CredentialsError::Certificate)?;
    leaf.verify_signature(*algorithm, &message, &frame.signature)
        .map_err(|_| CredentialsError::Signature)?;
    Ok(chain)
}

/// The credentials of the moment; every new handshake takes them from here.
#[derive(Debug)]
pub(crate) struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    pub(crate) const fn new(certified: Arc<CertifiedKey>) -> Self {
        Self(RwLock::new(certified))
    }

    pub(crate) fn now(&self) -> Arc<CertifiedKey> {
        let shown = self.0.read();
        shown
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn replace(&self, certified: Arc<CertifiedKey>) {
        let shown = self.0.write();
        *shown.unwrap_or_else(std::sync::PoisonError::into_inner) = certified;
    }
}
