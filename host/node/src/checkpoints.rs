//! Checkpoints on disk: one file per replica, replaced whole, never half there. Knows nothing of
//! what is in them.
//!
//! `checkpoints/WORKLOAD/COMPONENT.INDEX`: the magic `HMCP`, the format (u32), the component's
//! digest (32 bytes), the sequence (u64), the state's length (u64), the BLAKE3 digest of all of
//! that and the state (32 bytes), the state. Numbers are little-endian.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use orchestrator::ReplicaKey;
use runtime::{Checkpoint, CheckpointError, CheckpointMark, Checkpoints, ReplicaState};
use types::{Digest, Name};

const MAGIC: &[u8; 4] = b"HMCP";
const FORMAT: u32 = 1;
/// Everything that stands before the digest.
const FACTS_BYTES: usize = 4 + 4 + Digest::BYTES + 8 + 8;
const HEADER_BYTES: usize = FACTS_BYTES + Digest::BYTES;

/// The states of all replicas of this node.
pub(crate) struct States {
    folder: PathBuf,
    open: Mutex<BTreeMap<ReplicaKey, Open>>,
}

/// A state that some generation asked for.
struct Open {
    state: Arc<ReplicaState>,
    file: Arc<CheckpointFile>,
}

impl States {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            open: Mutex::default(),
        }
    }

    /// The state of one replica: the same for all of its generations.
    pub(crate) fn of(&self, key: &ReplicaKey) -> Arc<ReplicaState> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.entry(key.clone()).or_insert_with(|| {
            let folder = self.folder.join(key.workload.as_str());
            let path = folder.join(format!("{}.{}", key.component, key.index));
            let file = Arc::new(CheckpointFile::new(path));
            let state = Arc::new(ReplicaState::new(Arc::clone(&file) as Arc<dyn Checkpoints>));
            Open { state, file }
        });
        Arc::clone(&open.state)
    }

    /// The latest checkpoint of a replica that keeps one.
    pub(crate) fn mark(&self, key: &ReplicaKey) -> Option<CheckpointMark> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(key).and_then(|open| open.state.mark())
    }

    /// Removes what belongs to workloads that are gone. Done at once and not later: a workload of
    /// the same name that is deployed next begins without state.
    pub(crate) fn retain(&self, workloads: &BTreeSet<Name>) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|key, open| {
            let live = workloads.contains(&key.workload);
            if !live {
                open.file.close();
            }
            live
        });
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if !workloads.iter().any(|workload| name == workload.as_str()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The checkpoint of one replica.
struct CheckpointFile {
    path: PathBuf,
    /// Held while the file is written. False once its workload is gone: a call that ends after
    /// that must not bring its state back.
    writable: Mutex<bool>,
}

impl CheckpointFile {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            writable: Mutex::new(true),
        }
    }

    /// Waits for a write that has begun, and refuses more.
    fn close(&self) {
        *self.writable.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    fn failed(&self, action: &str) -> impl FnOnce(io::Error) -> CheckpointError {
        let path = self.path.clone();
        let action = action.to_owned();
        move |error| CheckpointError {
            reason: format!("cannot {action} {}: {error}", path.display()),
        }
    }
}

