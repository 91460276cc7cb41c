//! Members of volumes from outside: kept for a lease, asked here and over streams, found again, wiped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod leases;
mod remote;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hypermesh_assets::volume::{
    BlockKey, Member, MemberAccess, MemberDone, MemberError, MemberOp, Version, Volumes,
};
use hypermesh_assets::{LeaseTerm, LedgerClock};
use tokio::runtime::Handle;
use types::{Amount, Audience, Digest, LeaseId, RegionScope};

/// Ledger time of the block that all tests begin with.
const T: u64 = 1_800_000_000_000;
const BYTES: u64 = 1 << 20;
const KEY: BlockKey = BlockKey { file: 1, block: 2 };

fn lease(number: u8) -> LeaseId {
    LeaseId::from_digest(Digest::from_bytes([number; 32]))
}

/// A term of so many seconds from the beginning.
fn seconds(seconds: u64) -> LeaseTerm {
    LeaseTerm::new(T + seconds * 1_000, LedgerClock::new(T, 0))
}

/// Volumes in a folder, and the clock of those who ask.
struct Node {
    volumes: Volumes,
    now_ms: Arc<AtomicU64>,
}

impl Node {
    fn start(folder: &Path) -> Self {
        Self {
            volumes: Volumes::open(folder, Handle::current()).unwrap(),
            now_ms: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Access to the member of a lease of an hour, by one capability; the root's is its number.
    fn access(&self, number: u8, scope: RegionScope, made_of: &[u8]) -> MemberAccess {
        let bytes = (Amount(BYTES), Amount(1 << 40));
        let member = self
            .volumes
            .member(lease(number), bytes, seconds(3_600), 0, T);
        let ids: Vec<_> = made_of
            .iter()
            .map(|id| Digest::from_bytes([*id; 32]))
            .collect();
        let now_ms = Arc::clone(&self.now_ms);
        let now = Arc::new(move || now_ms.load(Ordering::Relaxed));
        MemberAccess::new(member.unwrap(), scope, ids.into(), made_of.len() == 1, now)
    }

    fn root(&self, number: u8) -> MemberAccess {
        self.access(number, whole(true, true), &[number])
    }
}

fn whole(read: bool, write: bool) -> RegionScope {
    RegionScope::volume(read, write, u64::MAX, Audience::Member)
}

fn write(count: u64, byte: u8) -> MemberOp {
    MemberOp::Write {
        epoch: 1,
        key: KEY,
        version: Version { epoch: 1, count },
        keep: None,
        bytes: vec![byte; 5_000],
    }
}

const READ: MemberOp = MemberOp::Read {
    key: KEY,
    version: None,
};

async fn done(member: &dyn Member, operation: MemberOp) {
    assert_eq!(member.ask(operation).await, Ok(MemberDone::Done));
}

/// The byte that a member's piece is full of.
async fn byte(member: &dyn Member) -> Result<Option<u8>, MemberError> {
    match member.ask(READ).await? {
        MemberDone::Read(piece) => Ok(piece.map(|(_, bytes)| {
            assert!(bytes.iter().all(|byte| *byte == bytes[0]) && bytes.len() == 5_000);
            bytes[0]
        })),
        other => panic!("{other:?}"),
    }
}
