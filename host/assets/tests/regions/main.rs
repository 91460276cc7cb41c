//! Regions of memory from outside: what they keep, when they end, who may do what, here and over
//! streams.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod linear;
mod local;
mod model;
mod nodes;
mod remote;

use std::sync::Arc;

use hypermesh_assets::{LeaseTerm, LedgerClock, RegionAccess, Regions};
use types::{Amount, Audience, Digest, LeaseId, RegionRights, RegionScope};

/// Ledger time of the block that all tests begin with.
const T: u64 = 1_800_000_000_000;

fn lease(number: u8) -> LeaseId {
    LeaseId::from_digest(Digest::from_bytes([number; 32]))
}

/// A term of so many seconds from the beginning.
fn seconds(seconds: u64) -> LeaseTerm {
    LeaseTerm::new(T + seconds * 1_000, LedgerClock::new(T, 0))
}

fn whole(bytes: u64) -> RegionScope {
    RegionScope {
        rights: RegionRights::ALL,
        from: 0,
        until: bytes,
        expires_ms: u64::MAX,
        audience: Audience::Member,
    }
}

/// A region of an hour, and its owner's access to it.
fn region(regions: &Regions, number: u8, bytes: u64) -> RegionAccess {
    let opened = regions.open(
        lease(number),
        Amount(bytes),
        Amount(1 << 40),
        seconds(3_600),
        0,
    );
    let ids = Arc::new([Digest::from_bytes([number; 32])]);
    RegionAccess::new(opened.unwrap(), whole(bytes), ids, true)
}
