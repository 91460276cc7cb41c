//! One ed25519 secret key and the file that holds it.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer as _, SigningKey};
use types::{PublicKey, Signature};
use zeroize::Zeroizing;

/// An ed25519 secret key (RFC 8032). Wiped from memory when dropped; its `Debug` shows the public half.
pub struct SecretKey(SigningKey);

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file system refused.
    #[error("cannot {action} key file {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// Others could read the secret.
    #[error(
        "key file {path} has mode {mode:o}: it must be readable by its owner only; run `chmod 600` on it if no one else has seen it"
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key.
    #[error(
        "key file {path} does not hold the 64 hex digits of a secret key: restore it from a backup"
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// The system gave no randomness.
    #[error("the system gave no randomness for a new key: {0}")]
    Entropy(String),
}

impl SecretKey {
    /// Makes a key from the system's randomness.
    ///
    /// # Errors
    /// [`IdentityError::Entropy`] if the system has none to give.
    pub fn generate() -> Result<Self, IdentityError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(|error| IdentityError::Entropy(error.to_string()))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key of an ed25519 seed (RFC 8032).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the key at `path`.
    ///
    /// # Errors
    /// [`IdentityError`] if the file is missing, malformed, or readable by anyone but its owner.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let io_error = |action| {
            move |source| IdentityError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let file = std::fs::File::open(path).map_err(io_error("open"))?;
        let mode = file
            .metadata()
            .map_err(io_error("inspect"))?
            .permissions()
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Zeroizing::new(String::with_capacity(128));
        file.take(128)
            .read_to_string(&mut text)
            .map_err(io_error("read"))?;
        // The public key type parses the same 64 digits strictly.
        let seed = text.trim_end().parse::<PublicKey>();
        let seed = seed.map_err(|_| IdentityError::Malformed {
            path: path.to_owned(),
        })?;
        Ok(Self(SigningKey::from_bytes(seed.as_bytes())))
    }

    /// Writes the key to `path`, which must not exist, mode 0600, durable when this returns.
    ///
    /// # Errors
    /// [`IdentityError::Io`] if the file exists or cannot be written.
    pub fn store(&self, path: &Path) -> Result<(), IdentityError> {
        let io_error = |action| {
            move |source| IdentityError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let seed = Zeroizing::new(self.0.to_bytes());
        let text = Zeroizing::new(format!("{}\n", PublicKey::from_bytes(*seed)));
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(io_error("create"))?;
        file.write_all(text.as_bytes()).map_err(io_error("write"))?;
        file.sync_all().map_err(io_error("flush"))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`, which must begin with a domain tag.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature::from_bytes(self.0.sign(message).to_bytes())
    }

    /// A secret of 32 bytes for one purpose, which tells nothing of the key. `purpose` is a constant
    /// that nothing else uses (BLAKE3, key derivation mode).
    #[must_use]
    pub fn derived(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(purpose, &*self.expose_seed()))
    }

    /// The secret itself, for the consensus engine's own key type.
    #[must_use]
    pub fn expose_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        (folder, path)
    }

    #[test]
    fn a_stored_key_is_private_and_loads_again() {
        let (_folder, path) = path();
        let key = SecretKey::generate().unwrap();
        key.store(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = SecretKey::load(&path).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(
            key.public()
                .verify(b"tag message", &again.sign(b"tag message"))
                .is_ok()
        );
        assert!(
            matches!(key.store(&path), Err(IdentityError::Io { .. })),
            "never overwritten"
        );
    }

    #[test]
    fn an_exposed_or_malformed_file_is_refused() {
        let (_folder, path) = path();
        SecretKey::generate().unwrap().store(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            SecretKey::load(&path),
            Err(IdentityError::Exposed { mode: 0o644, .. })
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "not a key").unwrap();
        assert!(matches!(
            SecretKey::load(&path),
            Err(IdentityError::Malformed { .. })
        ));
    }

    #[test]
    fn derived_secrets_differ_by_key_and_purpose() {
        let (one, two) = (
            SecretKey::from_seed(&[1; 32]),
            SecretKey::from_seed(&[2; 32]),
        );
        assert_eq!(one.derived("a"), one.derived("a"));
        assert_ne!(one.derived("a"), one.derived("b"));
        assert_ne!(one.derived("a"), two.derived("a"));
        assert_ne!(*one.derived("a"), *one.expose_seed());
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = SecretKey::generate().unwrap();
        let seed = PublicKey::from_bytes(*key.expose_seed()).to_string();
        assert!(!format!("{key:?}").contains(&seed));
    }
}
