//! When a block is worth proposing: at once when a transaction waits, else at the heartbeat.
//! Wraps the application, so that a held proposal holds nothing else up. Never decides validity.

use std::collections::HashSet;
use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::{Application, Handoff};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_runtime::Clock;
use futures::StreamExt as _;

use crate::block::{Block, Context};
use crate::engine::{LEADER_TIME, Pace};
use crate::execution::Executions;
use crate::handle::{Office, Shared};

/// How far ahead of the local clock a block's time may be before this node waits for it to come.
const CLOCK_TOLERANCE_MS: u64 = 500;

/// How long a parent may lack its certificate of finality before an empty child is proposed. Well
/// within the leader's time: a proposal that is held until that is over ends no round, and all the
/// work may be in the parent, so that the next leader would hold its own as long.
const OPEN_PARENT_MAX: Duration = LEADER_TIME.checked_div(2).expect("two is not zero");

/// An application whose empty blocks are paced.
#[derive(Clone)]
pub(crate) struct Paced<A> {
    pub(crate) inner: A,
    pub(crate) unsettled: Unsettled,
    pub(crate) heartbeat: Duration,
    pub(crate) pace: Pace,
    /// Height of the block that the epoch builds on.
    pub(crate) base: u64,
}

impl<E, A> Application<E> for Paced<A>
where
    E: Clock,
    A: Application<E, Block = Block, Context = Context, Input = ()> + Sync,
{
    type SigningScheme = A::SigningScheme;
    type Context = Context;
    type Block = Block;
    type Input = ();

    /// Declines: a block is worth building once its parent stands and there is work for it.
    async fn prepare(
        &mut self,
        _: (E, Context),
        _: impl Ancestry<Block>,
        (): (),
    ) -> Handoff<Digested<Block>> {
        Handoff::Wait
    }

    async fn propose(
        &mut self,
        (clock, context): (E, Context),
        ancestry: impl Ancestry<Block>,
        (): (),
    ) -> Option<Digested<Block>> {
        self.unsettled
            .shared
            .rounds
            .send_if_modified(|rounds| !mem::replace(&mut rounds.voting, true));
        if self.pace == Pace::Unblocking {
            return pending().await;
        }
        self.hold(&clock, ancestry.clone()).await;
        self.inner.propose((clock, context), ancestry, ()).await
    }

    async fn verify(
        &mut self,
        (clock, context): (E, Context),
        ancestry: impl Ancestry<Block>,
    ) -> bool {
        // A clock that is behind delays this node's vote and never turns it into a refusal.
        if let Some(block) = ancestry.peek() {
            let early_ms = block.inner().time_ms.saturating_sub(now_ms(&clock));
            if early_ms > CLOCK_TOLERANCE_MS {
                clock
                    .sleep(Duration::from_millis(early_ms - CLOCK_TOLERANCE_MS))
                    .await;
            }
        }
        self.inner.verify((clock, context), ancestry).await
    }
}

impl<A> Paced<A> {
    /// Returns when a block on this ancestry is worth proposing.
    async fn hold(&self, clock: &impl Clock, ancestry: impl Ancestry<Block>) {
        let mut parents = ancestry.clone();
        let Some(parent) = parents.next().await else {
            return;
        };
        if parent.inner().height.is_zero() {
            // The first block writes the genesis entries.
            return;
        }
        let heartbeat_ms = u64::try_from(self.heartbeat.as_millis()).unwrap_or(u64::MAX);
        let due_ms = parent.inner().time_ms.saturating_add(heartbeat_ms);
        // A parent ahead of this clock must not hold the proposal beyond the leader's time.
        let wait_ms = due_ms.saturating_sub(now_ms(clock)).min(heartbeat_ms);
        self.unsettled.applied(self.base).await;
        let taken = self.unsettled.transactions(ancestry).await;
        let round = parent.inner().context.round;
        let round = (round.epoch().get(), round.view().get());
        tokio::select! {
            biased;
            () = self.validators_change() => {}
            () = self.unsettled.shared.pool.wait_for_work(&taken) => {}
            () = clock.sleep(Duration::from_millis(wait_ms)) => {}
            () = self.parent_stays_open(clock, round) => {}
        }
    }

    /// Returns once other validators are to take over: the epoch is filled up for them, and the
    /// next one opened.
    async fn validators_change(&self) {
        let mut office = self.unsettled.shared.office.subscribe();
        if office.wait_for(Office::hurries).await.is_err() {
            pending().await
        }
    }

    /// Returns if the parent is not final although it had the time: a child makes it so.
    async fn parent_stays_open(&self, clock: &impl Clock, round: (u64, u64)) {
        let mut rounds = self.unsettled.shared.rounds.subscribe();
        let closed = async {
            rounds
                .wait_for(|rounds| rounds.final_round() >= round)
                .await
                .is_ok()
        };
        let closed = tokio::select! {
            biased;
            closed = closed => closed,
            () = clock.sleep(OPEN_PARENT_MAX) => false,
        };
        if closed {
            pending().await
        }
    }
}

/// The local clock, Unix milliseconds.
pub(crate) fn now_ms(clock: &impl Clock) -> u64 {
    let since = clock
        .current()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Which transactions are in blocks that are proposed but not final.
#[derive(Clone)]
pub(crate) struct Unsettled {
    pub(crate) shared: Arc<Shared>,
    pub(crate) executions: Executions,
}

impl Unsettled {
    /// Returns once the last final block is known to be at `base`, which is final, or above.
    ///
    /// A round may begin before that, while a start still reads the state. What is walked from there
    /// down to a final block of height 0 meets blocks that are pruned, and waits for them for ever.
    async fn applied(&self, base: u64) {
        let mut tip = self.shared.tip.subscribe();
        // The sender is in `shared`.
        let _ = tip.wait_for(|tip| tip.height >= base).await;
    }

    /// The ids in `ancestry` above the last final block: a child must not carry them again.
    pub(crate) async fn transactions(
        &self,
        mut ancestry: impl Ancestry<Block>,
    ) -> HashSet<types::Digest> {
        let mut ids = HashSet::new();
        while let Some(block) = ancestry.next().await {
            let height = block.inner().height.get();
            if height <= self.shared.tip.borrow().height {
                break;
            }
            match self.executions.recall(height, block.digest()) {
                Some(executed) => ids.extend(executed.outcomes.iter().map(|(id, _)| *id)),
                None => ids.extend(
                    block
                        .inner()
                        .transactions
                        .iter()
                        .map(|it| types::Digest::of(it)),
                ),
            }
        }
        ids
    }
}
