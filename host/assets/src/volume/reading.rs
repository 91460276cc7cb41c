//! Reading blocks: what members show is asked for and judged. The rules are told in `spread`.

use std::future::Future;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _, TryStreamExt as _};

use tokio::time::{Instant, timeout_at};

use super::gather::{Answers, Enough};
use super::judge::{Held, Shown, Unclear, Verdict, answered, block, judge, latest};
use super::layout::BLOCK_BYTES;
use super::member::{BlockKey, MemberDone, MemberError, MemberOp, Version};
use super::seal::PieceName;
use super::spread::{BLOCKS_AT_ONCE, Volume, nonsense};
use super::spread_errors::ReadVolumeError;

/// Most bytes of one read or write.
pub const SPAN_BYTES_MAX: usize = 1 << 20;
/// What those who are asked first have before all are asked.
const QUICK_PATIENCE: Duration = Duration::from_millis(300);
/// How often a read asks again while a write is neither known nor ruled out.
const READ_TRIES: u32 = 6;
/// What all tries of a read may take, but for what members do not answer in the last.
const READ_PATIENCE: Duration = Duration::from_secs(5);
/// What it waits before the second time; doubled from then on.
const READ_PAUSE: Duration = Duration::from_millis(5);
/// How often a member is asked again whose pieces change between two questions.
const RACE_TRIES: usize = 4;

