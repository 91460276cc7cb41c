//! What a node keeps on its disk: immutable artifacts, what can be made from them again, and the
//! stores of guests. Knows no network.

mod artifacts;
mod blob_names;
mod blob_rows;
mod blobs;
mod cache;
mod keyvalue;
mod keyvalue_rows;
mod store_bounds;
mod store_errors;
mod stores;
mod tables;

pub use artifacts::{Artifacts, ReadArtifactError, StorageError, StoreArtifactError, Upload};
pub use blob_rows::{ContainerInfo, ObjectInfo};
pub use blobs::{BlobReader, BlobWriter, Blobs};
pub use cache::FileCache;
pub use keyvalue::{KeyPage, KeyPosition, KeyValues};
pub use store_bounds::*;
pub use store_errors::{BlobError, KeyValueError};
pub use stores::Stores;
