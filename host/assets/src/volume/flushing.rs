//! Flushing: what was acknowledged becomes durable, or is said to be lost. The rules are told in
//! `spread`.

use std::sync::atomic::Ordering;

use tokio::sync::{MutexGuard, SemaphorePermit};

use super::gather::quorate;
use super::judge::{Verdict, judge};
use super::member::{BlockKey, KEYS_MAX, MemberDone, MemberError, MemberOp, Version};
use super::seats::{Holders, Losses};
use super::spread::{Unflushed, Volume, Writer, nonsense};
use super::spread_errors::WriteVolumeError;
use super::writing::all;

/// How often blocks that members lost are written again before it is given up.
const ROUNDS: usize = 4;

/// A block that one task writes.
pub(super) struct Exclusive<'a> {
    /// What was written last.
    pub(super) settled: Option<Version>,
    _lock: Option<MutexGuard<'a, ()>>,
    _room: Option<SemaphorePermit<'a>>,
}

impl Volume {
    /// Makes durable what was written before. A volume that was opened to read has nothing to flush.
    ///
    /// # Errors
    /// [`WriteVolumeError`]: what was acknowledged since the last flush may be lost if members lose
    /// power; it can be tried again.
    pub async fn flush(&self) -> Result<(), WriteVolumeError> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let _one = writer.flushing.lock().await;
        for round in 0..ROUNDS {
            let wanted = writer.unflushed().clone();
            if wanted.is_empty() {
                return told(writer);
            }
            let flushed = match self.flush_members().await {
                Ok(flushed) => flushed,
                // Who lost power says so once, and flushes then.
                Err(WriteVolumeError::TooFew { .. }) if round == 0 => continue,
                Err(error) => return Err(error),
            };
            let is_durable = |block: &Unflushed| self.is_flushed(&block.acks, &flushed);
            let mut durable = Vec::new();
            let mut short = Vec::new();
            for (key, block) in wanted {
                if is_durable(&block) {
                    durable.push((key, block));
                } else {
                    short.push((key, block.version));
                }
            }
            self.forget_before(writer, &durable).await;
            if short.is_empty() {
                return told(writer);
            }
            for (key, version) in short {
                if !self.renew(writer, key, version).await? {
                    writer.undone.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Err(WriteVolumeError::Unsteady { rounds: ROUNDS })
    }

    /// Whether enough of those who have something flushed it.
    fn is_flushed(&self, holders: &[(usize, Losses)], flushed: &[(usize, Losses)]) -> bool {
        let both = holders.iter().filter(|holder| flushed.contains(holder));
        both.count() >= self.layout.quorum()
    }

    /// Notes who has what a writer before left, if it may be lost with them.
    pub(super) fn note_found(
        &self,
        writer: &Writer,
        key: BlockKey,
        version: Version,
        holders: Holders,
    ) {
        if self.layout.data() == 1 || self.is_flushed(&holders, &writer.flushed_first) {
            return;
        }
        let found = Unflushed {
            version,
            has_before: true,
            acks: holders,
        };
        let mut unflushed = writer.unflushed();
        if unflushed
            .get(&key)
            .is_none_or(|block| block.version < version)
        {
            unflushed.insert(key, found);
        }
    }

    /// Room for a block and its lock, once what is written there may be replaced.
    pub(super) async fn replaceable(
        &self,
        writer: &Writer,
        key: BlockKey,
    ) -> Result<Exclusive<'_>, WriteVolumeError> {
        loop {
            let mut block = self.exclusive(key).await;
            block.settled = self.settle(writer, key).await?;
            let replaced = writer
                .unflushed()
                .get(&key)
                .is_some_and(|block| block.has_before);
            if self.layout.data() == 1 || !replaced {
                return Ok(block);
            }
            drop(block);
            self.flush().await?;
        }
    }

    /// Room for a block and its lock, whatever is there.
    pub(super) async fn exclusive(&self, key: BlockKey) -> Exclusive<'_> {
        // The semaphore is never closed.
        let room = self.room.acquire().await.ok();
        Exclusive {
            settled: None,
            _lock: self.lock(key).await,
            _room: room,
        }
    }

    /// Flushes all members; says who did, and which losses of theirs were known before.
    pub(super) async fn flush_members(&self) -> Result<Holders, WriteVolumeError> {
        let ask = |index| async move {
            let losses = self.seats.losses(index);
            match self.seats.ask_same(index, losses, MemberOp::Flush).await? {
                MemberDone::Done => Ok(losses),
                _ => Err(nonsense()),
            }
        };
        let quorum = self.layout.quorum();
        let answers = self.gather(ask, |answers| quorate(answers, quorum)).await;
        self.done(answers)
    }

    /// Takes blocks off the list, and lets members forget what was before.
    async fn forget_before(&self, writer: &Writer, durable: &[(BlockKey, Unflushed)]) {
        {
            let mut unflushed = writer.unflushed();
            for (key, block) in durable {
                if unflushed
                    .get(key)
                    .is_some_and(|now| now.version == block.version)
                {
                    unflushed.remove(key);
                }
            }
        }
        let pieces: Vec<(BlockKey, Version)> = durable
            .iter()
            .filter(|(_, block)| block.has_before)
            .map(|(key, block)| (*key, block.version))
            .collect();
        for pieces in pieces.chunks(KEYS_MAX) {
            // It costs space if it fails, and the next write of the block makes up for it.
            let ask = |index| async move {
                if !self.seats.is_fenced(index) {
                    return Err(MemberError::Lost("it is not fenced".to_owned()));
                }
                let (epoch, pieces) = (writer.epoch, pieces.to_vec());
                let settle = MemberOp::Settle { epoch, pieces };
                self.seats.ask(index, settle).await
            };
            let quorum = self.layout.quorum();
            self.gather(ask, |answers| quorate(answers, quorum)).await;
        }
    }

    /// Finds out who has a block now that some who had it lost something, and writes it again if they
    /// are too few. Says whether it is still there.
    async fn renew(
        &self,
        writer: &Writer,
        key: BlockKey,
        version: Version,
    ) -> Result<bool, WriteVolumeError> {
        let _block = self.exclusive(key).await;
        let now = writer.unflushed().get(&key).map(|block| block.version);
        if now != Some(version) {
            // It was written again, or removed.
            return Ok(true);
        }
        let before = self.all_losses();
        let shown = self.survey(key, true, all).await;
        if let Verdict::Known(write) = judge(self.layout, &shown, None) {
            let holders = shown.iter().zip(before).enumerate();
            let acks = holders.filter_map(|(index, (shown, losses))| {
                let has = shown.held.iter().any(|held| Some(held.name) == write);
                has.then_some((index, losses))
            });
            let found = write.map(|(version, _)| version);
            let is_there = found.is_some_and(|found| found >= version);
            let mut unflushed = writer.unflushed();
            match unflushed.get_mut(&key) {
                Some(block) if is_there => block.acks = acks.collect(),
                _ => {
                    unflushed.remove(&key);
                }
            }
            if !is_there {
                writer.settled().remove(&key);
            }
            return Ok(is_there);
        }
        self.settle_shown(writer, key, &shown).await?;
        Ok(true)
    }

    pub(super) fn all_losses(&self) -> Vec<Losses> {
        let places = 0..self.layout.total();
        places.map(|index| self.seats.losses(index)).collect()
    }
}

/// All is durable, but for what was lost and nobody knows of yet.
fn told(writer: &Writer) -> Result<(), WriteVolumeError> {
    match writer.undone.swap(0, Ordering::Relaxed) {
        0 => Ok(()),
        blocks => Err(WriteVolumeError::Undone { blocks }),
    }
}
