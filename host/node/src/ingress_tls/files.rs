//! An operator's certificate: PEM files, read again when they change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use crate::ingress_tls::{Facts, Shown};

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
}

/// PEM texts that are no certificate with its key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertifyError {
    /// No certificate in the one.
    #[error("no certificate in PEM: {0}")]
    Chain(String),
    /// No secret key in the other.
    #[error("no secret key in PEM: {0}")]
    Key(String),
    /// The two do not belong together, or one is of an unknown kind.
    #[error("the key is not that of the certificate: {0}")]
    Mismatch(String),
}

/// Files that are looked at again and again.
pub(super) struct Watched {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    shown: Arc<Shown>,
    seen: [Option<SystemTime>; 2],
}

impl Watched {
    /// Reads the files for the first time and shows what is in them.
    ///
    /// # Errors
    /// [`LoadCertificateError`].
    pub(super) fn load(
        files: CertificateFiles,
        provider: &Arc<CryptoProvider>,
        shown: Arc<Shown>,
    ) -> Result<Self, LoadCertificateError> {
        let seen = modified(&files);
        let (certified, facts) = read(&files, provider)?;
        shown.show(certified, &facts);
        Ok(Self {
            files,
            provider: Arc::clone(provider),
            shown,
            seen,
        })
    }

    /// Reads the files again whenever they change, until `stop`. Files that are no good, for
    /// instance half written ones, change nothing.
    pub(super) async fn watch(mut self, stop: CancellationToken) {
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
            Ok((certified, facts)) => {
                self.shown.show(certified, &facts);
                self.shown.say(None, None);
                self.seen = modified;
                tracing::info!("the ingress shows a new certificate");
            }
            Err(error) => {
                tracing::warn!("the ingress keeps its certificate: {error}");
                self.shown.say(Some(error.to_string()), None);
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
) -> Result<(CertifiedKey, Facts), LoadCertificateError> {
    let (chain, key) = (text(&files.certificate)?, text(&files.key)?);
    certified(&chain, &key, provider).map_err(|error| match error {
        CertifyError::Chain(reason) => LoadCertificateError::Pem {
            path: files.certificate.clone(),
            what: "certificate",
            reason,
        },
        CertifyError::Key(reason) => LoadCertificateError::Pem {
            path: files.key.clone(),
            what: "secret key",
            reason,
        },
        CertifyError::Mismatch(reason) => LoadCertificateError::Mismatch {
            key: files.key.clone(),
            certificate: files.certificate.clone(),
            reason,
        },
    })
}

/// What can be shown in handshakes: a chain in PEM, leaf first, and the leaf's secret key in PEM.
///
/// # Errors
/// [`CertifyError`].
pub(crate) fn certified(
    chain: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Facts), CertifyError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| CertifyError::Chain(error.to_string()))?;
    let Some(leaf) = chain.first() else {
        return Err(CertifyError::Chain("there is none".to_owned()));
    };
    let unreadable = || CertifyError::Chain("it is not X.509".to_owned());
    let facts = Facts::of(leaf).ok_or_else(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(key);
    let key = key.map_err(|error| CertifyError::Key(error.to_string()))?;
    let mismatch = |error: rustls::Error| CertifyError::Mismatch(error.to_string());
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(mismatch)?;
    certified.keys_match().map_err(mismatch)?;
    Ok((certified, facts))
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

    fn load(files: CertificateFiles) -> Result<Watched, LoadCertificateError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Watched::load(files, &provider, Arc::new(Shown::new("files")))
    }

    fn shown(tls: &Watched) -> Vec<u8> {
        tls.shown.certificate().unwrap().cert[0].to_vec()
    }

    #[test]
    fn new_files_are_shown_and_bad_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), "one.example");
        let mut tls = load(files.clone()).unwrap();
        let first = shown(&tls);
        tls.seen = [None; 2];
        fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
        tls.look();
        assert_eq!(shown(&tls), first, "a half-written file changes nothing");
        assert!(tls.shown.status().problem.is_some());
        write(folder.path(), "two.example");
        tls.seen = [None; 2];
        tls.look();
        assert_ne!(shown(&tls), first);
        let status = tls.shown.status();
        assert_eq!(
            (status.names, status.problem),
            (vec!["two.example".to_owned()], None)
        );
    }

    #[test]
    fn files_that_do_not_fit_are_refused_by_name() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = write(one.path(), "one.example");
        let second = write(two.path(), "two.example");
        let refusal = |certificate: &Path, key: &Path| {
            let files = CertificateFiles {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            };
            load(files).err().unwrap().to_string()
        };
        let mixed = refusal(&first.certificate, &second.key);
        assert!(mixed.contains("is not the key of"), "{mixed}");
        let none = refusal(&first.key, &first.key);
        assert!(none.contains("no certificate"), "{none}");
        let none = refusal(&first.certificate, &first.certificate);
        assert!(none.contains("no secret key"), "{none}");
        let absent = refusal(Path::new("/nonexistent"), &first.key);
        assert!(absent.contains("cannot read"), "{absent}");
    }
}
