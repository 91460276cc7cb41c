//! Repair: every block gets back the pieces that members which were replaced, away or damaged do not
//! have. Goes block by block, in bounded steps, while the volume is used. Knows no files.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::StreamExt as _;

use super::gather::Enough;
use super::judge::{Shown, Verdict, WriteName, block, judge, latest, writes};
use super::member::{BlockKey, LISTED_MAX, Listed, MemberDone, MemberOp, Version};
use super::seal::PieceName;
use super::seats::Losses;
use super::spread::{Volume, Writer, nonsense};
use super::spread_errors::WriteVolumeError;
use super::writing::{Keep, all};

/// Blocks that are repaired at once: a quarter of what may be under way, so that others go on.
const BLOCKS_AT_ONCE: usize = 4;
/// Blocks that cannot be made again are named up to this many.
pub const NAMED_MAX: usize = 64;

/// A repair that is under way: where it is and what it did.
#[derive(Debug, Clone, Default)]
pub struct Repair {
    after: Option<BlockKey>,
    /// Pieces are read even where all members say that they have them.
    reads_all: bool,
    rolls_back: bool,
    is_over: bool,
    /// Losses of the members when it began.
    losses: Option<Vec<Losses>>,
    repaired: Repaired,
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Blocks that were looked at.
    pub blocks: u64,
    /// Pieces that were written to members that did not have them.
    pub pieces: u64,
    /// Blocks that were written again as a whole: torn, or with a damaged piece.
    pub rewritten: u64,
    /// Blocks whose last write could not be made again, and that are now as before it.
    pub rolled_back: u64,
    /// Files that are no more and whose pieces were removed.
    pub files_removed: u64,
    /// Blocks that cannot be made again.
    pub lost: u64,
    /// The first of them, at most [`NAMED_MAX`].
    pub lost_blocks: Vec<BlockKey>,
    /// The places of members that did not say what they have, or did not take what they should have.
    pub missed: BTreeSet<usize>,
}

/// Why a repair does not go on. It can be tried again from where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepairError {
    /// Members do not list or take pieces.
    #[error("the repair stands at {at:?}: {error}")]
    Write {
        /// Behind which block.
        at: Option<BlockKey>,
        /// Why.
        error: WriteVolumeError,
    },
}

/// What became of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Whole,
    Completed { pieces: u64, missed: Vec<usize> },
    Rewritten,
    RolledBack,
    Lost,
}

impl Repair {
    /// From the first block on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From behind the block where another one, with the same members, stood.
    #[must_use]
    pub fn from_cursor(after: Option<BlockKey>) -> Self {
        Self {
            after,
            ..Self::default()
        }
    }

    /// Reads all pieces, so that those that are damaged are found.
    #[must_use]
    pub fn reading_all(mut self) -> Self {
        self.reads_all = true;
        self
    }

    /// Puts blocks whose last write can neither be shown complete nor be made again back to the one
    /// before it. For volumes that lost more members than they may: what was acknowledged may be undone.
    #[must_use]
    pub fn rolling_back(mut self) -> Self {
        self.rolls_back = true;
        self
    }

    /// Behind which block it stands.
    #[must_use]
    pub const fn cursor(&self) -> Option<BlockKey> {
        self.after
    }

    /// Whether it is through.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// What it did so far.
    #[must_use]
    pub const fn repaired(&self) -> &Repaired {
        &self.repaired
    }

    fn count(&mut self, key: BlockKey, outcome: Outcome) {
        let repaired = &mut self.repaired;
        repaired.blocks += 1;
        match outcome {
            Outcome::Whole => {}
            Outcome::Completed { pieces, missed } => {
                repaired.pieces += pieces;
                repaired.missed.extend(missed);
            }
            Outcome::Rewritten => repaired.rewritten += 1,
            Outcome::RolledBack => repaired.rolled_back += 1,
            Outcome::Lost => {
                repaired.lost += 1;
                if repaired.lost_blocks.len() < NAMED_MAX {
                    repaired.lost_blocks.push(key);
                }
            }
        }
    }
}

