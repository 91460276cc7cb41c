//! A volume over its members: blocks are read so that no answer is old, and written so that no death
//! takes them. Knows neither files nor where members are.
//!
//! # Rules
//! `n` members each have one piece of a block; a *quorum* is more than half of them and enough to make
//! the block again. Up to `n - quorum` members may be faulty: away, behind (they missed a write and were
//! not repaired), damaged or lying. The one who writes is one, by its epoch.
//!
//! 1. *Beginning.* A writer asks for epochs and fences one above them at a quorum. It asks a member
//!    nothing about what was written before that member is fenced. Two quorums share a member, so of two
//!    writers the later one is seen by the other's next write, and what the earlier one's writes reached
//!    on a quorum is seen by the later one.
//! 2. *Writing.* A block's first write in an epoch settles it: finds what was written last. Each write
//!    has a version above all before and is sent to all members with the settled version to keep. It is
//!    acknowledged once a quorum has it. Then it is the settled one. After a write that failed, the block
//!    is settled again. So at each moment a quorum has the settled version, and at most one above it is
//!    under way.
//! 3. *Reading.* What a quorum shows is *known*. A version that a quorum cannot have, nor have had, is
//!    passed over: those who do not answer count as if they had it, and so do those who show later ones
//!    only, because those forget. The first one from above that is known is what was written last. If one
//!    that is neither comes before, the read asks again, and then fails: it returned something old if the
//!    write had been acknowledged, and something that could vanish if not. A version above all that was
//!    seen when the read began may be passed over as well: it began later.
//! 4. *Settling* reads by the same rule from fenced members only. A version that is unclear but can be
//!    made again is finished: written again as a new one, to those who answered, each of which keeps the
//!    greatest that it has, so that nothing that may be known is forgotten.
//! 5. *Sealing.* A piece that does not open was never there, and whoever showed it is taken as one who
//!    did not answer.
//! 6. *Flushing.* A block is durable when a quorum has acknowledged its write and flushed since, without
//!    a loss between; where that is not so it is settled and written again. Then the version before is
//!    forgotten. Where a block takes several pieces, a version that replaced a durable one is made durable
//!    before it is replaced itself: members that lose power at once lose different numbers of writes, and
//!    each keeps two versions only. Where each piece is the whole, any one that is late enough will do.
//! 7. *New members* have no pieces, which says nothing, until they were repaired.
//!
//! A read of what a quorum of those who answer at once agree on needs nothing more: any write that was
//! acknowledged is on one of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::gather::Answers;
use super::layout::Layout;
use super::member::{BlockKey, MemberDone, MemberError, MemberOp, MemberUsage, Version};
use super::seal::{Seal, VolumeKey};
use super::seats::{Holders, Seat, Seats};
use super::spread_errors::OpenVolumeError;

/// Blocks under way at once. With fourteen pieces or seven copies of two versions each they take no
/// more than 15 MiB.
pub(super) const BLOCKS_AT_ONCE: usize = 16;
/// Blocks with the same number modulo this are written one after the other.
const LOCKS: u64 = 64;
/// How often a writer tries to be the last one that began.
const OPEN_TRIES: usize = 8;
/// How far above the others an epoch may be and be believed: a member that lies cannot use them up.
const EPOCH_LEAP_MAX: u64 = 1 << 32;

/// Storage of several members as one. What is not written reads as zeros.
#[derive(Debug)]
pub struct Volume {
    pub(super) layout: Layout,
    pub(super) seal: Seal,
    pub(super) seats: Seats,
    pub(super) writer: Option<Writer>,
    pub(super) room: Semaphore,
    locks: Vec<tokio::sync::Mutex<()>>,
}

/// What only the one who writes knows.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) epoch: u64,
    /// Who flushed when it began, and which losses of theirs were known.
    pub(super) flushed_first: Holders,
    /// Writes that had a version.
    count: AtomicU64,
    /// Blocks that are settled, and as what.
    settled: Mutex<BTreeMap<BlockKey, Ground>>,
    /// Blocks whose last writes were lost and that nobody was told of yet.
    pub(super) undone: AtomicUsize,
    pub(super) unflushed: Mutex<BTreeMap<BlockKey, Unflushed>>,
    pub(super) flushing: tokio::sync::Mutex<()>,
}

/// What is known of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// A question about many is under way; the answer counts if nothing was written meanwhile.
    Asked(u64),
    /// This is what was written last.
    Settled(Option<Version>),
}

/// A write that may be lost with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unflushed {
    pub(super) version: Version,
    /// Whether one before it is kept.
    pub(super) has_before: bool,
    /// Who acknowledged it, and which losses of theirs were known then.
    pub(super) acks: Holders,
}

/// What a volume takes and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeUsage {
    /// What can be kept, by the member that can keep least.
    pub bytes: u64,
    /// What of it is taken, by the member that has least left.
    pub used_bytes: u64,
    /// How long all leases are certainly live, milliseconds.
    pub left_ms: u64,
    /// Members that answered.
    pub answered: usize,
}

