//! What a node believes that it holds, of assets that one at a time may hold, and when it stops
//! believing it: by the blocks that it applies and by its own monotonic clock. Submits nothing.

use std::collections::{BTreeMap, BTreeSet};

use assets::{CLOCK_DRIFT_PPM_MAX, LeaseTerm, LedgerClock};
use consensus::simulated::Dice;
use ledger::{LeaseRecord, View};
use types::{AssetId, AssetType, LeaseId, Principal};

const MILLION: u64 = 1_000_000;

/// Where monotonic clocks begin, milliseconds: a clock that is slow from here on still shows more
/// than nothing.
const BEGIN_MS: u64 = 1_000;

/// How nodes decide that a lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// They hold nothing.
    Nothing,
    /// By the blocks that they apply and by their own clocks.
    ByOwnClock,
    /// By the blocks that they apply, and not at all while they get none. It shows that the checker
    /// sees.
    ByBlocksOnly,
}

/// A monotonic clock that goes a little too fast or too slow, as real ones do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonotonicClock {
    fast: bool,
    ppm: u64,
}

impl MonotonicClock {
    /// The clock of a node: at most as wrong as [`LeaseTerm`] bears.
    pub(crate) fn drawn(seed: u64, node: usize) -> Self {
        let mut dice = Dice::new(seed ^ ((node as u64) << 16));
        Self {
            fast: dice.comes_true(500),
            ppm: dice.below(CLOCK_DRIFT_PPM_MAX),
        }
    }

    /// What it shows when the world's clock shows `at_ms`.
    pub(crate) const fn shown_ms(self, at_ms: u64) -> u64 {
        // Of the world's time only differences count, and a product must not wrap.
        let wrong_ms = at_ms / MILLION * self.ppm + at_ms % MILLION * self.ppm / MILLION;
        if self.fast {
            at_ms.saturating_add(wrong_ms)
        } else {
            at_ms.saturating_sub(wrong_ms)
        }
        .saturating_add(BEGIN_MS)
    }
}

/// What changed in a node's belief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It holds this.
    Starts(AssetId),
    /// It does not, any more.
    Stops(AssetId),
}

/// What one process of a node believes.
#[derive(Debug)]
pub(crate) struct Holder {
    me: Principal,
    keeping: Keeping,
    clock: LedgerClock,
    held: BTreeMap<LeaseId, Held>,
}

#[derive(Debug)]
struct Held {
    asset: AssetId,
    term: LeaseTerm,
}

impl Holder {
    /// A process that has just begun: it knows no block yet, so it counts from its wall clock.
    pub(crate) const fn new(me: Principal, keeping: Keeping, wall_ms: u64, now_ms: u64) -> Self {
        Self {
            me,
            keeping,
            clock: LedgerClock::new(wall_ms, now_ms),
            held: BTreeMap::new(),
        }
    }

    /// Takes the state after a block that was applied at `now_ms`. What the node gave back it does
    /// not begin to use again, however late it sees its own word.
    pub(crate) fn note_state(
        &mut self,
        view: &View,
        given_back: &BTreeSet<LeaseId>,
        now_ms: u64,
    ) -> Vec<Change> {
        self.clock.note_block(view.time_ms(), now_ms);
        let live = match self.keeping {
            Keeping::Nothing => Vec::new(),
            // A state that cannot be read is objected to by a checker; nothing is held by it.
            _ => view.leases_held(&self.me).unwrap_or_default(),
        };
        let mut live: BTreeMap<_, _> = live.into_iter().collect();
        live.retain(|lease, record| is_exclusive(&record.asset) && !given_back.contains(lease));
        let keeping = self.keeping;
        let mut changes = self.drop_unless(|lease, term| {
            term.note_block(view.time_ms(), now_ms);
            let renewed = |record: &LeaseRecord| match keeping {
                Keeping::ByOwnClock => term.renew(record.expires_ms, now_ms).is_ok(),
                Keeping::Nothing | Keeping::ByBlocksOnly => true,
            };
            live.get(lease).is_some_and(renewed)
        });
        for (lease, record) in live {
            let term = LeaseTerm::new(record.expires_ms, self.clock);
            let begins = keeping == Keeping::ByBlocksOnly || !term.is_over(now_ms);
            if begins && !self.held.contains_key(&lease) {
                let asset = record.asset;
                self.held.insert(lease, Held { asset, term });
                changes.push(Change::Starts(asset));
            }
        }
        changes
    }

    /// Looks at the own clock.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<Change> {
        if self.keeping == Keeping::ByBlocksOnly {
            return Vec::new();
        }
        self.drop_unless(|_, term| !term.is_over(now_ms))
    }

    /// Stops using a lease.
    pub(crate) fn let_go(&mut self, lease: LeaseId) -> Vec<Change> {
        self.drop_unless(|held, _| *held != lease)
    }

    /// The process ends, and with it all that it did.
    pub(crate) fn end(&mut self) -> Vec<Change> {
        self.drop_unless(|_, _| false)
    }

    fn drop_unless(
        &mut self,
        mut keep: impl FnMut(&LeaseId, &mut LeaseTerm) -> bool,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        self.held.retain(|lease, held| {
            let kept = keep(lease, &mut held.term);
            if !kept {
                changes.push(Change::Stops(held.asset));
            }
            kept
        });
        changes
    }
}

/// Whether one at a time may hold an asset of this kind, as [`crate::estate`] shares them.
pub(crate) fn is_exclusive(asset: &AssetId) -> bool {
    asset.asset_type() == AssetType::Container
}
