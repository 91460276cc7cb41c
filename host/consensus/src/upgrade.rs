//! What the ledger says of the rules beside what this program knows, and so when it has to stop.
//! Never knows what a version changes, nor how validators vote about it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use commonware_runtime::Clock;
use ledger::{KnownRules, RulesRecord, UnknownRules};
use tokio::sync::watch;

use crate::handle::Tip;

/// How long a node that is too old for the next block still hands on the last one that it could
/// execute: peers that lack it could not get it from validators that have all stopped.
const PARTING_TIME: Duration = Duration::from_secs(2);
/// How long a node that is too old waits for one more of the blocks that it could still execute,
/// once a peer proved that the fabric is beyond them. Whoever has a block answers within a second;
/// nobody may have it, because the nodes that are as old have stopped.
const STRANDED_AFTER: Duration = Duration::from_secs(15);

/// The rules of the next blocks, as far as this node has executed.
pub(crate) struct Rules {
    pub(crate) known: KnownRules,
    record: Mutex<RulesRecord>,
    outdated: watch::Sender<Option<UnknownRules>>,
    /// The highest final block that a peer proved in this run of the program.
    heard: watch::Sender<u64>,
}

impl Rules {
    pub(crate) fn new(known: KnownRules) -> Self {
        Self {
            known,
            record: Mutex::default(),
            outdated: watch::Sender::default(),
            heard: watch::Sender::default(),
        }
    }

    /// Takes what the state says: its entry about rules.
    pub(crate) fn learn(&self, entry: Option<&[u8]>) {
        let record = match entry.map(RulesRecord::decode) {
            Some(Ok(record)) => record,
            // Only rules that this program does not know can write what it cannot read, and it has
            // stopped before their first block.
            Some(Err(error)) => panic!("{error}"),
            None => RulesRecord::default(),
        };
        let mut known = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = record.next
            && known.next != record.next
        {
            let (rules, height) = (next.version, next.height);
            if self.known.contains(rules) {
                tracing::info!(rules, height, "the rules of this fabric will change");
            } else {
                tracing::warn!(
                    rules,
                    height,
                    known = %self.known,
                    "this nexus will stop when the rules of this fabric change: install a newer one"
                );
            }
        }
        *known = record;
    }

    /// Finds out whether the block after the one at `height` can be executed here; else this node
    /// stops.
    ///
    /// # Errors
    /// [`UnknownRules`] if it cannot.
    pub(crate) fn after(&self, height: u64) -> Result<(), UnknownRules> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let checked = self.known.check(&record, height.saturating_add(1));
        if let Err(unknown) = checked {
            self.outdated.send_replace(Some(unknown));
        }
        checked
    }

    /// Stops this node before a block that it cannot execute. Whoever calls this must not answer:
    /// any answer could become a vote.
    pub(crate) async fn stop<T>(&self, unknown: UnknownRules) -> T {
        self.outdated.send_replace(Some(unknown));
        std::future::pending().await
    }

    /// Takes the height of a final block that a peer proved.
    pub(crate) fn heard(&self, height: u64) {
        self.heard.send_if_modified(|heard| {
            let higher = height > *heard;
            *heard = height.max(*heard);
            higher
        });
    }

    /// Waits until this node is too old for its fabric, and has handed on what it has.
    pub(crate) async fn outdated(
        &self,
        clock: &impl Clock,
        tip: watch::Receiver<Tip>,
    ) -> UnknownRules {
        tokio::select! {
            biased;
            unknown = self.reached() => {
                clock.sleep(PARTING_TIME).await;
                unknown
            }
            unknown = self.stranded(clock, tip) => unknown,
        }
    }

    /// Waits until the next block is one that this program cannot execute.
    pub(crate) async fn reached(&self) -> UnknownRules {
        let mut outdated = self.outdated.subscribe();
        let unknown = outdated.wait_for(Option::is_some).await;
        match unknown.ok().and_then(|unknown| *unknown) {
            Some(unknown) => unknown,
            // The sender is in `self`.
            None => std::future::pending().await,
        }
    }

    /// Waits until the fabric has come to a block that this program cannot execute, and nobody
    /// hands on those before it.
    async fn stranded(&self, clock: &impl Clock, mut tip: watch::Receiver<Tip>) -> UnknownRules {
        let mut heard = self.heard.subscribe();
        let mut told = false;
        loop {
            let (own, theirs) = (tip.borrow_and_update().height, *heard.borrow_and_update());
            let beyond = self.beyond(theirs).filter(|_| own < theirs);
            let Some(unknown) = beyond else {
                tokio::select! {
                    biased;
                    _ = tip.changed() => {}
                    _ = heard.changed() => {}
                }
                continue;
            };
            if !std::mem::replace(&mut told, true) {
                let (height, peers) = (own, theirs);
                tracing::warn!(
                    height,
                    peers,
                    "this node lacks blocks before its end: {unknown}"
                );
            }
            tokio::select! {
                biased;
                _ = tip.changed() => {}
                () = clock.sleep(STRANDED_AFTER) => return unknown,
            }
        }
    }

    /// Why the block after the one at `height` cannot be executed here, if it cannot.
    fn beyond(&self, height: u64) -> Option<UnknownRules> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        self.known.check(&record, height.saturating_add(1)).err()
    }
}
