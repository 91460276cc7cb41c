//! Writing blocks: settling what was there, sending pieces, and what counts as done. The rules are told
//! in `spread`.

use std::collections::BTreeMap;

use futures::stream::{FuturesUnordered, TryStreamExt as _};

use super::gather::{Answers, quorate};
use super::judge::{Shown, Verdict, block, judge};
use super::layout::BLOCK_BYTES;
use super::member::{BlockKey, KEYS_MAX, MemberDone, MemberError, MemberOp, Version};
use super::reading::{Span, spans};
use super::seal::{PieceName, Salt};
use super::seats::{Holders, Losses};
use super::spread::{Ground, Unflushed, Volume, Writer, nonsense, silent};
use super::spread_errors::WriteVolumeError;

/// Blocks of which a writer remembers what is settled, some 6 MiB: 4 GiB of them. Others are asked
/// for again.
const SETTLED_MAX: usize = 65_536;
/// Blocks that are written and not flushed before a write flushes first: 512 MiB of them.
const UNFLUSHED_MAX: usize = 8_192;

/// What is kept beside a write.
#[derive(Debug)]
pub(super) enum Keep {
    /// This one, by all members.
    All(Option<Version>),
    /// What each has, by those that answered; the others are not asked.
    Each(Vec<Option<Option<Version>>>),
}

impl Keep {
    fn at(&self, index: usize) -> Option<Option<Version>> {
        match self {
            Self::All(version) => Some(*version),
            Self::Each(versions) => versions.get(index).copied().flatten(),
        }
    }

    fn is_any(&self) -> bool {
        !matches!(self, Self::All(None))
    }
}

impl Volume {
    pub(super) fn writer(&self) -> Result<&Writer, WriteVolumeError> {
        self.writer.as_ref().ok_or(WriteVolumeError::NotWriter)
    }

    /// Writes bytes of a file, at most [`SPAN_BYTES_MAX`](super::SPAN_BYTES_MAX). Several blocks are
    /// written at once, each wholly or not.
    ///
    /// # Errors
    /// [`WriteVolumeError`]; some blocks may be written then.
    pub async fn write(
        &self,
        file: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), WriteVolumeError> {
        let writer = self.writer()?;
        let spans = spans(file, offset, bytes.len())?;
        if writer.unflushed().len() >= UNFLUSHED_MAX {
            self.flush().await?;
        }
        self.settle_agreed(writer, spans.iter().map(|span| span.key))
            .await;
        let mut rest = bytes;
        let parts = spans.into_iter().map(|span| {
            let (part, others) = rest.split_at(span.bytes.min(rest.len()));
            rest = others;
            (span, part)
        });
        let parts: Vec<(Span, &[u8])> = parts.collect();
        let writes = parts.into_iter();
        // A stream of a closure over borrowed bytes could not be sent to another thread.
        let writes: FuturesUnordered<_> = writes
            .map(|(span, part)| self.write_span(writer, span, part))
            .collect();
        writes.try_collect::<()>().await
    }

    async fn write_span(
        &self,
        writer: &Writer,
        span: Span,
        part: &[u8],
    ) -> Result<(), WriteVolumeError> {
        let block = self.replaceable(writer, span.key).await?;
        let settled = block.settled;
        let whole = span.bytes == BLOCK_BYTES;
        let mut content = Vec::new();
        if !whole && settled.is_some() {
            content = self.block(span.key).await?.unwrap_or_default();
        }
        let needed = content.len().max(span.from + span.bytes);
        content.resize(needed, 0);
        let place = content.get_mut(span.from..span.from + span.bytes);
        if let Some(place) = place.filter(|place| place.len() == part.len()) {
            place.copy_from_slice(part);
        }
        self.put(writer, span.key, &content, &Keep::All(settled))
            .await?;
        Ok(())
    }

    /// Removes all blocks of a file. Members that are not reached keep their pieces until a repair: a
    /// file that was removed must not be used again.
    ///
    /// # Errors
    /// [`WriteVolumeError`].
    pub async fn remove(&self, file: u64) -> Result<(), WriteVolumeError> {
        let writer = self.writer()?;
        let epoch = writer.epoch;
        let ask = |index| async move {
            self.fence(index).await?;
            let remove = MemberOp::Remove { epoch, file };
            self.seats.ask(index, remove).await
        };
        let quorum = self.layout.quorum();
        let answers = self.gather(ask, |answers| quorate(answers, quorum)).await;
        writer.settled().retain(|key, _| key.file != file);
        writer.unflushed().retain(|key, _| key.file != file);
        self.done(answers).map(|_| ())
    }

