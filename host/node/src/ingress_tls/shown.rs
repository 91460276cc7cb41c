//! What TLS handshakes are shown now, and what the operator is told about it. Never obtains anything.

use std::sync::{Arc, PoisonError, RwLock};

use admin::HttpsCertificateStatus;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::acme::Challenges;
use crate::ingress_tls::Facts;

/// The protocol of a handshake that only validates a name (RFC 8737, section 6.2).
pub(crate) const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// What is shown to clients, and to certificate authorities that validate a name.
#[derive(Debug)]
pub(crate) struct Shown {
    certificate: RwLock<Option<Arc<CertifiedKey>>>,
    status: RwLock<HttpsCertificateStatus>,
    challenges: Challenges,
}

impl Shown {
    /// Nothing is shown yet. `source` is a word for people.
    pub(crate) fn new(source: &str) -> Self {
        Self {
            certificate: RwLock::new(None),
            status: RwLock::new(HttpsCertificateStatus {
                source: source.to_owned(),
                names: Vec::new(),
                issuer: None,
                expires_ms: None,
                problem: None,
                retry_ms: None,
            }),
            challenges: Challenges::default(),
        }
    }

    /// Shows `certified` from the next handshake on; open connections go on as they are.
    pub(crate) fn show(&self, certified: CertifiedKey, facts: &Facts) {
        let shown = self.certificate.write();
        *shown.unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
        self.change(|status| {
            status.names.clone_from(&facts.names);
            status.issuer = Some(facts.issuer.clone());
            status.expires_ms = Some(facts.not_after_ms);
        });
    }

    /// Says what is wrong, and when it is tried again; none if all is well.
    pub(crate) fn say(&self, problem: Option<String>, retry_ms: Option<u64>) {
        self.change(|status| {
            status.problem = problem;
            status.retry_ms = retry_ms;
        });
    }

    /// What the operator is told.
    pub(crate) fn status(&self) -> HttpsCertificateStatus {
        let status = self.status.read().unwrap_or_else(PoisonError::into_inner);
        status.clone()
    }

    /// What certificate authorities may ask now.
    pub(crate) fn challenges(&self) -> &Challenges {
        &self.challenges
    }

    /// What is shown now.
    pub(crate) fn certificate(&self) -> Option<Arc<CertifiedKey>> {
        let shown = self.certificate.read();
        shown.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut HttpsCertificateStatus)) {
        change(&mut self.status.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Who validates offers this one protocol; whoever offers others, too, is a client.
        let validates = hello.alpn().is_some_and(|offered| {
            let offered: Vec<_> = offered.take(2).collect();
            offered == [ACME_TLS_ALPN]
        });
        if validates {
            return self.challenges.certificate(hello.server_name()?);
        }
        self.certificate()
    }
}
