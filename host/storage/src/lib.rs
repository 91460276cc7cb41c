//! What a node keeps on its disk: immutable artifacts, what can be made from them again, and the
//! stores of guests. Knows no network.

mod artifact_errors;
mod artifact_reader;
mod artifacts;
mod blob_names;
mod blob_rows;
mod blobs;
mod cache;
mod groups;
mod keyvalue;
mod keyvalue_rows;
mod outboard;
mod partial;
mod raw_artifact;
mod shard_manifest;
mod shards;
mod space;
mod store_bounds;
mod store_errors;
mod stores;
mod tables;

pub use artifact_errors::{
    FillArtifactError, FinishPartialError, QuotaExceededError, ReadArtifactError, ReadSliceError,
    StorageError, StoreArtifactError, WriteSliceError,
};
pub use artifact_reader::ArtifactReader;
pub use artifacts::{Artifacts, Upload};
pub use blob_rows::{ContainerInfo, ObjectInfo};
pub use blobs::{BlobReader, BlobWriter, Blobs};
pub use cache::FileCache;
pub use groups::{GROUP_BYTES, GroupSet, group_count, groups_covering};
pub use keyvalue::{KeyPage, KeyPosition, KeyValues};
pub use outboard::{BadSliceError, FILLED_BYTES_MAX, SLICE_BYTES_MAX, SLICE_GROUPS_MAX, slices_of};
pub use partial::{Partial, SizeProof};
pub use raw_artifact::RawArtifact;
pub use shard_manifest::{
    DecodeManifestError, SHARD_PIECE_BYTES, SHARDS, SHARDS_NEEDED, ShardManifest,
};
pub use shards::{MakeShardsError, RebuildError, Shards};
pub use store_bounds::*;
pub use store_errors::{BlobError, KeyValueError};
pub use stores::Stores;