    /// Fences this writer's epoch at a member that came later.
    pub(super) async fn fence(&self, index: usize) -> Result<(), MemberError> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        if self.seats.is_fenced(index) {
            return Ok(());
        }
        let epoch = writer.epoch;
        match self.seats.ask(index, MemberOp::Fence { epoch }).await {
            // Nobody else has this epoch: a quorum gave it to this writer.
            Ok(_) => {}
            Err(MemberError::Fenced { fenced }) if fenced == epoch => {}
            Err(error) => return Err(error),
        }
        self.seats.set_fenced(index, true);
        Ok(())
    }

    /// Settles those of `keys` whose members all say the same, with one question for all.
    pub(super) async fn settle_agreed(
        &self,
        writer: &Writer,
        keys: impl Iterator<Item = BlockKey>,
    ) {
        let question = writer.next_version().count;
        let keys: Vec<BlockKey> = {
            let mut settled = writer.settled();
            let open = keys.filter(|key| !settled.contains_key(key));
            let open: Vec<BlockKey> = open.take(KEYS_MAX).collect();
            for key in &open {
                note(&mut settled, *key, Ground::Asked(question));
            }
            open
        };
        if keys.is_empty() {
            return;
        }
        let wanted = &keys;
        let ask = |index| async move {
            self.fence(index).await?;
            let losses = self.seats.losses(index);
            let versions = MemberOp::Versions {
                keys: wanted.clone(),
            };
            match self.seats.ask_same(index, losses, versions).await? {
                MemberDone::Versions(found) if found.len() == wanted.len() => Ok((losses, found)),
                _ => Err(nonsense()),
            }
        };
        let quorum = self.layout.quorum();
        let answers = self.gather(ask, |answers| quorate(answers, quorum)).await;
        for (at, key) in keys.iter().enumerate() {
            let agreed = self.agreed_version(&answers, at);
            let mut settled = writer.settled();
            // Who wrote meanwhile knows better, also if it failed.
            if let (Some(agreed), Some(place)) = (agreed, settled.get_mut(key))
                && *place == Ground::Asked(question)
            {
                *place = Ground::Settled(agreed.as_ref().map(|(version, _)| *version));
                drop(settled);
                if let Some((version, holders)) = agreed {
                    self.note_found(writer, *key, version, holders);
                }
            }
        }
    }

    /// The version that a quorum has and nobody has another, and who has it.
    fn agreed_version(
        &self,
        answers: &Answers<(Losses, Vec<Vec<Version>>)>,
        at: usize,
    ) -> Option<Option<(Version, Holders)>> {
        let mut holders = Vec::new();
        let mut tops = Vec::new();
        for (index, answer) in answers.iter().enumerate() {
            let Some(Ok((losses, found))) = answer else {
                continue;
            };
            let top = found.get(at)?.iter().max().copied();
            // That a new member has none says nothing.
            if top.is_some() || self.seats.is_whole(index) {
                holders.push((index, *losses));
                tops.push(top);
            }
        }
        let first = *tops.first()?;
        let agreed = tops.len() >= self.layout.quorum() && tops.iter().all(|top| *top == first);
        agreed.then(|| first.map(|version| (version, holders)))
    }

    /// Which version of a block was written last, finished if it was torn. Its lock is held.
    pub(super) async fn settle(
        &self,
        writer: &Writer,
        key: BlockKey,
    ) -> Result<Option<Version>, WriteVolumeError> {
        if let Some(Ground::Settled(settled)) = writer.settled().get(&key) {
            return Ok(*settled);
        }
        let before = self.all_losses();
        let shown = self.survey(key, true, all).await;
        let settled = self.settle_shown(writer, key, &shown).await?;
        remember(writer, key, settled);
        if let Some(version) = settled {
            let holders = shown.iter().zip(before).enumerate();
            let holders = holders.filter(|(_, (shown, _))| shown.has(version));
            let holders = holders.map(|(index, (_, losses))| (index, losses));
            self.note_found(writer, key, version, holders.collect());
        }
        Ok(settled)
    }

    /// The same of what was shown to this writer, which fenced all who showed it.
    pub(super) async fn settle_shown(
        &self,
        writer: &Writer,
        key: BlockKey,
        shown: &[Shown],
    ) -> Result<Option<Version>, WriteVolumeError> {
        match judge(self.layout, shown, None) {
            Verdict::Known(write) => Ok(write.map(|(version, _)| version)),
            Verdict::Unclear(unclear) => {
                let content = unclear
                    .write
                    .and_then(|write| block(self.layout, shown, write));
                let Some(content) = content else {
                    return Err(self.too_few(key, &unclear).into());
                };
                let keep = keep_each(shown);
                self.put(writer, key, &content, &keep).await.map(Some)
            }
        }
    }

    /// Sends a block's pieces; its lock is held.
    pub(super) async fn put(
        &self,
        writer: &Writer,
        key: BlockKey,
        content: &[u8],
        keep: &Keep,
    ) -> Result<Version, WriteVolumeError> {
        // Until it is acknowledged, and also if whoever waits for it goes away.
        writer.settled().remove(&key);
        let mut salt = Salt::default();
        getrandom::fill(&mut salt).map_err(|_| WriteVolumeError::Entropy)?;
        let version = writer.next_version();
        let pieces = self.layout.pieces(content);
        let pieces = &pieces;
        let ask = |index: usize| {
            let keep = keep.at(index);
            let name = PieceName {
                layout: self.layout,
                key,
                version,
                index,
            };
            async move {
                let (Some(keep), Some(piece)) = (keep, pieces.get(index)) else {
                    return Err(silent());
                };
                let bytes = self.seal.seal(&name, salt, piece);
                self.put_piece(writer, name, keep, bytes).await
            }
        };
        let quorum = self.layout.quorum();
        let answers = self.gather(ask, |answers| quorate(answers, quorum)).await;
        let acks = self.done(answers)?;
        let unflushed = Unflushed {
            version,
            has_before: keep.is_any(),
            acks,
        };
        writer.note_unflushed(key, unflushed);
        remember(writer, key, Some(version));
        Ok(version)
    }

    pub(super) async fn put_piece(
        &self,
        writer: &Writer,
        name: PieceName,
        keep: Option<Version>,
        bytes: Vec<u8>,
    ) -> Result<Losses, MemberError> {
        let PieceName {
            key,
            version,
            index,
            ..
        } = name;
        self.fence(index).await?;
        let losses = self.seats.losses(index);
        let write = MemberOp::Write {
            epoch: writer.epoch,
            key,
            version,
            keep,
            bytes,
        };
        match self.seats.ask_same(index, losses, write).await {
            Ok(MemberDone::Done) => Ok(losses),
            Ok(_) => Err(nonsense()),
            Err(error) => {
                if matches!(error, MemberError::Fenced { .. }) {
                    self.seats.set_fenced(index, false);
                }
                Err(error)
            }
        }
    }

    /// Who did it, if they are a quorum.
    pub(super) fn done<T>(&self, answers: Answers<T>) -> Result<Vec<(usize, T)>, WriteVolumeError> {
        let mut done = Vec::new();
        let mut errors = Vec::new();
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Some(Ok(answer)) => done.push((index, answer)),
                Some(Err(error)) => errors.push(error),
                None => {}
            }
        }
        let needed = self.layout.quorum();
        if done.len() >= needed {
            return Ok(done);
        }
        let epoch = self.writer.as_ref().map_or(0, |writer| writer.epoch);
        let fenced = errors.iter().filter_map(|error| match error {
            MemberError::Fenced { fenced } if *fenced > epoch => Some(*fenced),
            _ => None,
        });
        if let Some(fenced) = fenced.max() {
            return Err(WriteVolumeError::Fenced { fenced });
        }
        // What can be helped is said first.
        errors.sort_by_key(|error| match error {
            MemberError::Full { .. } => 0,
            MemberError::Denied(_) => 1,
            MemberError::Ended => 2,
            MemberError::Disk(_) => 3,
            _ => 4,
        });
        Err(WriteVolumeError::TooFew {
            done: done.len(),
            needed,
            total: self.layout.total(),
            last: errors.into_iter().next().unwrap_or_else(silent),
        })
    }
}

