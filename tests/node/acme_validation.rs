//! The authority's side of tls-alpn-01 (RFC 8737): a handshake that must show the proof.

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

/// The protocol that such a handshake agrees on.
const ALPN: &[u8] = b"acme-tls/1";
/// The extension up to the digest: id-pe-acmeIdentifier, critical, an octet string of 32 bytes within
/// that of the extension.
const EXTENSION: &[u8] = &[
    0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04,
    0x20,
];

/// Whether `name` at `https` shows a certificate with the digest of `proof`.
pub(crate) fn tls_alpn(https: &str, name: &str, proof: &str) -> Result<(), String> {
    let (mut stream, shown) = handshake(https, name, &[ALPN]).map_err(|error| error.to_string())?;
    if stream.conn.alpn_protocol() != Some(ALPN) {
        return Err("another protocol was agreed on".to_owned());
    }
    let digest = digest(&SHA256, proof.as_bytes());
    let wanted = [EXTENSION, digest.as_ref()].concat();
    if !shown.windows(wanted.len()).any(|window| window == wanted) {
        return Err("the certificate does not hold the proof".to_owned());
    }
    // Nothing is served on it.
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) | Err(_) if rest.is_empty() => Ok(()),
        _ => Err("something was served on a validation".to_owned()),
    }
}

/// A connection that offers `protocols`, and the leaf that it was shown, whatever that is.
pub(crate) fn handshake(
    https: &str,
    name: &str,
    protocols: &[&[u8]],
) -> std::io::Result<(StreamOwned<ClientConnection, TcpStream>, Vec<u8>)> {
    let provider = Arc::new(default_provider());
    let verifier = Arc::new(Anyone(Arc::clone(&provider)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(https)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
    Ok((stream, shown))
}

/// Takes every certificate: what is in it is looked at afterwards.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // The library would refuse the extension, which is critical and unknown to it, before it looks at
    // the signature.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
