//! TLS as STOQ uses it: version 1.3, both ends show certificates, possession of the leaf's key is
//! checked here and everything else by the authority after the handshake.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};
use types::NodeId;

use crate::bounds::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX, TICKETS_PER_HANDSHAKE};
use crate::credentials::Shown;
use crate::tickets::{Given, Kept};

/// What both ends must speak.
const ALPN: &[u8] = b"stoq/1";

/// The one provider of cryptography. The post-quantum key exchange is offered first.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
    ];
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// The name under which whoever answers is dialled; no ticket is kept for it.
pub(crate) const NAME_OF_ANYONE: &str = "anyone.stoq";

/// The name under which `node` is dialled. Each node has its own, as tickets are kept per name;
/// a name of one part may have 63 letters only.
pub(crate) fn server_name(node: Option<&NodeId>) -> String {
    node.map_or_else(
        || NAME_OF_ANYONE.to_owned(),
        |node| {
            let digits = node.to_string();
            let (first, second) = digits.split_at(digits.len() / 2);
            format!("{first}.{second}.stoq")
        },
    )
}

pub(crate) fn server(
    provider: &Arc<CryptoProvider>,
    shown: &Arc<Shown>,
    given: &Arc<Given>,
) -> Result<QuicServerConfig, Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Possession(provider.clone())))
        .with_cert_resolver(Arc::new(Resolver(shown.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = given.clone();
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    // QUIC knows no other number but none (RFC 9001, 4.6.1); what is taken early is bounded by
    // its windows, and what is done with it by whether it is idempotent.
    config.max_early_data_size = u32::MAX;
    QuicServerConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
}

pub(crate) fn client(
    provider: &Arc<CryptoProvider>,
    shown: &Arc<Shown>,
    kept: &Arc<Kept>,
) -> Result<QuicClientConfig, Error> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Possession(provider.clone())))
        .with_client_cert_resolver(Arc::new(Resolver(shown.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::store(kept.clone());
    config.enable_early_data = true;
    QuicClientConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
}

/// Shows the credentials of the moment to either end.
#[derive(Debug)]
struct Resolver(Arc<Shown>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.now())
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.now())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes any well-formed chain whose leaf signed the handshake.
#[derive(Debug)]
struct Possession(Arc<CryptoProvider>);

impl Possession {
    fn check_form(leaf: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), Error> {
        let bytes: usize = leaf.len() + rest.iter().map(|der| der.len()).sum::<usize>();
        if rest.len() >= CHAIN_CERTIFICATES_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(Error::General(
                "the certificate chain is too long".to_owned(),
            ));
        }
        webpki::EndEntityCert::try_from(leaf)
            .map(|_| ())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn check_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            leaf,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }
}

impl ServerCertVerifier for Possession {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::check_form(leaf, rest).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            PeerIncompatible::Tls13RequiredForQuic,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Possession {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::check_form(leaf, rest).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            PeerIncompatible::Tls13RequiredForQuic,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Random bytes; all zero if the system has none, which only costs their spread.
pub(crate) fn random<const N: usize>(provider: &CryptoProvider) -> [u8; N] {
    let mut bytes = [0; N];
    if provider.secure_random.fill(&mut bytes).is_err() {
        bytes = [0; N];
    }
    bytes
}
