//! TLS certificates of nodes and operators: issuing and reading them. Whether one is *good* is not
//! decided here; see [`crate::judge`].
//!
//! A certificate has an ed25519 key of its own and is signed by the ed25519 identity that its only
//! subject alternative name states, as a SPIFFE id: `spiffe://FABRIC/node/KEY` or
//! `spiffe://FABRIC/operator/KEY`, both in hex. There is no other issuer and no chain.

use std::fmt;
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
    SigningKey,
};
use time::OffsetDateTime;
use types::{Digest, FabricId, NodeId, Principal, PublicKey, Signature};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};
use zeroize::Zeroizing;

use crate::identity::SecretKey;

/// Life of a certificate, Unix milliseconds from its beginning to its end.
pub const CERTIFICATE_LIFE_MS: u64 = 24 * 60 * 60 * 1000;
/// How much earlier than now a certificate begins, so that a peer whose clock is behind takes it.
const BACKDATE_MS: u64 = 2 * 60 * 1000;
/// Largest certificate that is read: ours have about 500 bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;

/// Algorithm identifier 1.3.101.112, then the header of a bit string of 64 bytes.
const ED25519_SIGNATURE: [u8; 10] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x41, 0x00];

/// Whom a certificate speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A node, by its identity.
    Node(NodeId),
    /// An operator, by the key that signs transactions.
    Operator(Principal),
}

impl Subject {
    /// The identity that must have signed the certificate.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        match self {
            Self::Node(key) | Self::Operator(key) => key,
        }
    }

    fn uri(&self, fabric: &FabricId) -> String {
        let kind = match self {
            Self::Node(_) => "node",
            Self::Operator(_) => "operator",
        };
        format!("spiffe://{}/{kind}/{}", fabric.hex(), self.key())
    }

    fn parse(uri: &str) -> Option<(FabricId, Self)> {
        let mut parts = uri.strip_prefix("spiffe://")?.split('/');
        let fabric = format!("blake3:{}", parts.next()?).parse().ok()?;
        let (kind, key) = (parts.next()?, parts.next()?.parse().ok()?);
        let subject = match kind {
            "node" => Self::Node(key),
            "operator" => Self::Operator(key),
            _ => return None,
        };
        parts.next().is_none().then_some((fabric, subject))
    }
}

/// A new certificate with its secret key.
pub struct IssuedCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The secret key, PKCS#8 DER; wiped when dropped.
    pub key_der: Zeroizing<Vec<u8>>,
    /// BLAKE3 of `der`.
    pub fingerprint: Digest,
    /// First moment at which it is good, Unix milliseconds.
    pub not_before_ms: u64,
    /// Last moment at which it is good, Unix milliseconds.
    pub not_after_ms: u64,
}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedCertificate({})", self.fingerprint)
    }
}

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueCertificateError {
    /// The clock shows a time that X.509 cannot express.
    #[error("the clock shows {now_ms} ms since 1970, which no certificate can carry")]
    Clock {
        /// What it shows.
        now_ms: u64,
    },
    /// The library refused.
    #[error("the certificate cannot be made: {0}")]
    Library(String),
}

/// What a peer's certificate says, once its form and its signature are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// The fabric that it is for.
    pub fabric: FabricId,
    /// Whom it speaks for.
    pub subject: Subject,
    /// BLAKE3 of its DER bytes.
    pub fingerprint: Digest,
    /// First moment at which it is good, Unix milliseconds.
    pub not_before_ms: u64,
    /// Last moment at which it is good, Unix milliseconds.
    pub not_after_ms: u64,
}

/// Bytes that are no certificate of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadCertificateError {
    /// Over the bound.
    #[error("the certificate has {bytes} bytes, at most {CERTIFICATE_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not an X.509 certificate of version 3.
    #[error("the certificate is not X.509 version 3 in DER")]
    Malformed,
    /// It does not say whose it is, in our form and only once.
    #[error("the certificate does not name one node or operator of one fabric")]
    Subject,
    /// The identity that it names did not sign it.
    #[error("the certificate was not signed by {key}, whose it claims to be")]
    OtherIdentity {
        /// Whose it claims to be.
        key: PublicKey,
    },
    /// It has an extension that must be understood and is not.
    #[error("the certificate has a critical extension that is not known here")]
    Extension,
}

