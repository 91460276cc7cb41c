//! A member in memory: a disk that loses power and lies as it is told to, and links to it that carry one
//! question after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hypermesh_assets::volume::{
    BlockKey, LISTED_MAX, Listed, Member, MemberAsked, MemberDone, MemberError, MemberOp,
    MemberUsage, Version,
};
use tokio::sync::{mpsc, oneshot};

use crate::chance::Chance;

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// No answer comes.
    Mute,
    /// Every second piece that it shows has another bit.
    Flips,
    /// It shows versions that were never written.
    LiesHigh,
    /// It acknowledges writes and keeps none.
    Forgets,
    /// There is no room.
    Full,
}

/// What one member keeps.
#[derive(Debug)]
pub(crate) struct Disk {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    live: State,
    flushed: State,
    /// What was changed since.
    since: Vec<MemberOp>,
    is_dead: bool,
    fault: Fault,
    /// How often it lost power: links tell it once.
    losses: u64,
    chance: Chance,
    /// Longest time until an answer.
    delay_ms: usize,
    /// How many writes there were.
    writes: usize,
    /// It dies when there were so many.
    dies_after: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct State {
    fenced: u64,
    pieces: BTreeMap<BlockKey, BTreeMap<Version, Vec<u8>>>,
}

/// A link to a disk: what was sent arrives in order, also if nobody waits for the answer any more.
#[derive(Debug)]
struct Link {
    asks: mpsc::UnboundedSender<(MemberOp, oneshot::Sender<Result<MemberDone, MemberError>>)>,
}

impl Member for Link {
    fn ask(&self, operation: MemberOp) -> MemberAsked<'_> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let lost = || MemberError::Lost("the link ended".to_owned());
            self.asks.send((operation, answer)).map_err(|_| lost())?;
            answered.await.map_err(|_| lost())?
        })
    }
}

async fn carry(
    disk: Arc<Disk>,
    mut asked: mpsc::UnboundedReceiver<(
        MemberOp,
        oneshot::Sender<Result<MemberDone, MemberError>>,
    )>,
) {
    let mut losses = disk.inner().losses;
    while let Some((operation, answer)) = asked.recv().await {
        let delay = {
            let mut inner = disk.inner();
            let most = inner.delay_ms;
            inner.chance.below(most + 1)
        };
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay as u64)).await;
        }
        let done = {
            let mut inner = disk.inner();
            if inner.fault == Fault::Mute {
                // It stays open.
                std::mem::forget(answer);
                continue;
            }
            let told = std::mem::replace(&mut losses, inner.losses) == inner.losses;
            if told {
                inner.apply(operation)
            } else {
                Err(MemberError::Lost("it lost power".to_owned()))
            }
        };
        let _ = answer.send(done);
    }
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let inner = Inner {
            live: State::default(),
            flushed: State::default(),
            since: Vec::new(),
            is_dead: false,
            fault: Fault::None,
            losses: 0,
            chance: Chance::new(seed),
            delay_ms: 0,
            writes: 0,
            dies_after: None,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
        })
    }

    pub(crate) fn link(disk: &Arc<Self>) -> Arc<dyn Member> {
        let (asks, asked) = mpsc::unbounded_channel();
        tokio::spawn(carry(Arc::clone(disk), asked));
        Arc::new(Link { asks })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn set_delay_ms(&self, delay_ms: usize) {
        self.inner().delay_ms = delay_ms;
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.inner().fault = fault;
    }

    /// It answers no more, and has all when it is back.
    pub(crate) fn kill(&self) {
        self.inner().is_dead = true;
    }

    /// It dies within the writes to come: the next one but so many does not reach it.
    pub(crate) fn kill_after(&self, writes: usize) {
        let mut inner = self.inner();
        inner.dies_after = Some(inner.writes + writes);
    }

    pub(crate) fn revive(&self) {
        let mut inner = self.inner();
        (inner.is_dead, inner.dies_after) = (false, None);
    }

    /// It loses what was not flushed, from some write on.
    pub(crate) fn lose_power(&self) {
        let mut inner = self.inner();
        let since = std::mem::take(&mut inner.since);
        inner.live = inner.flushed.clone();
        let kept = inner.chance.below(since.len() + 1);
        for operation in since.into_iter().take(kept) {
            let _ = inner.live.apply(operation);
        }
        inner.flushed = inner.live.clone();
        inner.losses += 1;
    }

    /// It is as it was when it was flushed last, and says nothing.
    pub(crate) fn fall_back(&self) {
        let mut inner = self.inner();
        let fenced = inner.live.fenced;
        inner.live = inner.flushed.clone();
        inner.live.fenced = fenced;
        inner.since.clear();
    }

    /// Changes each piece that it keeps of a block.
    pub(crate) fn rot(&self, key: BlockKey) {
        let mut inner = self.inner();
        for piece in inner
            .live
            .pieces
            .get_mut(&key)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            let middle = piece.len() / 2;
            piece[middle] ^= 1;
        }
    }

    pub(crate) fn versions(&self, key: BlockKey) -> Vec<Version> {
        let inner = self.inner();
        let pieces = inner.live.pieces.get(&key);
        pieces
            .into_iter()
            .flat_map(|pieces| pieces.keys().copied())
            .collect()
    }

    /// Everything that it has.
    pub(crate) fn bytes(&self) -> Vec<Vec<u8>> {
        let inner = self.inner();
        let pieces = inner.live.pieces.values();
        pieces.flat_map(|pieces| pieces.values().cloned()).collect()
    }
}

