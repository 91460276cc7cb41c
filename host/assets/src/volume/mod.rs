//! Volumes: storage of one or several members used as files and blocks. Knows no session and no ledger.

mod member;

pub use member::{
    BlockKey, KEYS_MAX, LISTED_MAX, Listed, Member, MemberAsked, MemberDone, MemberError, MemberOp,
    MemberUsage, PIECE_BYTES_MAX, Version,
};
