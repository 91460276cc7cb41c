//! The file that keeps a node's certificate and its secret key between starts: mode 0600, written
//! whole or not at all. Never knows whether the certificate is still good.
//!
//! ```text
//! version (1) | certificate: length (4, big endian), DER | key: length (4, big endian), PKCS#8 DER
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::certificate::{
    CERTIFICATE_BYTES_MAX, IssuedCertificate, PresentedCertificate, ReadCertificateError,
};

const VERSION: u8 = 1;
/// Largest file: a certificate, a key and their lengths.
const FILE_BYTES_MAX: u64 = 2 * CERTIFICATE_BYTES_MAX as u64 + 9;

/// A file that gives no certificate. A new one can always be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFileError {
    /// The file system refused.
    #[error("cannot {action} certificate file {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// Not what [`IssuedCertificate::store`] writes.
    #[error("certificate file {path} is damaged")]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// The certificate in it is not one of ours.
    #[error("certificate file {path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: ReadCertificateError,
    },
}

impl IssuedCertificate {
    /// Writes certificate and key to `path`, durable when this returns.
    ///
    /// # Errors
    /// [`CertificateFileError::Io`]; then an older file is untouched.
    pub fn store(&self, path: &Path) -> Result<(), CertificateFileError> {
        let failed = |action| io_error(action, path);
        let unfinished = path.with_extension("new");
        // What a crash left may have another mode.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("replace")(error));
            }
            _ => {}
        }
        let mut bytes = Zeroizing::new(vec![VERSION]);
        for part in [self.der.as_slice(), self.key_der.as_slice()] {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part);
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&unfinished).map_err(failed("create"))?;
        file.write_all(&bytes).map_err(failed("write"))?;
        file.sync_all().map_err(failed("flush"))?;
        fs::rename(&unfinished, path).map_err(failed("rename"))?;
        let folder = File::open(path.parent().unwrap_or(path)).map_err(failed("open"))?;
        folder.sync_all().map_err(failed("flush"))
    }

    /// Reads what [`IssuedCertificate::store`] wrote; none if there is no file.
    ///
    /// # Errors
    /// [`CertificateFileError`] if it cannot be read or is damaged.
    pub fn load(path: &Path) -> Result<Option<Self>, CertificateFileError> {
        let failed = |action| io_error(action, path);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed("open"))?,
        };
        let mut bytes = Zeroizing::new(Vec::new());
        let read = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(failed("read"))?;
        let parts = parts(&bytes).ok_or_else(|| CertificateFileError::Damaged {
            path: path.to_owned(),
        })?;
        let (der, key_der) = parts;
        let read = PresentedCertificate::read(der);
        let read = read.map_err(|source| CertificateFileError::Certificate {
            path: path.to_owned(),
            source,
        })?;
        Ok(Some(Self {
            der: der.to_vec(),
            key_der: Zeroizing::new(key_der.to_vec()),
            fingerprint: read.fingerprint,
            not_before_ms: read.not_before_ms,
            not_after_ms: read.not_after_ms,
        }))
    }
}

fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&version, rest) = bytes.split_first()?;
    let (certificate, rest) = part(rest)?;
    let (key, rest) = part(rest)?;
    (version == VERSION && rest.is_empty()).then_some((certificate, key))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CertificateFileError {
    move |source| CertificateFileError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use types::Digest;

    use super::*;
    use crate::SecretKey;

    #[test]
    fn what_is_stored_loads_again_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certificate");
        assert!(IssuedCertificate::load(&path).unwrap().is_none());
        let identity = SecretKey::from_seed(&[1; 32]);
        let fabric = Digest::of(b"fabric");
        for now_ms in [1_795_392_000_000, 1_795_400_000_000] {
            let issued = IssuedCertificate::issue(&identity, &fabric, true, now_ms).unwrap();
            fs::write(path.with_extension("new"), "left by a crash").unwrap();
            issued.store(&path).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let again = IssuedCertificate::load(&path).unwrap().unwrap();
            assert_eq!(again.der, issued.der);
            assert_eq!(again.key_der, issued.key_der);
            assert_eq!(again.not_after_ms, issued.not_after_ms);
        }
        let good = fs::read(&path).unwrap();
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            assert!(IssuedCertificate::load(&path).is_err(), "{length}");
        }
        fs::write(&path, [good.as_slice(), &[0]].concat()).unwrap();
        assert!(IssuedCertificate::load(&path).is_err());
    }
}