impl Volume {
    fn new(layout: Layout, key: &VolumeKey, seats: Vec<Seat>) -> Result<Self, OpenVolumeError> {
        let (wanted, given) = (layout.total(), seats.len());
        if wanted != given {
            return Err(OpenVolumeError::Seats { wanted, given });
        }
        Ok(Self {
            layout,
            seal: Seal::new(key),
            seats: Seats::new(seats),
            writer: None,
            room: Semaphore::new(BLOCKS_AT_ONCE),
            locks: (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
        })
    }

    /// Opens a volume to read it.
    ///
    /// # Errors
    /// [`OpenVolumeError::Seats`]: nobody is asked yet.
    pub fn open_reader(
        layout: Layout,
        key: &VolumeKey,
        seats: Vec<Seat>,
    ) -> Result<Self, OpenVolumeError> {
        Self::new(layout, key, seats)
    }

    /// Opens a volume to read and write it. Whoever wrote it before writes no more.
    ///
    /// # Errors
    /// [`OpenVolumeError`].
    pub async fn open_writer(
        layout: Layout,
        key: &VolumeKey,
        seats: Vec<Seat>,
    ) -> Result<Self, OpenVolumeError> {
        let mut volume = Self::new(layout, key, seats)?;
        for _ in 0..OPEN_TRIES {
            let epochs = volume.everyone(|_| MemberOp::Epoch).await;
            let mut epochs = volume.enough(epochs, |done| match done {
                MemberDone::Epoch(epoch) => Some(epoch),
                _ => None,
            })?;
            epochs.sort_unstable();
            // As many as a quorum have at most this, and whoever wrote has one of them.
            let base = epochs.get(layout.quorum() - 1).copied().unwrap_or_default();
            let believed = |epoch: &u64| *epoch <= base.saturating_add(EPOCH_LEAP_MAX);
            let highest = epochs.into_iter().filter(believed).max().unwrap_or(base);
            let Some(epoch) = highest.checked_add(1) else {
                return Err(OpenVolumeError::Contended);
            };
            let fenced = volume.everyone(|_| MemberOp::Fence { epoch }).await;
            let mut count = 0;
            for (index, answer) in fenced.iter().enumerate() {
                let accepted = matches!(answer, Some(Ok(MemberDone::Done)));
                volume.seats.set_fenced(index, accepted);
                count += usize::from(accepted);
            }
            if count >= layout.quorum() {
                // What a writer before did not flush becomes durable, where it can.
                let flushed = volume.flush_members().await.unwrap_or_default();
                volume.writer = Some(Writer::new(epoch, flushed));
                return Ok(volume);
            }
            let refused = |answer: &_| matches!(answer, &Some(Err(MemberError::Fenced { .. })));
            if !fenced.iter().any(refused) {
                volume.enough(fenced, Some)?;
            }
        }
        Err(OpenVolumeError::Contended)
    }

    /// The answers that are what was wanted, if they are a quorum.
    fn enough<T>(
        &self,
        answers: Answers<MemberDone>,
        wanted: impl Fn(MemberDone) -> Option<T>,
    ) -> Result<Vec<T>, OpenVolumeError> {
        let mut last = silent();
        let mut found = Vec::new();
        for answer in answers.into_iter().flatten() {
            match answer.map(&wanted) {
                Ok(Some(answer)) => found.push(answer),
                Ok(None) => last = nonsense(),
                Err(error) => last = error,
            }
        }
        let (answered, needed) = (found.len(), self.layout.quorum());
        if answered >= needed {
            return Ok(found);
        }
        Err(OpenVolumeError::TooFew {
            answered,
            needed,
            total: self.layout.total(),
            last,
        })
    }

    /// How it lies on its members.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The places of members that showed pieces that do not open: those should be replaced.
    #[must_use]
    pub fn damaged(&self) -> Vec<usize> {
        self.seats.damaged()
    }

    /// Puts another member into a place; says whether there is such a place.
    pub fn replace(&self, index: usize, seat: Seat) -> bool {
        self.seats.replace(index, seat)
    }

    /// What it takes and how long it lasts; none if no member answers.
    pub async fn usage(&self) -> Option<VolumeUsage> {
        let answers = self.everyone(|_| MemberOp::Usage).await;
        let usages: Vec<MemberUsage> = answers
            .into_iter()
            .filter_map(|answer| match answer {
                Some(Ok(MemberDone::Usage(usage))) => Some(usage),
                _ => None,
            })
            .collect();
        let data = u64::try_from(self.layout.data()).unwrap_or(u64::MAX);
        let bytes = usages.iter().map(|usage| usage.bytes).min()?;
        let free = |usage: &MemberUsage| usage.bytes.saturating_sub(usage.used_bytes);
        let free = usages.iter().map(free).min()?;
        Some(VolumeUsage {
            bytes: bytes.saturating_mul(data),
            used_bytes: bytes.saturating_sub(free).saturating_mul(data),
            left_ms: usages.iter().map(|usage| usage.left_ms).min()?,
            answered: usages.len(),
        })
    }

    pub(super) async fn lock(&self, key: BlockKey) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let number = key.file.wrapping_mul(31).wrapping_add(key.block) % LOCKS;
        let lock = self.locks.get(usize::try_from(number).ok()?)?;
        Some(lock.lock().await)
    }
}

impl Writer {
    fn new(epoch: u64, flushed_first: Holders) -> Self {
        Self {
            epoch,
            flushed_first,
            count: AtomicU64::new(0),
            settled: Mutex::default(),
            undone: AtomicUsize::new(0),
            unflushed: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn next_version(&self) -> Version {
        Version {
            epoch: self.epoch,
            count: self.count.fetch_add(1, Ordering::Relaxed),
        }
    }

    pub(super) fn settled(&self) -> MutexGuard<'_, BTreeMap<BlockKey, Ground>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unflushed(&self) -> MutexGuard<'_, BTreeMap<BlockKey, Unflushed>> {
        self.unflushed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody said anything.
pub(super) fn silent() -> MemberError {
    MemberError::Lost("nobody answered".to_owned())
}

/// What no member answers that keeps to the contract.
pub(super) fn nonsense() -> MemberError {
    MemberError::Invalid("the member answered what was not asked".to_owned())
}
