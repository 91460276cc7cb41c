//! The data directory: its layout, its lock, its format, and the first facts in it.
//!
//! `FORMAT` (a number), `LOCK` (held while a node runs), `node.key` and `operator.key` (mode 0600),
//! `genesis` (canonical bytes), `artifacts/`, `consensus/`, `guests/` (files of replicas, made anew
//! at each start), `compiled/` (machine code of components, which can be made again; mode 0700) and
//! `compiled.key` (what seals it, mode 0600), `checkpoints/` (states of stateful libraries), `stores/`
//! (buckets and containers of guests), `volumes/` (members of volumes, one folder for each lease; a file
//! never takes more than was leased and 12 KiB), `kept.json` (leases that outlive their guests), `secrets` (mode 0600), `certificate` (with its key, mode 0600),
//! `peers.json` (where members were reached), `acme/` (mode 0700: `account.json`, `certificate.json`
//! with its key and `attempts.json`, mode 0600 each; there once HTTPS has its certificate by ACME),
//! `admin.sock`. A directory is complete once `genesis` is in it: until then a killed first start is
//! simply started again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ledger::Genesis;
use rustix::fs::{FlockOperation, flock};
use trust::SecretKey;

use crate::error::StartNodeError;
use crate::founding::{Founding, FoundingError};

/// 1 was never released: its ledger had fewer fields per component.
const FORMAT: u32 = 2;

/// Longest path of a Unix socket (`sun_path`, less its NUL).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// An open data directory; others are kept out until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    folder: PathBuf,
    _lock: File,
}

/// What a data directory holds of the node and its fabric.
pub(crate) struct Identity {
    pub(crate) node: SecretKey,
    pub(crate) genesis: Genesis,
}

fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StartNodeError + 'a {
    move |source| StartNodeError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

impl DataDir {
    /// Opens `folder`, making it if need be, and takes its lock.
    ///
    /// # Errors
    /// [`StartNodeError`] if it is in use, foreign, newer, or cannot be written.
    pub fn open(folder: &Path) -> Result<Self, StartNodeError> {
        let mut builder = fs::DirBuilder::new();
        // What is in it concerns its owner only.
        builder.recursive(true).mode(0o700);
        builder.create(folder).map_err(failed("create", folder))?;
        let folder = folder.canonicalize().map_err(failed("resolve", folder))?;
        refuse_foreign(&folder)?;
        let path = folder.join("LOCK");
        let mut options = File::options();
        let lock = options
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StartNodeError::InUse { path: folder });
            }
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
        let opened = Self {
            folder,
            _lock: lock,
        };
        opened.check_format()?;
        opened.check_socket_path()?;
        Ok(opened)
    }

    /// Where the operator's key is.
    #[must_use]
    pub fn operator_key(&self) -> PathBuf {
        self.folder.join(admin::OPERATOR_KEY_FILE)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.folder.join(admin::SOCKET_FILE)
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.folder.join("artifacts")
    }

    pub(crate) fn consensus(&self) -> PathBuf {
        self.folder.join("consensus")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("certificate")
    }

    /// What a certificate authority gave, and the key of the account there.
    pub(crate) fn acme(&self) -> PathBuf {
        self.folder.join("acme")
    }

    pub(crate) fn peers(&self) -> PathBuf {
        self.folder.join("peers.json")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.join("checkpoints")
    }

    pub(crate) fn secrets(&self) -> PathBuf {
        self.folder.join("secrets")
    }

    /// Members of volumes, a folder for each lease.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.folder.join("volumes")
    }

    /// Leases that outlive the guests that asked for them.
    pub(crate) fn kept(&self) -> PathBuf {
        self.folder.join("kept.json")
    }

    pub(crate) fn stores(&self) -> PathBuf {
        self.folder.join("stores")
    }

    pub(crate) fn guests(&self) -> PathBuf {
        self.folder.join("guests")
    }

    pub(crate) fn compiled(&self) -> PathBuf {
        self.folder.join("compiled")
    }

    /// The secret that seals compiled code, made once. Signs nothing, so that the node's identity
    /// is not at stake where the cache is; without it, what it sealed is compiled again.
    pub(crate) fn compiled_secret(&self) -> Result<SecretKey, StartNodeError> {
        load_or_make(&self.folder.join("compiled.key"))
    }

    /// Reads the node's key and the genesis; none if the directory is fresh.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, StartNodeError> {
        let path = self.folder.join("genesis");
        match fs::read(&path) {
            Ok(bytes) => {
                let node = SecretKey::load(&self.folder.join("node.key"))?;
                let genesis = Genesis::decode(&bytes).map_err(|error| StartNodeError::Damaged {
                    path,
                    reason: error.to_string(),
                })?;
                Ok(Some(Identity { node, genesis }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// The key of a node that is about to join a fabric, made if need be, as is the key of the
    /// operator beside it, whom an admin of the fabric may give a role.
    pub(crate) fn joining_key(&self) -> Result<SecretKey, StartNodeError> {
        load_or_make(&self.operator_key())?;
        load_or_make(&self.folder.join("node.key"))
    }

    /// Keeps the genesis of the fabric that the directory comes to belong to. Whether this node is a
    /// member is on its ledger.
    pub(crate) fn keep_genesis(&self, genesis: &Genesis) -> Result<(), StartNodeError> {
        write_durably(&self.folder.join("genesis"), &genesis.encode())
    }

    /// The first start of a fabric of this node alone.
    pub(crate) fn found_fabric(&self) -> Result<Identity, StartNodeError> {
        let node = self.joining_key()?.public();
        let operator = SecretKey::load(&self.operator_key())?.public();
        let alone = Founding::new([(node, Vec::new())].into(), vec![operator]);
        let alone = alone.map_err(|error| match error {
            FoundingError::Entropy(reason) => trust::IdentityError::Entropy(reason).into(),
            other => StartNodeError::Damaged {
                path: self.folder.join("genesis"),
                reason: other.to_string(),
            },
        })?;
        self.found(alone.genesis())
    }

    /// The first start of a fabric. Writes `genesis` last, so that a kill before it leaves nothing
    /// to undo.
    pub(crate) fn found(&self, genesis: &Genesis) -> Result<Identity, StartNodeError> {
        let node = self.joining_key()?;
        if !genesis.validators().contains(&node.public()) {
            return Err(StartNodeError::NotAFounder {
                node: node.public(),
                path: self.folder.clone(),
            });
        }
        self.keep_genesis(genesis)?;
        let genesis = genesis.clone();
        Ok(Identity { node, genesis })
    }

    fn check_format(&self) -> Result<(), StartNodeError> {
        let path = self.folder.join("FORMAT");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return write_durably(&path, format!("{FORMAT}\n").as_bytes());
            }
            other => other.map_err(failed("read", &path))?,
        };
        match text.trim_end().parse::<u32>() {
            Ok(found) if found == FORMAT => Ok(()),
            Ok(found) => {
                let path = self.folder.clone();
                Err(StartNodeError::OtherFormat {
                    path,
                    found,
                    known: FORMAT,
                })
            }
            Err(_) => {
                let reason = "it does not hold a format number".to_owned();
                Err(StartNodeError::Damaged { path, reason })
            }
        }
    }

    fn check_socket_path(&self) -> Result<(), StartNodeError> {
        let path = self.admin_socket();
        let bytes = path.as_os_str().as_bytes().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            return Err(StartNodeError::SocketPath {
                path,
                bytes,
                max: SOCKET_PATH_BYTES_MAX,
            });
        }
        Ok(())
    }
}

