//! How much room artifacts have on this node, and which of them stay whatever comes: those of
//! deployments, those of versions that still run, and those that assets are committed to keep. Never decides which of the others go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ledger::DeploymentRecord;
use storage::Artifacts;
use types::{ByteSize, ComponentSpec, Digest, Name};

use crate::data_dir::DataDir;
use crate::error::StartNodeError;

/// Part of the file system that artifacts may take if nobody says how much: the ledger, the stores
/// of guests and everything else on the disk have to fit beside them.
const DISK_SHARE: u64 = 4;

/// Opens the store of artifacts with the quota that is wanted, or with a share of the disk.
pub(crate) fn artifact_store(
    data_dir: &DataDir,
    quota: Option<ByteSize>,
) -> Result<Artifacts, StartNodeError> {
    let bytes_max = match quota {
        Some(quota) => quota.as_u64(),
        None => disk_bytes(data_dir)? / DISK_SHARE,
    };
    Ok(Artifacts::open_bounded(&data_dir.artifacts(), bytes_max)?)
}

/// The size of the file system that the data is on.
fn disk_bytes(data_dir: &DataDir) -> Result<u64, StartNodeError> {
    let path = data_dir.path();
    let found = rustix::fs::statvfs(path).map_err(|error| StartNodeError::Io {
        action: "look at the file system of",
        path: path.to_owned(),
        source: error.into(),
    })?;
    Ok(found.f_blocks.saturating_mul(found.f_frsize))
}

/// Who needs which artifact.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    deployed: HashMap<Name, BTreeSet<Digest>>,
    /// What assets of this node are committed to keep.
    kept: BTreeSet<Digest>,
    /// How many deployments and instances name each.
    uses: BTreeMap<Digest, usize>,
    changed: bool,
}

impl Pins {
    /// Takes what the ledger says of a workload now; none if it is not deployed any more.
    pub(crate) fn deployed(&mut self, workload: &Name, deployment: Option<&Arc<DeploymentRecord>>) {
        let components = deployment.map(|deployment| &deployment.spec.components);
        let named: BTreeSet<Digest> = components.into_iter().flatten().flat_map(named).collect();
        self.take(named.iter().copied());
        let before = match deployment {
            Some(_) => self.deployed.insert(workload.clone(), named),
            None => self.deployed.remove(workload),
        };
        self.release(before.unwrap_or_default());
    }

    /// Takes what the ledger says that the assets of this node keep now.
    pub(crate) fn kept(&mut self, roots: BTreeSet<Digest>) {
        self.take(roots.iter().copied());
        let before = std::mem::replace(&mut self.kept, roots);
        self.release(before);
    }

    /// Counts one more user of each.
    pub(crate) fn take(&mut self, digests: impl IntoIterator<Item = Digest>) {
        for digest in digests {
            let uses = self.uses.entry(digest).or_default();
            self.changed |= *uses == 0;
            *uses += 1;
        }
    }

    /// Counts one user less of each.
    pub(crate) fn release(&mut self, digests: impl IntoIterator<Item = Digest>) {
        for digest in digests {
            let Some(uses) = self.uses.get_mut(&digest) else {
                continue;
            };
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(&digest);
                self.changed = true;
            }
        }
    }

    /// Everything that is to stay, if that may have changed since this was last asked.
    pub(crate) fn changes(&mut self) -> Option<BTreeSet<Digest>> {
        std::mem::take(&mut self.changed).then(|| self.uses.keys().copied().collect())
    }
}

/// The artifacts of a component.
pub(crate) fn named(spec: &ComponentSpec) -> impl Iterator<Item = Digest> {
    let files = spec.files.iter().map(|file| file.artifact);
    files.chain(std::iter::once(spec.artifact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_still_uses_stays_and_only_changes_are_told() {
        let mut pins = Pins::default();
        let [old, new] = [b"old", b"new"].map(|content| Digest::of(content));
        assert_eq!(pins.changes(), None);
        // A deployment and the instance that runs it.
        pins.take([old]);
        pins.take([old]);
        assert_eq!(pins.changes(), Some(BTreeSet::from([old])));
        // The deployment moves on; the old version still runs.
        pins.take([new]);
        pins.release([old]);
        assert_eq!(pins.changes(), Some(BTreeSet::from([old, new])));
        pins.take([new]);
        assert_eq!(pins.changes(), None);
        pins.release([old]);
        assert_eq!(pins.changes(), Some(BTreeSet::from([new])));
        pins.release([old]);
        assert_eq!(pins.changes(), None);
        // An asset is committed to keep what nobody runs.
        pins.kept(BTreeSet::from([old]));
        assert_eq!(pins.changes(), Some(BTreeSet::from([old, new])));
        pins.kept(BTreeSet::new());
        assert_eq!(pins.changes(), Some(BTreeSet::from([new])));
    }
}