/// The blocks of a step, and what each member that answered has of them.
struct Page {
    until: Option<BlockKey>,
    blocks: BTreeMap<BlockKey, BTreeMap<usize, Vec<Version>>>,
    answered: BTreeSet<usize>,
}

impl Volume {
    /// Repairs everything: all steps, one after the other.
    ///
    /// # Errors
    /// [`RepairError`].
    pub async fn repair(&self) -> Result<Repaired, RepairError> {
        let mut repair = Repair::new();
        while !repair.is_over() {
            self.repair_step(&mut repair, |_| true).await?;
        }
        Ok(repair.repaired)
    }

    /// Repairs at most some hundreds of blocks. Files that are not `live` are removed where there are
    /// pieces of them. When it is through, members that have all again count as whole.
    ///
    /// # Errors
    /// [`RepairError`].
    pub async fn repair_step(
        &self,
        repair: &mut Repair,
        live: impl Fn(u64) -> bool,
    ) -> Result<(), RepairError> {
        let at = repair.after;
        let stands = |error| RepairError::Write { at, error };
        let writer = self.writer().map_err(stands)?;
        repair.losses.get_or_insert_with(|| self.all_losses());
        let page = self.page(at).await.map_err(stands)?;
        let Some(until) = page.until else {
            return self.conclude(repair).await.map_err(stands);
        };
        let silent = (0..self.layout.total()).filter(|index| !page.answered.contains(index));
        repair.repaired.missed.extend(silent);
        let mut dead = BTreeSet::new();
        let mut wanting = Vec::new();
        for (key, members) in &page.blocks {
            if !live(key.file) {
                dead.insert(key.file);
            } else if repair.reads_all || !self.is_complete(&page, members) {
                wanting.push(*key);
            } else {
                repair.count(*key, Outcome::Whole);
            }
        }
        for file in dead {
            self.remove(file).await.map_err(stands)?;
            repair.repaired.files_removed += 1;
        }
        let rolls_back = repair.rolls_back;
        let mends = wanting.into_iter().map(|key| async move {
            let outcome = self.mend(writer, key, rolls_back).await;
            (key, outcome)
        });
        let mut mends = futures::stream::iter(mends).buffer_unordered(BLOCKS_AT_ONCE);
        while let Some((key, outcome)) = mends.next().await {
            repair.count(key, outcome.map_err(stands)?);
        }
        repair.after = Some(until);
        Ok(())
    }

    /// What members list next, up to where all have listed.
    async fn page(&self, after: Option<BlockKey>) -> Result<Page, WriteVolumeError> {
        let ask = |index| async move {
            self.fence(index).await?;
            match self.seats.ask(index, MemberOp::List { after }).await? {
                MemberDone::Listed(listed) if is_page(after, &listed) => Ok(listed),
                _ => Err(nonsense()),
            }
        };
        // Also those who let others wait: they are whom repairs are for.
        let answers = self.gather(ask, |_| Enough::No).await;
        let pages = self.done(answers)?;
        let lasts = pages.iter().filter_map(|(_, page)| page.last());
        let until = lasts.map(|listed| listed.key).min();
        let answered = pages.iter().map(|(index, _)| *index).collect();
        let mut blocks: BTreeMap<BlockKey, BTreeMap<usize, Vec<Version>>> = BTreeMap::new();
        for (index, page) in pages {
            for Listed { key, versions } in page {
                if until.is_some_and(|until| key <= until) {
                    blocks.entry(key).or_default().insert(index, versions);
                }
            }
        }
        Ok(Page {
            until,
            blocks,
            answered,
        })
    }

    /// Whether all who are there say that they have the same, and nothing else.
    fn is_complete(&self, page: &Page, members: &BTreeMap<usize, Vec<Version>>) -> bool {
        let tops: BTreeSet<_> = members.values().map(|versions| versions.last()).collect();
        let there = (0..self.layout.total()).filter(|index| self.seats.is_there(*index));
        let all = there.clone().all(|index| {
            // Who is there and did not answer cannot be helped now.
            members.contains_key(&index) || !page.answered.contains(&index)
        });
        all && tops.len() == 1 && members.len() >= self.layout.quorum()
    }

