//! The stores of guests against models, through reopening and through kills.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod blobs;
mod crash;
mod keyvalue;

use hypermesh_storage::Stores;
use tempfile::TempDir;

fn stores() -> (TempDir, Stores) {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::open(folder.path()).unwrap();
    (folder, stores)
}