impl Inner {
    fn apply(&mut self, operation: MemberOp) -> Result<MemberDone, MemberError> {
        let is_write = matches!(operation, MemberOp::Write { .. });
        if is_write && self.dies_after == Some(self.writes) {
            self.is_dead = true;
        }
        if self.is_dead {
            return Err(MemberError::Lost("it is dead".to_owned()));
        }
        self.writes += usize::from(is_write);
        match (&operation, self.fault) {
            (MemberOp::Write { .. }, Fault::Forgets) => return Ok(MemberDone::Done),
            (MemberOp::Write { .. }, Fault::Full) => {
                let (wanted_bytes, bytes) = (1, 0);
                return Err(MemberError::Full {
                    wanted_bytes,
                    bytes,
                });
            }
            (MemberOp::Flush, _) => {
                self.flushed = self.live.clone();
                self.since.clear();
                return Ok(MemberDone::Done);
            }
            _ => {}
        }
        let changes = match &operation {
            MemberOp::Fence { .. } => {
                // Durable when answered.
                self.flushed.fenced = self.flushed.fenced.max(self.live.fenced);
                let done = self.live.apply(operation)?;
                self.flushed.fenced = self.live.fenced;
                return Ok(done);
            }
            MemberOp::Write { .. } | MemberOp::Remove { .. } | MemberOp::Settle { .. } => {
                Some(operation.clone())
            }
            _ => None,
        };
        let done = self.live.apply(operation)?;
        self.since.extend(changes);
        Ok(self.with_fault(done))
    }

    fn with_fault(&mut self, done: MemberDone) -> MemberDone {
        match (done, self.fault) {
            (MemberDone::Read(Some((version, mut bytes))), Fault::Flips) => {
                if self.chance.one_in(2) {
                    let at = self.chance.below(bytes.len());
                    bytes[at] ^= 1;
                }
                MemberDone::Read(Some((version, bytes)))
            }
            (MemberDone::Versions(mut all), Fault::LiesHigh) => {
                for versions in &mut all {
                    versions.truncate(1);
                    versions.push(Version {
                        epoch: u64::MAX - 1,
                        count: 1,
                    });
                }
                MemberDone::Versions(all)
            }
            (MemberDone::Read(None), Fault::LiesHigh) => {
                let version = Version {
                    epoch: u64::MAX - 1,
                    count: 1,
                };
                MemberDone::Read(Some((version, vec![1; 100])))
            }
            (MemberDone::Epoch(_), Fault::LiesHigh) => MemberDone::Epoch(u64::MAX - 1),
            (done, _) => done,
        }
    }
}

impl State {
    fn check(&self, epoch: u64) -> Result<(), MemberError> {
        let fenced = self.fenced;
        if epoch == fenced {
            Ok(())
        } else {
            Err(MemberError::Fenced { fenced })
        }
    }

    fn apply(&mut self, operation: MemberOp) -> Result<MemberDone, MemberError> {
        match operation {
            MemberOp::Epoch => return Ok(MemberDone::Epoch(self.fenced)),
            MemberOp::Fence { epoch } => {
                let fenced = self.fenced;
                if epoch <= fenced {
                    return Err(MemberError::Fenced { fenced });
                }
                self.fenced = epoch;
            }
            MemberOp::Versions { keys } => {
                let of = |key| self.pieces.get(key).map(|pieces| pieces.keys().copied());
                let versions = keys
                    .iter()
                    .map(|key| of(key).into_iter().flatten().collect());
                return Ok(MemberDone::Versions(versions.collect()));
            }
            MemberOp::Read { key, version } => {
                return Ok(MemberDone::Read(self.read(key, version)));
            }
            MemberOp::Write {
                epoch,
                key,
                version,
                keep,
                bytes,
            } => {
                self.check(epoch)?;
                let pieces = self.pieces.entry(key).or_default();
                if pieces
                    .last_key_value()
                    .is_none_or(|(last, _)| *last < version)
                {
                    pieces.retain(|version, _| Some(*version) == keep);
                    pieces.insert(version, bytes);
                }
            }
            MemberOp::Remove { epoch, file } => {
                self.check(epoch)?;
                self.pieces.retain(|key, _| key.file != file);
            }
            MemberOp::Settle { epoch, pieces } => {
                self.check(epoch)?;
                for (key, settled) in pieces {
                    if let Some(there) = self.pieces.get_mut(&key)
                        && there.contains_key(&settled)
                    {
                        there.retain(|version, _| *version >= settled);
                    }
                }
            }
            MemberOp::List { after } => return Ok(MemberDone::Listed(self.list(after))),
            MemberOp::Flush => {}
            MemberOp::Usage => {
                let used = self
                    .pieces
                    .values()
                    .flat_map(BTreeMap::values)
                    .map(Vec::len);
                return Ok(MemberDone::Usage(MemberUsage {
                    bytes: 1 << 30,
                    used_bytes: used.sum::<usize>() as u64,
                    left_ms: 1_000,
                }));
            }
        }
        Ok(MemberDone::Done)
    }

    fn read(&self, key: BlockKey, version: Option<Version>) -> Option<(Version, Vec<u8>)> {
        let pieces = self.pieces.get(&key)?;
        let (version, bytes) = match version {
            Some(version) => pieces.get_key_value(&version)?,
            None => pieces.last_key_value()?,
        };
        Some((*version, bytes.clone()))
    }

    fn list(&self, after: Option<BlockKey>) -> Vec<Listed> {
        let later = self.pieces.iter().filter(|(key, _)| Some(**key) > after);
        let listed = later.map(|(key, pieces)| Listed {
            key: *key,
            versions: pieces.keys().copied().collect(),
        });
        listed.take(LISTED_MAX).collect()
    }
}