impl Volume {
    /// Reads bytes of a file, at most [`SPAN_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ReadVolumeError`].
    pub async fn read(
        &self,
        file: u64,
        offset: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, ReadVolumeError> {
        let spans = spans(file, offset, bytes)?
            .into_iter()
            .map(|span| async move {
                let block = self.whole_block(span.key).await?.unwrap_or_default();
                let mut part = vec![0; span.bytes];
                let there = block.get(span.from..).unwrap_or_default();
                for (place, byte) in part.iter_mut().zip(there) {
                    *place = *byte;
                }
                Ok::<_, ReadVolumeError>(part)
            });
        let read = futures::stream::iter(spans).buffered(BLOCKS_AT_ONCE);
        let parts: Vec<Vec<u8>> = read.try_collect().await?;
        Ok(parts.concat())
    }

    /// A block, for which there is room in memory. Whoever writes finishes first what a writer before
    /// left unclear.
    pub(super) async fn whole_block(
        &self,
        key: BlockKey,
    ) -> Result<Option<Vec<u8>>, ReadVolumeError> {
        // The semaphore is never closed.
        let _room = self.room.acquire().await;
        let read = self.block(key).await;
        let (Err(ReadVolumeError::TooFew { .. }), Some(writer)) = (&read, &self.writer) else {
            return read;
        };
        let _lock = self.lock(key).await;
        writer.settled().remove(&key);
        match self.settle(writer, key).await {
            Ok(_) => self.block(key).await,
            Err(_) => read,
        }
    }

    /// A block, with zeros at its end left out as they come; none if it was never written.
    pub(super) async fn block(&self, key: BlockKey) -> Result<Option<Vec<u8>>, ReadVolumeError> {
        if let Some(found) = self.agreed(key).await {
            return Ok(found);
        }
        let (began, mut floor, mut pause) = (Instant::now(), None, READ_PAUSE);
        let mut tries = READ_TRIES;
        loop {
            let shown = self.survey(key, false, |shown| {
                matches!(judge(self.layout, shown, floor), Verdict::Known(_))
            });
            let shown = shown.await;
            match judge(self.layout, &shown, floor) {
                Verdict::Known(None) => return Ok(None),
                Verdict::Known(Some(write)) => {
                    let block = block(self.layout, &shown, write);
                    return block.map(Some).ok_or(ReadVolumeError::Malformed(key));
                }
                Verdict::Unclear(unclear) if tries == 1 || began.elapsed() > READ_PATIENCE => {
                    return Err(self.too_few(key, &unclear));
                }
                Verdict::Unclear(_) => {}
            }
            let saw_all = self.layout.total() - answered(&shown) < self.layout.quorum();
            if floor.is_none() && saw_all {
                floor = latest(&shown);
            }
            tries -= 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    pub(super) fn too_few(&self, key: BlockKey, unclear: &Unclear) -> ReadVolumeError {
        ReadVolumeError::TooFew {
            key,
            answered: unclear.answered,
            holders: unclear.holders,
            needed: self.layout.quorum(),
            total: self.layout.total(),
        }
    }

    /// What a quorum shows at once, if all of it shows the same.
    async fn agreed(&self, key: BlockKey) -> Option<Option<Vec<u8>>> {
        let order = self.seats.by_promise();
        let first = order.get(..self.layout.quorum())?;
        let asks = first
            .iter()
            .map(|index| async move {
                let read = MemberOp::Read { key, version: None };
                (*index, self.seats.ask(*index, read).await)
            })
            .collect();
        let answers = self.quick(first, asks).await?;
        let mut shown = vec![Shown::default(); self.layout.total()];
        let mut empty = 0;
        for (index, answer) in answers {
            match answer {
                Ok(MemberDone::Read(None)) if self.seats.is_whole(index) => empty += 1,
                Ok(MemberDone::Read(Some((version, bytes)))) => {
                    let held = self.opened(index, key, version, bytes)?;
                    shown.get_mut(index)?.held.push(held);
                }
                _ => return None,
            }
        }
        if empty == first.len() {
            return Some(None);
        }
        let write = latest(&shown)?;
        let all = first.iter().filter_map(|index| shown.get(*index)?.top());
        if all.filter(|top| *top == write).count() < first.len() {
            return None;
        }
        block(self.layout, &shown, write).map(Some)
    }

    /// The answers, if all come at once. Who lets others wait is not among the first next time.
    async fn quick<T>(
        &self,
        asked: &[usize],
        mut asks: FuturesUnordered<impl Future<Output = (usize, T)>>,
    ) -> Option<Vec<(usize, T)>> {
        let until = Instant::now() + QUICK_PATIENCE;
        let mut answers: Vec<(usize, T)> = Vec::with_capacity(asked.len());
        loop {
            match timeout_at(until, asks.next()).await {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => return Some(answers),
                Err(_) => break,
            }
        }
        for index in asked {
            if answers.iter().all(|(answered, _)| answered != index) {
                self.seats.set_late(*index);
            }
        }
        None
    }

    fn opened(
        &self,
        index: usize,
        key: BlockKey,
        version: Version,
        bytes: Vec<u8>,
    ) -> Option<Held> {
        let name = PieceName {
            layout: self.layout,
            key,
            version,
            index,
        };
        let Some((salt, piece)) = self.seal.open(&name, bytes) else {
            self.seats.set_damaged(index);
            return None;
        };
        Some(Held {
            name: (version, salt),
            piece,
        })
    }

    /// What each member shows of a block, until that is `enough` or all have answered. A writer that
    /// `settles` asks those only that it fenced.
    pub(super) async fn survey(
        &self,
        key: BlockKey,
        settles: bool,
        enough: impl Fn(&[Shown]) -> bool,
    ) -> Vec<Shown> {
        let ask = |index| async move {
            if settles {
                self.fence(index).await?;
            }
            self.shown_by(index, key).await
        };
        let shown_of = |answers: &Answers<Shown>| -> Vec<Shown> {
            let one = |answer: &Option<Result<Shown, MemberError>>| match answer {
                Some(Ok(shown)) => shown.clone(),
                _ => Shown::default(),
            };
            answers.iter().map(one).collect()
        };
        let quorum = self.layout.quorum();
        let answers = self.gather(ask, |answers| {
            let answered = answers.iter().flatten().filter(|answer| answer.is_ok());
            if answered.count() < quorum {
                Enough::No
            } else if enough(&shown_of(answers)) {
                Enough::Yes
            } else {
                Enough::ButForLate
            }
        });
        shown_of(&answers.await)
    }

    async fn shown_by(&self, index: usize, key: BlockKey) -> Result<Shown, MemberError> {
        let mut shown = Shown::default();
        for _ in 0..RACE_TRIES {
            let keys = vec![key];
            let answer = self.seats.ask(index, MemberOp::Versions { keys }).await?;
            let MemberDone::Versions(versions) = answer else {
                return Err(nonsense());
            };
            let [versions] = versions.as_slice() else {
                return Err(nonsense());
            };
            if versions.len() > 2 || !versions.is_sorted_by(|one, other| one < other) {
                return Err(nonsense());
            }
            shown = Shown {
                held: Vec::new(),
                has_answered: true,
                is_certain: self.seats.is_whole(index),
                is_damaged: false,
            };
            let mut changed = false;
            for version in versions {
                let version = Some(*version);
                let read = self.seats.ask(index, MemberOp::Read { key, version });
                match read.await? {
                    MemberDone::Read(None) => changed = true,
                    MemberDone::Read(Some((found, bytes))) if Some(found) == version => {
                        match self.opened(index, key, found, bytes) {
                            Some(held) => shown.held.push(held),
                            None => (shown.is_certain, shown.is_damaged) = (false, true),
                        }
                    }
                    _ => return Err(nonsense()),
                }
            }
            if !changed {
                return Ok(shown);
            }
        }
        shown.is_certain = false;
        Ok(shown)
    }
}

/// A part of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) key: BlockKey,
    pub(super) from: usize,
    pub(super) bytes: usize,
}

/// The parts of blocks that these bytes are.
pub(super) fn spans(file: u64, offset: u64, bytes: usize) -> Result<Vec<Span>, ReadVolumeError> {
    let beyond = || ReadVolumeError::OutOfRange { offset, bytes };
    let bytes_max = SPAN_BYTES_MAX;
    if bytes > bytes_max {
        return Err(ReadVolumeError::TooLong { bytes, bytes_max });
    }
    offset.checked_add(bytes as u64).ok_or_else(beyond)?;
    let block_bytes = BLOCK_BYTES as u64;
    let mut from = usize::try_from(offset % block_bytes).map_err(|_| beyond())?;
    let (mut block, mut left) = (offset / block_bytes, bytes);
    let mut spans = Vec::new();
    while left > 0 {
        let bytes = left.min(BLOCK_BYTES - from);
        let key = BlockKey { file, block };
        spans.push(Span { key, from, bytes });
        (block, from, left) = (block + 1, 0, left - bytes);
    }
    Ok(spans)
}
