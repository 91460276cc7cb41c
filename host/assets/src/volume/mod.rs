//! Volumes: storage of one or several members used as files and blocks. Knows no session and no ledger.

mod kept;
mod member;
mod revoked;
mod store;

pub use kept::{KeptMember, MemberAccess, Now, Volumes};
pub use store::{OVERHEAD_BYTES, PIECES_MAX, stored_bytes};
pub use member::{
    BlockKey, KEYS_MAX, LISTED_MAX, Listed, Member, MemberAsked, MemberDone, MemberError, MemberOp,
    MemberUsage, PIECE_BYTES_MAX, Version,
};
