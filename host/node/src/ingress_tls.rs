//! Certificates for the outside world: an operator's PEM files, read again when they change. Never
//! knows what is served behind them; nodes among each other use certificates of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Pause between two looks at the files: what renews certificates does so days early.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// Largest file: a chain of a few certificates.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, PEM, leaf first.
    pub certificate: PathBuf,
    /// The leaf's secret key, PEM.
    pub key: PathBuf,
}

/// Files that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum LoadCertificateError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// Not PEM, or nothing of the kind in it.
    #[error("{path} holds no {what} in PEM: {reason}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },
    /// The two do not belong together, or the key is of an unknown kind.
    #[error("{key} is not the key of {certificate}: {reason}")]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
        /// What the library says.
        reason: String,
    },
    /// TLS refuses its settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What is shown to clients now.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// TLS for the ingress.
pub(crate) struct IngressTls {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    shown: Arc<Shown>,
    seen: [Option<SystemTime>; 2],
    acceptor: TlsAcceptor,
}

impl IngressTls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`LoadCertificateError`].
    pub(crate) fn load(files: CertificateFiles) -> Result<Self, LoadCertificateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let seen = modified(&files);
        let certified = read(&files, &provider)?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified))));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            files,
            provider,
            shown,
            seen,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// What makes TLS of a connection; it always shows the newest certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Reads the files again whenever they change, until `stop`. Files that are no good, for
    /// instance half written ones, change nothing.
    pub(crate) async fn watch(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(back) => self = back,
                Err(_) => return,
            }
        }
    }

    fn look(&mut self) {
        let modified = modified(&self.files);
        if modified == self.seen {
            return;
        }
        match read(&self.files, &self.provider) {
            Ok(certified) => {
                let mut shown = self.shown.0.write().unwrap_or_else(PoisonError::into_inner);
                *shown = Arc::new(certified);
                self.seen = modified;
                tracing::info!("the ingress shows a new certificate");
            }
            Err(error) => {
                tracing::warn!("the ingress keeps its certificate: {error}");
                // Said once per change; a later one is looked at again.
                self.seen = modified;
            }
        }
    }
}

fn modified(files: &CertificateFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key].map(|path| fs::metadata(path).ok()?.modified().ok())
}

fn read(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, LoadCertificateError> {
    let pem = |path: &Path, what, reason: String| LoadCertificateError::Pem {
        path: path.to_owned(),
        what,
        reason,
    };
    let (path, text) = (&files.certificate, text(&files.certificate)?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| pem(path, "certificate", error.to_string()))?;
    if chain.is_empty() {
        return Err(pem(path, "certificate", "there is none".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&self::text(&files.key)?);
    let key = key.map_err(|error| pem(&files.key, "secret key", error.to_string()))?;
    let mismatch = |reason: String| LoadCertificateError::Mismatch {
        key: files.key.clone(),
        certificate: files.certificate.clone(),
        reason,
    };
    let certified = CertifiedKey::from_der(chain, key, provider);
    let certified = certified.map_err(|error| mismatch(error.to_string()))?;
    let matches = certified.keys_match();
    matches.map_err(|error| mismatch(error.to_string()))?;
    Ok(certified)
}

fn text(path: &Path) -> Result<Vec<u8>, LoadCertificateError> {
    use io::Read as _;
    let mut text = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
    read.map_err(|source| LoadCertificateError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) -> CertificateFiles {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let files = CertificateFiles {
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn shown(tls: &IngressTls) -> Vec<u8> {
        tls.shown.0.read().unwrap().cert[0].to_vec()
    }

    #[test]
    fn new_files_are_shown_and_bad_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), "one.example");
        let mut tls = IngressTls::load(files.clone()).unwrap();
        let first = shown(&tls);
        tls.seen = [None; 2];
        fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
        tls.look();
        assert_eq!(shown(&tls), first, "a half-written file changes nothing");
        write(folder.path(), "two.example");
        tls.seen = [None; 2];
        tls.look();
        assert_ne!(shown(&tls), first);
    }

    #[test]
    fn files_that_do_not_fit_are_refused_by_name() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = write(one.path(), "one.example");
        let second = write(two.path(), "two.example");
        let load = |certificate: &Path, key: &Path| {
            let files = CertificateFiles {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            };
            IngressTls::load(files).err().unwrap().to_string()
        };
        let mixed = load(&first.certificate, &second.key);
        assert!(mixed.contains("is not the key of"), "{mixed}");
        let none = load(&first.key, &first.key);
        assert!(none.contains("no certificate"), "{none}");
        let none = load(&first.certificate, &first.certificate);
        assert!(none.contains("no secret key"), "{none}");
        let absent = load(Path::new("/nonexistent"), &first.key);
        assert!(absent.contains("cannot read"), "{absent}");
    }
}