    /// Brings one block back to all members that answer.
    async fn mend(
        &self,
        writer: &Writer,
        key: BlockKey,
        rolls_back: bool,
    ) -> Result<Outcome, WriteVolumeError> {
        let _block = match self.replaceable(writer, key).await {
            Ok(block) => block,
            Err(WriteVolumeError::Read(_)) => self.exclusive(key).await,
            Err(error) => return Err(error),
        };
        let shown = self.survey(key, true, all).await;
        let write = match judge(self.layout, &shown, None) {
            Verdict::Known(None) => return Ok(Outcome::Whole),
            Verdict::Known(Some(write)) => write,
            Verdict::Unclear(_) => return self.mend_unclear(writer, key, &shown, rolls_back).await,
        };
        let Some(content) = block(self.layout, &shown, write) else {
            return Ok(Outcome::Lost);
        };
        let is_torn = latest(&shown) > Some(write);
        if is_torn || shown.iter().any(|shown| shown.is_damaged) {
            // Members take no other piece of the same version, and none below what they have.
            let keep = Keep::All(Some(write.0));
            self.put(writer, key, &content, &keep).await?;
            return Ok(Outcome::Rewritten);
        }
        Ok(self.complete(writer, key, write, &content, &shown).await)
    }

    async fn mend_unclear(
        &self,
        writer: &Writer,
        key: BlockKey,
        shown: &[Shown],
        rolls_back: bool,
    ) -> Result<Outcome, WriteVolumeError> {
        match self.settle_shown(writer, key, shown).await {
            Ok(_) => return Ok(Outcome::Rewritten),
            Err(WriteVolumeError::Read(_)) => {}
            Err(error) => return Err(error),
        }
        // Who may come back may have what is missing.
        let may_come = shown.iter().enumerate().any(|(index, shown)| {
            let is_new = self.seats.is_there(index) && !self.seats.is_whole(index);
            !shown.is_certain && !shown.is_damaged && !is_new
        });
        let found = writes(shown)
            .into_iter()
            .find_map(|write| block(self.layout, shown, write));
        match found {
            Some(content) if rolls_back && !may_come => {
                self.put(writer, key, &content, &Keep::All(None)).await?;
                Ok(Outcome::RolledBack)
            }
            _ => Ok(Outcome::Lost),
        }
    }

    /// Writes the pieces that are missing.
    async fn complete(
        &self,
        writer: &Writer,
        key: BlockKey,
        write: WriteName,
        content: &[u8],
        shown: &[Shown],
    ) -> Outcome {
        let (version, salt) = write;
        let mut outcome = (0, Vec::new());
        for (index, piece) in self.layout.pieces(content).iter().enumerate() {
            let has = shown.get(index).is_some_and(|shown| shown.holds(&write));
            if has || !self.seats.is_there(index) {
                continue;
            }
            let name = PieceName {
                layout: self.layout,
                key,
                version,
                index,
            };
            let bytes = self.seal.seal(&name, salt, piece);
            let written = self.put_piece(writer, name, None, bytes);
            match written.await {
                Ok(_) => outcome.0 += 1,
                Err(_) => outcome.1.push(index),
            }
        }
        let (pieces, missed) = outcome;
        Outcome::Completed { pieces, missed }
    }

    /// Makes durable what was repaired; who has all again is whole.
    async fn conclude(&self, repair: &mut Repair) -> Result<(), WriteVolumeError> {
        let flushed = self.flush_members().await?;
        let began = repair.losses.clone().unwrap_or_default();
        for (index, losses) in flushed {
            let same = began.get(index) == Some(&losses);
            if same && repair.repaired.lost == 0 && !repair.repaired.missed.contains(&index) {
                self.seats.set_whole(index, losses);
            }
        }
        repair.is_over = true;
        Ok(())
    }
}

/// Whether this can be what comes after a block.
fn is_page(after: Option<BlockKey>, listed: &[Listed]) -> bool {
    let keys = listed.iter().map(|listed| Some(listed.key));
    let versions = listed
        .iter()
        .all(|listed| (1..=2).contains(&listed.versions.len()));
    let ascending = std::iter::once(after)
        .chain(keys)
        .is_sorted_by(|one, other| one < other);
    versions && ascending && listed.len() <= LISTED_MAX
}
