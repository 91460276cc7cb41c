//! TLS for the outside world: which certificate a handshake is shown, and where that one comes from.
//! Never knows what is served behind it; nodes among each other use certificates of their own.

mod facts;
mod files;
mod shown;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ResolvesServerCert;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::acme::{Acme, AcmeConfig, OpenAcmeError};
use crate::data_dir::DataDir;

pub(crate) use facts::Facts;
pub use files::{CertificateFiles, LoadCertificateError};
pub(crate) use files::{CertifyError, certified};
pub(crate) use shown::{ACME_TLS_ALPN, Shown};

use files::Watched;

/// Where the certificate for HTTPS comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpsCertificate {
    /// An operator's files, read again when they change.
    Files(CertificateFiles),
    /// A certificate authority that speaks ACME.
    Acme(AcmeConfig),
}

/// HTTPS that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeTlsError {
    /// The operator's files are no good.
    #[error(transparent)]
    Files(#[from] LoadCertificateError),
    /// ACME cannot even begin.
    #[error(transparent)]
    Acme(#[from] OpenAcmeError),
    /// TLS refuses its settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What sees to it that there is a certificate.
enum Source {
    Files(Watched),
    Acme(Box<Acme>),
}

/// TLS for the ingress.
pub(crate) struct IngressTls {
    source: Source,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
}

impl IngressTls {
    /// Reads the operator's files, or what ACME gave an earlier run. `plain_http` says whether
    /// challenges can be answered without TLS, too.
    ///
    /// # Errors
    /// [`ServeTlsError`]. A certificate that ACME has yet to give is none.
    pub(crate) fn open(
        from: &HttpsCertificate,
        data_dir: &DataDir,
        plain_http: bool,
    ) -> Result<Self, ServeTlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (source, shown) = match from {
            HttpsCertificate::Files(files) => {
                let shown = Arc::new(Shown::new("files"));
                let watched = Watched::load(files.clone(), &provider, Arc::clone(&shown))?;
                (Source::Files(watched), shown)
            }
            HttpsCertificate::Acme(config) => {
                let shown = Arc::new(Shown::new("acme"));
                let folder = data_dir.acme();
                let acme = Acme::open(config, folder, plain_http, &provider, Arc::clone(&shown))?;
                (Source::Acme(Box::new(acme)), shown)
            }
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if let Source::Acme(_) = source {
            config.alpn_protocols.push(ACME_TLS_ALPN.to_vec());
        }
        Ok(Self {
            source,
            shown,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// What makes TLS of a connection; it always shows the newest certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// What handshakes are shown, and what there is to say about it.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown)
    }

    /// Keeps the certificate fresh until `stop`.
    pub(crate) async fn keep_fresh(self, stop: CancellationToken) {
        match self.source {
            Source::Files(watched) => watched.watch(stop).await,
            Source::Acme(acme) => acme.run(stop).await,
        }
    }
}