/// A directory with files, none of which is ours, was named by mistake.
fn refuse_foreign(folder: &Path) -> Result<(), StartNodeError> {
    let ours = folder.join("LOCK").exists() || folder.join("FORMAT").exists();
    let mut entries = fs::read_dir(folder).map_err(failed("list", folder))?;
    if !ours && entries.next().is_some() {
        return Err(StartNodeError::Foreign {
            path: folder.to_owned(),
        });
    }
    Ok(())
}

fn load_or_make(path: &Path) -> Result<SecretKey, StartNodeError> {
    if path.exists() {
        return match SecretKey::load(path) {
            // A first start that was killed, or ran out of disk, while it wrote the file.
            Err(trust::IdentityError::Malformed { .. }) => {
                fs::remove_file(path).map_err(failed("remove", path))?;
                load_or_make(path)
            }
            other => Ok(other?),
        };
    }
    let key = SecretKey::generate()?;
    key.store(path)?;
    Ok(key)
}

/// Writes a file so that after a crash it is there whole or not at all.
pub(crate) fn write_durably(path: &Path, content: &[u8]) -> Result<(), StartNodeError> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished).map_err(failed("create", &unfinished))?;
    file.write_all(content)
        .map_err(failed("write", &unfinished))?;
    file.sync_all().map_err(failed("flush", &unfinished))?;
    fs::rename(&unfinished, path).map_err(failed("rename", &unfinished))?;
    let folder = path.parent().unwrap_or(path);
    let directory = File::open(folder).map_err(failed("open", folder))?;
    directory.sync_all().map_err(failed("flush", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_nodes_and_keeps_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&path).unwrap();
        assert!(first.identity().unwrap().is_none());
        let fabric = first.found_fabric().unwrap().genesis.fabric_id();
        assert!(matches!(
            DataDir::open(&path),
            Err(StartNodeError::InUse { .. })
        ));
        drop(first);
        let again = DataDir::open(&path).unwrap().identity().unwrap().unwrap();
        assert_eq!(again.genesis.fabric_id(), fabric);
    }

    #[test]
    fn newer_damaged_and_foreign_directories_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        drop(DataDir::open(&path).unwrap());
        fs::write(path.join("FORMAT"), "3\n").unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(matches!(
            error,
            StartNodeError::OtherFormat { found: 3, .. }
        ));
        fs::write(path.join("FORMAT"), "x").unwrap();
        assert!(matches!(
            DataDir::open(&path),
            Err(StartNodeError::Damaged { .. })
        ));
        let foreign = folder.path().join("photos");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("cat.jpg"), "").unwrap();
        assert!(matches!(
            DataDir::open(&foreign),
            Err(StartNodeError::Foreign { .. })
        ));
        let long = folder.path().join("x".repeat(120));
        assert!(matches!(
            DataDir::open(&long),
            Err(StartNodeError::SocketPath { .. })
        ));
    }

    #[test]
    fn a_first_start_that_was_cut_off_is_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let opened = DataDir::open(&path).unwrap();
        opened.found_fabric().unwrap();
        fs::remove_file(path.join("genesis")).unwrap();
        fs::write(path.join("operator.key"), "").unwrap();
        assert!(opened.identity().unwrap().is_none());
        opened.found_fabric().unwrap();
    }
}
