//! What the ledger says of the rules beside what this program knows, and so when it has to stop.
//! Never knows what a version changes, nor how validators vote about it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use commonware_runtime::Clock;
use ledger::{KnownRules, RulesRecord, UnknownRules};
use tokio::sync::watch;

/// How long a node that is too old for the next block still hands on the last one that it could
/// execute: peers that lack it could not get it from validators that have all stopped.
const PARTING_TIME: Duration = Duration::from_secs(2);

/// The rules of the next blocks, as far as this node has executed.
pub(crate) struct Rules {
    pub(crate) known: KnownRules,
    record: Mutex<RulesRecord>,
    outdated: watch::Sender<Option<UnknownRules>>,
}

impl Rules {
    pub(crate) fn new(known: KnownRules) -> Self {
        Self {
            known,
            record: Mutex::default(),
            outdated: watch::Sender::default(),
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

    /// Waits until this node is too old for its fabric, and has handed on what it has.
    pub(crate) async fn outdated(&self, clock: &impl Clock) -> UnknownRules {
        let mut outdated = self.outdated.subscribe();
        let unknown = outdated.wait_for(Option::is_some).await;
        // The sender is in `self`.
        let Some(unknown) = unknown.ok().and_then(|unknown| *unknown) else {
            return std::future::pending().await;
        };
        clock.sleep(PARTING_TIME).await;
        unknown
    }
}
