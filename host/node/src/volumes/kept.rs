//! Leases that outlive the guests that asked for them: which, of whom, until when. Knows not what they
//! are for.
//!
//! `kept.json` holds them; a change is durable before it counts. A file that cannot be read ends the
//! start: a node that forgot would give back what somebody relies on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use orchestrator::ReplicaKey;
use serde::{Deserialize, Serialize};
use types::{LeaseId, Name};

use crate::data_dir::write_durably;
use crate::error::StartNodeError;

/// Most leases that are kept at once: as many as one node's guests may hold of all.
pub(crate) const KEPT_MAX: usize = 4_096;

/// The leases of this node that are kept.
#[derive(Debug)]
pub(crate) struct KeptLeases {
    path: PathBuf,
    kept: Mutex<BTreeMap<LeaseId, KeptLease>>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptLease {
    pub(crate) workload: Name,
    pub(crate) component: Name,
    pub(crate) index: u16,
    pub(crate) bytes: u64,
    /// When it ends, in ledger time, as far as was known.
    pub(crate) expires_ms: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    leases: BTreeMap<LeaseId, KeptLease>,
}

impl KeptLease {
    fn is_of(&self, replica: &ReplicaKey) -> bool {
        self.workload == replica.workload
            && self.component == replica.component
            && self.index == replica.index
    }
}

impl KeptLeases {
    /// Those in the file at `path`, if there is one.
    ///
    /// # Errors
    /// [`StartNodeError`] if it cannot be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self, StartNodeError> {
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                let action = "read";
                return Err(StartNodeError::Io {
                    action,
                    path,
                    source,
                });
            }
            Ok(text) => Some(text),
        };
        let content = text.map(|text| serde_json::from_slice::<Content>(&text));
        let content = content
            .transpose()
            .map_err(|error| StartNodeError::Damaged {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            path,
            kept: Mutex::new(content.unwrap_or_default().leases),
        })
    }

    /// Keeps these from now on; durable when it returns.
    ///
    /// # Errors
    /// What stands in the way; none is kept then.
    pub(crate) fn keep(&self, leases: &BTreeMap<LeaseId, KeptLease>) -> Result<(), String> {
        let mut kept = self.kept();
        let mut next = kept.clone();
        next.extend(leases.clone());
        if next.len() > KEPT_MAX {
            return Err(format!("this node keeps {KEPT_MAX} leases, the most"));
        }
        self.write(&next)?;
        *kept = next;
        Ok(())
    }

    /// Whether a lease outlives its guest.
    pub(crate) fn has(&self, lease: &LeaseId) -> bool {
        self.kept().contains_key(lease)
    }

    /// What a replica keeps, and how much that is.
    pub(crate) fn of(&self, replica: &ReplicaKey) -> BTreeMap<LeaseId, u64> {
        let kept = self.kept();
        let own = kept.iter().filter(|(_, kept)| kept.is_of(replica));
        own.map(|(lease, kept)| (*lease, kept.bytes)).collect()
    }

    /// Forgets those that are over: past their end, at a ledger time of `ledger_ms`, and not renewed.
    pub(crate) fn retain(&self, ledger_ms: u64, lives: impl Fn(&LeaseId) -> bool) {
        let mut kept = self.kept();
        let mut next = kept.clone();
        next.retain(|lease, kept| kept.expires_ms > ledger_ms || lives(lease));
        if next.len() == kept.len() {
            return;
        }
        // What is not forgotten now is so another time.
        match self.write(&next) {
            Ok(()) => *kept = next,
            Err(error) => tracing::warn!("leases that are over are still listed: {error}"),
        }
    }

    fn write(&self, leases: &BTreeMap<LeaseId, KeptLease>) -> Result<(), String> {
        let content = Content {
            leases: leases.clone(),
        };
        let text = serde_json::to_vec_pretty(&content).map_err(|error| error.to_string())?;
        write_durably(&self.path, &text).map_err(|error| error.to_string())
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<LeaseId, KeptLease>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use types::Digest;

    use super::*;

    fn lease(number: u8) -> LeaseId {
        LeaseId::from_digest(Digest::from_bytes([number; 32]))
    }

    fn of(index: u16, bytes: u64) -> KeptLease {
        KeptLease {
            workload: "shop".parse().unwrap(),
            component: "db".parse().unwrap(),
            index,
            bytes,
            expires_ms: 1_000,
        }
    }

    #[test]
    fn what_is_kept_is_found_again_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.json");
        let leases = KeptLeases::open(path.clone()).unwrap();
        let more = [(lease(1), of(0, 10)), (lease(2), of(1, 20))];
        leases.keep(&more.into()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let start = format!(
            "{{\n  \"leases\": {{\n    \"{}\": {{\n      \"workload\": \"shop\",\n      \"component\": \"db\",\n      \"index\": 0,\n      \"bytes\": 10,\n      \"expires_ms\": 1000\n    }}",
            lease(1)
        );
        assert!(text.starts_with(&start), "{text}");
        let again = KeptLeases::open(path.clone()).unwrap();
        assert!(again.has(&lease(1)) && !again.has(&lease(3)));
        let replica = ReplicaKey {
            workload: "shop".parse().unwrap(),
            component: "db".parse().unwrap(),
            index: 1,
        };
        assert_eq!(again.of(&replica), [(lease(2), 20)].into());
        // A ledger that is behind knows none of them.
        again.retain(999, |_| false);
        assert!(again.has(&lease(1)));
        again.retain(1_000, |found| *found == lease(2));
        assert!(!again.has(&lease(1)) && again.has(&lease(2)));
        let third = KeptLeases::open(path.clone()).unwrap();
        assert_eq!(third.of(&replica), [(lease(2), 20)].into());
        fs::write(&path, "{").unwrap();
        let damaged = KeptLeases::open(path).map(|_| ());
        assert!(
            matches!(damaged, Err(StartNodeError::Damaged { .. })),
            "{damaged:?}"
        );
    }
}