impl IssuedCertificate {
    /// Makes a certificate for `subject`, whose key is `identity`, good from now on for a day.
    ///
    /// # Errors
    /// [`IssueCertificateError`] if the clock is absurd or the system has no randomness.
    pub fn issue(
        identity: &SecretKey,
        fabric: &FabricId,
        is_node: bool,
        now_ms: u64,
    ) -> Result<Self, IssueCertificateError> {
        let key = identity.public();
        let subject = if is_node {
            Subject::Node(key)
        } else {
            Subject::Operator(key)
        };
        // X.509 counts seconds.
        let not_before_ms = now_ms.saturating_sub(BACKDATE_MS) / 1000 * 1000;
        let not_after_ms = not_before_ms.saturating_add(CERTIFICATE_LIFE_MS);
        let at = |ms: u64| {
            OffsetDateTime::UNIX_EPOCH
                .checked_add(Duration::from_millis(ms).try_into().ok()?)
                .filter(|at| (1970..=9999).contains(&at.year()))
        };
        let times = at(not_before_ms).zip(at(not_after_ms));
        let (not_before, not_after) = times.ok_or(IssueCertificateError::Clock { now_ms })?;
        let library = |error: rcgen::Error| IssueCertificateError::Library(error.to_string());
        let mut serial = [0; 16];
        getrandom::fill(&mut serial)
            .map_err(|error| IssueCertificateError::Library(error.to_string()))?;
        // A serial number is positive (RFC 5280, section 4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        let uri = subject.uri(fabric).try_into().map_err(library)?;
        let mut params = CertificateParams::default();
        params.not_before = not_before;
        params.not_after = not_after;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let leaf = KeyPair::generate_for(&PKCS_ED25519).map_err(library)?;
        let issuer = Issuer::new(issuer_params(&key), Signer::new(identity));
        let certificate = params.signed_by(&leaf, &issuer).map_err(library)?;
        let der = certificate.der().to_vec();
        Ok(Self {
            fingerprint: Digest::of(&der),
            der,
            key_der: Zeroizing::new(leaf.serialize_der()),
            not_before_ms,
            not_after_ms,
        })
    }
}

fn issuer_params(key: &PublicKey) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    // People read this in other tools; we do not.
    name.push(rcgen::DnType::CommonName, key.to_string());
    params.distinguished_name = name;
    params
}

/// The identity as the library's signing key.
struct Signer<'a> {
    key: &'a SecretKey,
    public: [u8; 32],
}

impl<'a> Signer<'a> {
    fn new(key: &'a SecretKey) -> Self {
        let public = *key.public().as_bytes();
        Self { key, public }
    }
}

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign(message).as_bytes().to_vec())
    }
}

impl PresentedCertificate {
    /// Reads a certificate and checks that the identity that it names signed it. The TLS handshake
    /// has shown, or will show, that the peer holds the certificate's own key.
    ///
    /// # Errors
    /// [`ReadCertificateError`]; such a peer is never heard.
    pub fn read(der: &[u8]) -> Result<Self, ReadCertificateError> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(ReadCertificateError::TooLarge { bytes: der.len() });
        }
        let malformed = |_| ReadCertificateError::Malformed;
        let (rest, certificate) = X509Certificate::from_der(der).map_err(malformed)?;
        if !rest.is_empty() || certificate.version() != X509Version::V3 {
            return Err(ReadCertificateError::Malformed);
        }
        let (fabric, subject) = named(&certificate)?;
        let key = *subject.key();
        let other = ReadCertificateError::OtherIdentity { key };
        let signed = certificate.tbs_certificate.as_ref();
        let signature = signature_around(der, signed).ok_or(ReadCertificateError::Malformed)?;
        key.verify(signed, &signature).map_err(|_| other)?;
        let validity = certificate.validity();
        let ms = |time: x509_parser::time::ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
            seconds.saturating_mul(1000)
        };
        Ok(Self {
            fabric,
            subject,
            fingerprint: Digest::of(der),
            not_before_ms: ms(validity.not_before),
            not_after_ms: ms(validity.not_after),
        })
    }
}

