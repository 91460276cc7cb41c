//! A door to what is read from the disks of members, for `tests/fuzz`. Not an interface.

use std::io;

use types::{Digest, LeaseId};

use super::disk::Disk;
use super::head::{decode_head, encode_head};
use super::record::{HEADER_BYTES, checked, decode_record, encode_record};
use super::{Store, first_head};
use crate::volume::{BlockKey, MemberDone, MemberOp, Version};

const BYTES: u64 = 64 << 10;
const EPOCH: u64 = 1 << 40;

/// A disk in memory.
#[derive(Debug, Clone, Default)]
struct Bytes(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Bytes {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        act(&mut self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Disk for Bytes {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.with(|bytes| {
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            let there = bytes.get(at..).unwrap_or_default();
            let count = there.len().min(into.len());
            let (copied, rest) = into.split_at_mut(count);
            copied.copy_from_slice(there.get(..count).unwrap_or_default());
            rest.fill(0);
        });
        Ok(())
    }

    fn write(&mut self, at: u64, more: &[u8]) -> io::Result<()> {
        self.with(|bytes| {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let end = at.saturating_add(more.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let Some(place) = bytes.get_mut(at..end) {
                place.copy_from_slice(more);
            }
        });
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lease() -> LeaseId {
    LeaseId::from_digest(Digest::from_bytes([1; 32]))
}

/// The page of a head, read and written again; none if it is none.
#[must_use]
pub fn head_again(page: &[u8]) -> Option<Vec<u8>> {
    decode_head(page).map(|head| encode_head(&head))
}

/// The header that says this, with a check that is right, and the same read and written again.
#[must_use]
pub fn record_again(body: &[u8]) -> ([u8; HEADER_BYTES], Option<[u8; HEADER_BYTES]>) {
    let secret = [7; 32];
    let header = checked(body, 3, &secret);
    let record = decode_record(&header, 3, &secret);
    (
        header,
        record.map(|record| encode_record(&record, 3, &secret)),
    )
}

/// Opens a store on these bytes, reads all that it lists, removes, and opens it again; whether it is one.
///
/// # Panics
/// If it is another one then.
#[must_use]
pub fn store(bytes: &[u8]) -> bool {
    let disk = Bytes::default();
    disk.with(|place| bytes.clone_into(place));
    let Ok(mut store) = Store::open(Box::new(disk.clone()), lease(), BYTES) else {
        return false;
    };
    let listed = store.apply(MemberOp::List { after: None });
    if let Ok(MemberDone::Listed(blocks)) = &listed {
        for (block, version) in blocks.iter().flat_map(|block| {
            let versions = block.versions.iter();
            versions.map(move |version| (block, version))
        }) {
            let (key, version) = (block.key, Some(*version));
            let read = store.apply(MemberOp::Read { key, version });
            if let Ok(MemberDone::Read(found)) = read {
                assert_eq!(found.map(|(version, _)| version), version);
            }
        }
    }
    drop(store);
    let Ok(mut again) = Store::open(Box::new(disk), lease(), BYTES) else {
        panic!("what was opened once is opened again");
    };
    assert_eq!(again.apply(MemberOp::List { after: None }), listed);
    let fenced = again.apply(MemberOp::Fence { epoch: EPOCH });
    let removed = again.apply(MemberOp::Remove {
        epoch: EPOCH,
        file: 1,
    });
    fenced.is_ok() && removed.is_ok()
}

/// A store with some pieces, as bytes.
#[must_use]
pub fn some_store() -> Vec<u8> {
    let disk = Bytes::default();
    if let Ok(first) = first_head(lease(), 5) {
        disk.with(|bytes| *bytes = first);
    }
    if let Ok(mut store) = Store::open(Box::new(disk.clone()), lease(), BYTES) {
        let _ = store.apply(MemberOp::Fence { epoch: 1 });
        for count in 1..6 {
            let _ = store.apply(MemberOp::Write {
                epoch: 1,
                key: BlockKey {
                    file: 1,
                    block: count % 2,
                },
                version: Version { epoch: 1, count },
                keep: None,
                bytes: vec![9; 3_000],
            });
        }
        let _ = store.apply(MemberOp::Flush);
    }
    disk.with(|bytes| bytes.clone())
}
