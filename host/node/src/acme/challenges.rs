//! Answers that certificate authorities may ask for now, because this node said they would find them.
//! What nobody ordered is not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::sign::CertifiedKey;

/// Where the answers of http-01 are looked for (RFC 8555, section 8.3).
const HTTP_PATH: &str = "/.well-known/acme-challenge/";

/// What is pending. As many entries as an order has names.
#[derive(Debug, Default)]
pub(crate) struct Challenges(Mutex<Pending>);

#[derive(Debug, Default)]
struct Pending {
    /// tls-alpn-01: the certificate by name.
    certificates: BTreeMap<String, Arc<CertifiedKey>>,
    /// http-01: the key authorization by token.
    texts: BTreeMap<String, String>,
}

impl Challenges {
    /// From now on a handshake that validates `name` is shown `certificate`.
    pub(super) fn offer_certificate(&self, name: String, certificate: CertifiedKey) {
        self.pending()
            .certificates
            .insert(name, Arc::new(certificate));
    }

    /// From now on the path of `token` answers `text`.
    pub(super) fn offer_text(&self, token: String, text: String) {
        self.pending().texts.insert(token, text);
    }

    /// Nothing is pending any more.
    pub(super) fn clear(&self) {
        *self.pending() = Pending::default();
    }

    /// What a handshake that validates `name` is shown.
    pub(crate) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.pending().certificates.get(&name).cloned()
    }

    /// The answer to a GET of `path`; none if it is no pending challenge's.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(HTTP_PATH)?;
        self.pending().texts.get(token).cloned()
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