impl Writer {
    /// Notes a write; one of the same block before it is on the same members or moot.
    pub(super) fn note_unflushed(&self, key: BlockKey, mut new: Unflushed) {
        let mut unflushed = self.unflushed();
        let before = unflushed.get(&key);
        new.has_before |= before.is_some_and(|before| before.has_before);
        unflushed.insert(key, new);
    }
}

/// Notes what a block is settled as.
pub(super) fn remember(writer: &Writer, key: BlockKey, version: Option<Version>) {
    note(&mut writer.settled(), key, Ground::Settled(version));
}

/// If there are too many, another is forgotten and asked for again.
fn note(settled: &mut BTreeMap<BlockKey, Ground>, key: BlockKey, ground: Ground) {
    if settled.len() >= SETTLED_MAX && !settled.contains_key(&key) {
        settled.pop_first();
    }
    settled.insert(key, ground);
}

/// The greatest that each has, of those who answered.
pub(super) fn keep_each(shown: &[Shown]) -> Keep {
    let one = |shown: &Shown| {
        let top = shown.top().map(|(version, _)| version);
        shown.has_answered.then_some(top)
    };
    Keep::Each(shown.iter().map(one).collect())
}

/// All who answered are wanted, a moment longer than a quorum needs.
pub(super) const fn all(_: &[Shown]) -> bool {
    false
}
