//! The fixed bounds of the stores of guests, each with its reason. The quota of a workload comes
//! with each write.

/// Longest name of a bucket or container: the names are part of every key on disk.
pub const STORE_NAME_BYTES_MAX: usize = 255;

/// Most buckets of a workload with something in them.
pub const BUCKETS_MAX: u64 = 1_024;

/// Longest key: as long as object stores have them.
pub const KEY_BYTES_MAX: usize = 1_024;

/// Largest value: values are held in memory, several at once; larger things are objects.
pub const VALUE_BYTES_MAX: usize = 2 << 20;

/// Most keys of a workload. A quota counts keys and values only, and a short key costs the disk
/// several times its length.
pub const KEYS_MAX: u64 = 1_000_000;

/// Most keys of one batch: what one transaction carries.
pub const BATCH_KEYS_MAX: usize = 1_000;

/// Most bytes of values that one batch reads or writes: they are in memory together.
pub const BATCH_BYTES_MAX: usize = 8 << 20;

/// Most keys or object names of one page of a listing.
pub const PAGE_NAMES_MAX: usize = 1_000;

/// Most containers of a workload.
pub const CONTAINERS_MAX: u64 = 1_024;

/// Longest name of an object: as long as object stores have them.
pub const OBJECT_NAME_BYTES_MAX: usize = 1_024;

/// Most objects of a workload: each is a file.
pub const OBJECTS_MAX: u64 = 100_000;

/// Most bytes that are read from an object at once.
pub const BLOB_PIECE_BYTES_MAX: usize = 64 << 10;

/// Memory for pages of the database: it holds small things, and the system caches its file, too.
pub(crate) const TABLES_CACHE_BYTES: usize = 32 << 20;

/// Operations that wait for the writer; more callers wait to be let in.
pub(crate) const WRITES_WAITING_MAX: usize = 256;

/// Operations that share one flush of the disk.
pub(crate) const WRITES_PER_COMMIT_MAX: usize = 128;
