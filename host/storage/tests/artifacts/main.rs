//! Artifacts slice by slice: what is cut, filled, kept through kills, and let go when room is short.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod crash;
mod partial;
mod quota;
mod shards;
mod slices;

use std::ops::Range;

use hypermesh_storage::{Artifacts, Partial, SizeProof, group_count, slices_of};
use tempfile::TempDir;
use types::Digest;

fn store() -> (TempDir, Artifacts) {
    let folder = tempfile::tempdir().unwrap();
    let store = Artifacts::open(folder.path()).unwrap();
    (folder, store)
}

/// Bytes that differ from group to group.
fn content(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}

fn slice(store: &Artifacts, digest: &Digest, groups: &Range<u64>) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut reader = store.reader(digest).unwrap();
    reader.slice(groups, &mut encoded).unwrap();
    encoded
}

fn last_group(bytes: u64) -> Range<u64> {
    group_count(bytes) - 1..group_count(bytes)
}

fn proof(store: &Artifacts, digest: &Digest) -> SizeProof {
    let bytes = store.size(digest).unwrap();
    SizeProof::verify(*digest, bytes, &slice(store, digest, &last_group(bytes))).unwrap()
}

/// Copies `groups` from `store` into `partial`.
fn copy(store: &Artifacts, partial: &Partial, groups: Range<u64>) {
    for groups in slices_of(groups) {
        let encoded = slice(store, &partial.digest(), &groups);
        partial.write_slice(&groups, &encoded).unwrap();
    }
}
