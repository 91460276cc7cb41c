//! Immutable artifacts on the local disk, named by their digests, and what can be made from them
//! again. Knows no network.

mod artifacts;
mod cache;

pub use artifacts::{Artifacts, ReadArtifactError, StorageError, StoreArtifactError, Upload};
pub use cache::FileCache;
