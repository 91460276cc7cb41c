//! Immutable artifacts on the local disk, named by their digests. Knows no network.

mod artifacts;

pub use artifacts::{Artifacts, ReadArtifactError, StorageError, StoreArtifactError, Upload};
