//! Volumes: storage of one or several members used as files and blocks. Knows no session and no ledger.

mod directory;
mod file_errors;
mod files;
mod flushing;
mod gather;
mod judge;
mod kept;
mod layout;
mod member;
mod path;
mod reading;
mod repair;
mod revoked;
mod seal;
mod seats;
mod spread;
mod spread_errors;
mod store;
mod writing;

pub use directory::{
    BLOCKS_FILE, BUCKETS_MAX, Bucket, DIRECTORY_FILE, DecodeBucketError, Entry, LENGTH_MAX,
};
pub use file_errors::{FileError, FileStat};
pub use files::{Files, PAGE_MAX};
pub use kept::{KeptMember, MemberAccess, Now, Volumes};
pub use layout::{BLOCK_BYTES, Layout, LayoutError, REPLICAS_MAX, SEATS_MAX, STEP_BYTES};
pub use member::{
    BlockKey, KEYS_MAX, LISTED_MAX, Listed, Member, MemberAsked, MemberDone, MemberError, MemberOp,
    MemberUsage, PIECE_BYTES_MAX, Version,
};
pub use path::{FilePath, FilePathError, PART_BYTES_MAX, PATH_BYTES_MAX};
pub use reading::SPAN_BYTES_MAX;
pub use repair::{NAMED_MAX, Repair, RepairError, Repaired};
pub use seal::{SEAL_BYTES, VolumeKey};
pub use seats::Seat;
pub use spread::{Volume, VolumeUsage};
pub use spread_errors::{OpenVolumeError, ReadVolumeError, WriteVolumeError};
#[doc(hidden)]
pub use store::fuzz;
pub use store::{OVERHEAD_BYTES, PIECES_MAX, stored_bytes};