/// The signature in `der`, if everything around the signed part is the one DER encoding of an
/// ed25519 signature (RFC 8410): those bytes are not signed, and must not vary.
fn signature_around(der: &[u8], signed: &[u8]) -> Option<Signature> {
    let (outer, content) = der.split_first_chunk::<4>()?;
    let length = u16::try_from(content.len()).ok()?.to_be_bytes();
    if *outer != [0x30, 0x82, length[0], length[1]] {
        return None;
    }
    let signature = content
        .strip_prefix(signed)?
        .strip_prefix(&ED25519_SIGNATURE)?;
    Some(Signature::from_bytes(signature.try_into().ok()?))
}

/// The one identity that a certificate names.
fn named(certificate: &X509Certificate<'_>) -> Result<(FabricId, Subject), ReadCertificateError> {
    let mut found = None;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                let [GeneralName::URI(uri)] = names.general_names.as_slice() else {
                    return Err(ReadCertificateError::Subject);
                };
                let subject = Subject::parse(uri).ok_or(ReadCertificateError::Subject)?;
                if found.replace(subject).is_some() {
                    return Err(ReadCertificateError::Subject);
                }
            }
            ParsedExtension::KeyUsage(_) | ParsedExtension::ExtendedKeyUsage(_) => {}
            _ if extension.critical => return Err(ReadCertificateError::Extension),
            _ => {}
        }
    }
    found.ok_or(ReadCertificateError::Subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_392_000_123;

    fn fabric() -> FabricId {
        Digest::of(b"fabric")
    }

    #[test]
    fn a_certificate_says_what_it_was_issued_for() {
        let identity = SecretKey::from_seed(&[1; 32]);
        for is_node in [true, false] {
            let issued = IssuedCertificate::issue(&identity, &fabric(), is_node, NOW_MS).unwrap();
            let read = PresentedCertificate::read(&issued.der).unwrap();
            let subject = match is_node {
                true => Subject::Node(identity.public()),
                false => Subject::Operator(identity.public()),
            };
            assert_eq!(read.subject, subject);
            assert_eq!(read.fabric, fabric());
            assert_eq!(read.fingerprint, issued.fingerprint);
            assert_eq!(read.not_before_ms, issued.not_before_ms);
            assert_eq!(read.not_after_ms, issued.not_after_ms);
            assert_eq!(read.not_after_ms - read.not_before_ms, CERTIFICATE_LIFE_MS);
            assert!(read.not_before_ms < NOW_MS && NOW_MS < read.not_after_ms);
        }
    }

    #[test]
    fn no_changed_byte_is_taken() {
        let identity = SecretKey::from_seed(&[1; 32]);
        let issued = IssuedCertificate::issue(&identity, &fabric(), true, NOW_MS).unwrap();
        for at in 0..issued.der.len() {
            for bit in [1, 0x80] {
                let mut changed = issued.der.clone();
                changed[at] ^= bit;
                assert!(PresentedCertificate::read(&changed).is_err(), "byte {at}");
            }
            assert!(PresentedCertificate::read(&issued.der[..at]).is_err());
        }
        let longer = [issued.der.as_slice(), &[0]].concat();
        assert_eq!(
            PresentedCertificate::read(&longer),
            Err(ReadCertificateError::Malformed)
        );
        assert!(matches!(
            PresentedCertificate::read(&vec![0x30; CERTIFICATE_BYTES_MAX + 1]),
            Err(ReadCertificateError::TooLarge { .. })
        ));
    }

    #[test]
    fn another_identity_cannot_speak_for_a_node() {
        let (owner, liar) = (
            SecretKey::from_seed(&[1; 32]),
            SecretKey::from_seed(&[2; 32]),
        );
        let mut params = CertificateParams::default();
        let uri = Subject::Node(owner.public()).uri(&fabric());
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let leaf = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let forge = |params: &CertificateParams, signer: &SecretKey| {
            let issuer = Issuer::new(issuer_params(&owner.public()), Signer::new(signer));
            params.signed_by(&leaf, &issuer).unwrap().der().to_vec()
        };
        assert!(PresentedCertificate::read(&forge(&params, &owner)).is_ok());
        assert_eq!(
            PresentedCertificate::read(&forge(&params, &liar)),
            Err(ReadCertificateError::OtherIdentity {
                key: owner.public()
            })
        );
        let other = Subject::Node(liar.public()).uri(&fabric());
        params
            .subject_alt_names
            .push(SanType::URI(other.try_into().unwrap()));
        assert_eq!(
            PresentedCertificate::read(&forge(&params, &owner)),
            Err(ReadCertificateError::Subject)
        );
    }
}