impl Checkpoints for CheckpointFile {
    fn load(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(self.failed("read"))?,
        };
        decode(&bytes).map(Some).map_err(|problem| CheckpointError {
            reason: format!(
                "{} {problem}: put an intact copy in its place, or remove it to begin without state",
                self.path.display()
            ),
        })
    }

    fn store(&self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let writable = self.writable.lock().unwrap_or_else(PoisonError::into_inner);
        if !*writable {
            let reason = "the workload was removed".to_owned();
            return Err(CheckpointError { reason });
        }
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(self.failed("make the folder of"))?;
        // Not `with_extension`: that would take the index for one.
        let mut unfinished = self.path.clone().into_os_string();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        write(&unfinished, &encode(checkpoint)).map_err(self.failed("write"))?;
        fs::rename(&unfinished, &self.path).map_err(self.failed("replace"))?;
        sync_folder(folder).map_err(self.failed("flush the folder of"))?;
        if checkpoint.sequence == 1 {
            // The first one may have made the folders.
            for parent in folder.ancestors().skip(1).take(2) {
                sync_folder(parent).map_err(self.failed("flush the folder of"))?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + checkpoint.state.len());
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(checkpoint.artifact.as_bytes());
    bytes.extend(checkpoint.sequence.to_le_bytes());
    bytes.extend((checkpoint.state.len() as u64).to_le_bytes());
    let digest = digest(&bytes, &checkpoint.state);
    bytes.extend(digest.as_bytes());
    bytes.extend(&checkpoint.state);
    bytes
}

fn digest(facts: &[u8], state: &[u8]) -> Digest {
    Digest::of(&[facts, state].concat())
}

fn decode(bytes: &[u8]) -> Result<Checkpoint, &'static str> {
    const CUT: &str = "is damaged: it is too short";
    let (facts, rest) = bytes.split_at_checked(FACTS_BYTES).ok_or(CUT)?;
    let (found, state) = rest.split_first_chunk::<{ Digest::BYTES }>().ok_or(CUT)?;
    let (magic, facts_left) = facts.split_first_chunk::<4>().ok_or(CUT)?;
    let (format, facts_left) = facts_left.split_first_chunk::<4>().ok_or(CUT)?;
    let (artifact, facts_left) = facts_left.split_first_chunk().ok_or(CUT)?;
    let (sequence, facts_left) = facts_left.split_first_chunk::<8>().ok_or(CUT)?;
    let (length, _) = facts_left.split_first_chunk::<8>().ok_or(CUT)?;
    if magic != MAGIC {
        return Err("is no checkpoint");
    }
    if u32::from_le_bytes(*format) != FORMAT {
        return Err("has the format of another release");
    }
    if u64::from_le_bytes(*length) != state.len() as u64 {
        return Err("is damaged: its length is not what it says");
    }
    if digest(facts, state) != Digest::from_bytes(*found) {
        return Err("is damaged: its content does not have its digest");
    }
    Ok(Checkpoint {
        sequence: u64::from_le_bytes(*sequence),
        artifact: Digest::from_bytes(*artifact),
        state: state.to_vec(),
    })
}

/// Reads a checkpoint, then writes it again, which must be the same bytes.
pub(crate) fn read_again(bytes: &[u8]) {
    if let Ok(checkpoint) = decode(bytes) {
        assert_eq!(encode(&checkpoint), bytes, "a checkpoint has two encodings");
    }
}

/// The bytes of a small checkpoint.
pub(crate) fn some() -> Vec<u8> {
    encode(&Checkpoint {
        sequence: 1,
        artifact: Digest::from_bytes([7; 32]),
        state: b"state".to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(sequence: u64) -> Checkpoint {
        Checkpoint {
            sequence,
            artifact: Digest::from_bytes([7; 32]),
            state: b"state".to_vec(),
        }
    }

    fn key(workload: &str) -> ReplicaKey {
        ReplicaKey {
            workload: Name::new(workload).unwrap(),
            component: Name::new("main").unwrap(),
            index: 3,
        }
    }

    #[test]
    fn the_format_is_what_it_was() {
        let bytes = encode(&checkpoint(0x0102));
        let mut expected = b"HMCP\x01\0\0\0".to_vec();
        expected.extend([7; 32]);
        expected.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        let digest = Digest::of(&[expected.as_slice(), b"state"].concat());
        expected.extend(digest.as_bytes());
        expected.extend(b"state");
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes), Ok(checkpoint(0x0102)));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let bytes = encode(&checkpoint(9));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_err(), "damaged at {at}");
        }
    }

    #[test]
    fn the_latest_is_kept_until_its_workload_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let states = folder.path().join("checkpoints");
        let path = states.join("gone").join("main.3");
        let file = CheckpointFile::new(path.clone());
        assert_eq!(file.load(), Ok(None));
        file.store(&checkpoint(1)).unwrap();
        file.store(&checkpoint(2)).unwrap();
        assert_eq!(file.load(), Ok(Some(checkpoint(2))));
        let all = States::new(states);
        let first = all.of(&key("gone"));
        assert!(Arc::ptr_eq(&first, &all.of(&key("gone"))));
        all.retain(&[Name::new("gone").unwrap()].into()).unwrap();
        assert!(path.exists());
        all.retain(&[Name::new("other").unwrap()].into()).unwrap();
        assert!(!path.exists());
        assert!(!Arc::ptr_eq(&first, &all.of(&key("gone"))));
        file.close();
        assert!(file.store(&checkpoint(3)).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.0");
        let file = CheckpointFile::new(path.clone());
        file.store(&checkpoint(1)).unwrap();
        fs::write(&path, b"HMCP").unwrap();
        let reason = file.load().unwrap_err().reason;
        assert!(
            reason.contains(&path.display().to_string()) && reason.contains("damaged"),
            "{reason}"
        );
    }
}
