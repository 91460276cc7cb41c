//! What machines agree on before they found a fabric together: who votes, who may administer it,
//! and where the machines are. A file that is handed around; nothing in it is secret.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use ledger::{Genesis, GenesisError};
use serde::{Deserialize, Serialize};
use types::{FabricId, NodeId, Principal};

use crate::clock::unix_ms;
use crate::data_dir::DataDir;
use crate::error::StartNodeError;

/// Largest file that is read: 64 validators with 16 addresses each take a tenth.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A fabric to be founded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    genesis: Genesis,
    addresses: BTreeMap<NodeId, Vec<SocketAddr>>,
}

/// A fabric that cannot be founded so.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Read(std::io::Error),
    /// Far too long.
    #[error("the file has more than {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// Not such a file.
    #[error("the file is not what `nexus fabric found` writes: {0}")]
    Malformed(String),
    /// Somebody changed it.
    #[error(
        "the file says that it founds fabric {}, and what is in it founds {}: it was changed, ask \
         for another copy", said.short(), found.short()
    )]
    Changed {
        /// What it says.
        said: FabricId,
        /// What it holds.
        found: FabricId,
    },
    /// Breaks a rule of the ledger.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Entropy(String),
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    fabric: FabricId,
    began_at_ms: u64,
    /// 32 hexadecimal digits.
    salt: String,
    validators: BTreeMap<NodeId, Vec<SocketAddr>>,
    operators: Vec<Principal>,
}

impl Founding {
    /// A new fabric of these validators, each with its addresses, and operators who administer it.
    ///
    /// # Errors
    /// [`FoundingError`] if the ledger has no such fabric, or without random numbers.
    pub fn new(
        validators: BTreeMap<NodeId, Vec<SocketAddr>>,
        operators: Vec<Principal>,
    ) -> Result<Self, FoundingError> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| FoundingError::Entropy(error.to_string()))?;
        Self::of(unix_ms(), salt, validators, operators)
    }

    fn of(
        began_at_ms: u64,
        salt: [u8; 16],
        addresses: BTreeMap<NodeId, Vec<SocketAddr>>,
        operators: Vec<Principal>,
    ) -> Result<Self, FoundingError> {
        let nodes: Vec<NodeId> = addresses.keys().copied().collect();
        let genesis = Genesis::new(began_at_ms, salt, nodes.clone(), nodes, operators)?;
        Ok(Self { genesis, addresses })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`FoundingError`].
    pub fn read(path: &Path) -> Result<Self, FoundingError> {
        use std::io::Read as _;
        let file = std::fs::File::open(path).map_err(FoundingError::Read)?;
        let mut bytes = Vec::new();
        let mut bounded = file.take(FILE_BYTES_MAX + 1);
        bounded
            .read_to_end(&mut bytes)
            .map_err(FoundingError::Read)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
            return Err(FoundingError::TooLong);
        }
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, FoundingError> {
        let malformed = |reason: String| FoundingError::Malformed(reason);
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        let salt = u128::from_str_radix(&written.salt, 16);
        let salt = salt.map_err(|_| malformed("the salt is not hexadecimal".to_owned()))?;
        let found = Self::of(
            written.began_at_ms,
            salt.to_be_bytes(),
            written.validators,
            written.operators,
        )?;
        if found.fabric() != written.fabric {
            return Err(FoundingError::Changed {
                said: written.fabric,
                found: found.fabric(),
            });
        }
        Ok(found)
    }

    /// What the file holds.
    #[must_use]
    pub fn to_text(&self) -> String {
        let written = Written {
            fabric: self.genesis.fabric_id(),
            began_at_ms: self.genesis.time_ms(),
            salt: format!("{:032x}", u128::from_be_bytes(self.genesis.salt())),
            validators: self.addresses.clone(),
            operators: self.genesis.operators().to_vec(),
        };
        // Keys are text and values have encodings: it cannot fail.
        serde_json::to_string_pretty(&written).unwrap_or_default()
    }

    /// The fabric's id.
    #[must_use]
    pub fn fabric(&self) -> FabricId {
        self.genesis.fabric_id()
    }

    pub(crate) const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Where the others are.
    pub(crate) fn others(&self, node: &NodeId) -> Vec<(NodeId, Vec<SocketAddr>)> {
        let others = self.addresses.iter().filter(|(other, _)| *other != node);
        others
            .map(|(other, addresses)| (*other, addresses.clone()))
            .collect()
    }
}

/// Who a machine will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// The node.
    pub node: NodeId,
    /// The operator whose key is beside the node's.
    pub operator: Principal,
}

/// Makes the keys of a node that will found or join a fabric, unless they are there.
///
/// # Errors
/// [`StartNodeError`] if the directory is in use or cannot be written.
pub fn prepare(folder: &Path) -> Result<Prepared, StartNodeError> {
    let data_dir = DataDir::open(folder)?;
    let node = data_dir.joining_key()?.public();
    let operator = trust::SecretKey::load(&data_dir.operator_key())?.public();
    Ok(Prepared { node, operator })
}

/// For the fuzz targets: what was read is written so that it reads as the same.
pub(crate) fn read_again(bytes: &[u8]) {
    if let Ok(read) = Founding::parse(bytes) {
        let again = Founding::parse(read.to_text().as_bytes());
        assert!(again.is_ok_and(|again| again == read));
    }
}

/// A founding of four, as text.
pub(crate) fn some() -> String {
    let node = |index: u8| NodeId::from_bytes([index; 32]);
    let at = |index: u8| SocketAddr::from(([10, 0, 0, index], 7400));
    let validators = (1..=4).map(|index| (node(index), vec![at(index)]));
    let founding = Founding::of(1, [2; 16], validators.collect(), vec![node(9)]);
    founding
        .map(|founding| founding.to_text())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four() -> Founding {
        Founding::parse(some().as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_founds_the_same_fabric() {
        let founding = four();
        let read = Founding::parse(founding.to_text().as_bytes()).unwrap();
        assert_eq!(read, founding);
        assert_eq!(read.others(&NodeId::from_bytes([1; 32])).len(), 3);
        let validators = founding.addresses.clone();
        let again = Founding::new(validators, founding.genesis.operators().to_vec()).unwrap();
        assert_ne!(again.fabric(), founding.fabric());
    }

    #[test]
    fn a_changed_file_is_refused() {
        let text = four().to_text();
        let changed = text.replacen(&"09".repeat(32), &"0a".repeat(32), 1);
        assert_ne!(changed, text);
        let error = Founding::parse(changed.as_bytes()).unwrap_err();
        assert!(matches!(error, FoundingError::Changed { .. }), "{error}");
        // Addresses are advice and no part of the fabric.
        let moved = text.replacen("10.0.0.1:7400", "10.0.0.7:7400", 1);
        assert!(Founding::parse(moved.as_bytes()).is_ok());
        for broken in ["", "{}", &text[..text.len() / 2]] {
            let error = Founding::parse(broken.as_bytes()).unwrap_err();
            assert!(matches!(error, FoundingError::Malformed(_)), "{error}");
        }
    }
}
