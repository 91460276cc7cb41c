//! Reports members that this validator reaches no more and takes its reports back, as gossip sees them.
//! Never probes anybody, and never decides what reports mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use discovery::Liveness;
use ledger::{DecodeRecordError, LivenessOperation, Operation, quorum};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use types::NodeId;

use crate::shared::Shared;

/// Pause between looks at what gossip shows, which changes once a second.
const LOOK: Duration = Duration::from_secs(1);

/// How long gossip must call a member down before it is reported: longer than a suspicion lasts, so
/// that a node which is cut off itself has noticed with all the others before it accuses one.
const ABSENT_AFTER_MS: u64 = 5_000;

/// Pause between a node's own words that it is there: a validator that lies about it could make it
/// write all the time.
const SELF_PAUSE_MS: u64 = 10_000;

/// Runs until `stop`.
pub(crate) async fn witness(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = look(&shared) => {}
    }
}

async fn look(shared: &Shared) {
    let mut witness = Witness::new(shared.node);
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // State that cannot be read ends the node elsewhere.
        let Ok(facts) = facts(shared) else { return };
        let Some(operation) = witness.decide(shared.now_ms(), &facts) else {
            continue;
        };
        let operation = Operation::Liveness(operation);
        let words = operation.to_string();
        match shared.signer.submit(shared, operation).await {
            Ok(signed) => {
                tracing::info!(height = signed.height, "{words}");
                // Else the same would be decided again, on old state.
                let mut revision = shared.revision.subscribe();
                let is_here = |_: &u64| shared.state().view.height() >= signed.height;
                if revision.wait_for(is_here).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::info!(%error, "not done: {words}"),
        }
    }
}

fn facts(shared: &Shared) -> Result<Facts, DecodeRecordError> {
    let (validators, absences) = {
        let state = shared.state();
        let fabric = state.view.fabric()?;
        let validators = fabric.map(|fabric| fabric.validators).unwrap_or_default();
        (validators, state.view.absences()?)
    };
    let is_own = |witness: &NodeId| *witness == shared.node;
    let reported = absences.iter().filter(|(_, record)| {
        let mut witnesses = record.reports.iter().map(|report| &report.witness);
        witnesses.any(is_own)
    });
    let sights = shared.peers.get().map(|peers| peers.gossip().sights());
    let sights = sights.iter().flat_map(|sights| sights.iter());
    Ok(Facts {
        reported: reported.map(|(node, _)| *node).collect(),
        is_reported: absences.contains_key(&shared.node),
        liveness: sights
            .map(|(node, sight)| (*node, sight.liveness))
            .collect(),
        validators,
    })
}

/// What a decision is made of.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// Validators in office.
    validators: Vec<NodeId>,
    /// Other members, as gossip sees them.
    liveness: BTreeMap<NodeId, Liveness>,
    /// Whom this node has reported.
    reported: BTreeSet<NodeId>,
    /// Whether anybody has reported this node.
    is_reported: bool,
}

impl Facts {
    fn is(&self, node: &NodeId, liveness: Liveness) -> bool {
        self.liveness.get(node) == Some(&liveness)
    }

    /// Whether so many validators are alive that what this node signs can become final.
    fn reaches_quorum(&self, me: &NodeId) -> bool {
        let is_there = |node: &&NodeId| *node == me || self.is(node, Liveness::Alive);
        let reached = self.validators.iter().filter(is_there).count();
        reached >= quorum(self.validators.len())
    }
}

/// What this node has seen so far.
struct Witness {
    me: NodeId,
    /// Members that are down and not reported by this node, with the time at which that began.
    down: BTreeMap<NodeId, u64>,
    /// When it last said that it is there itself.
    answered_at_ms: Option<u64>,
}

impl Witness {
    const fn new(me: NodeId) -> Self {
        Self {
            me,
            down: BTreeMap::new(),
            answered_at_ms: None,
        }
    }

    /// What to sign, if anything; one thing at a time.
    fn decide(&mut self, now_ms: u64, facts: &Facts) -> Option<LivenessOperation> {
        if let Some(answer) = self.answer(now_ms, facts) {
            return Some(answer);
        }
        // What a node sees of others while it is cut off itself says nothing: it begins anew.
        if !facts.validators.contains(&self.me) || !facts.reaches_quorum(&self.me) {
            self.down.clear();
            return None;
        }
        let is_news =
            |node: &NodeId| facts.is(node, Liveness::Down) && !facts.reported.contains(node);
        self.down.retain(|node, _| is_news(node));
        for node in facts.liveness.keys().filter(|node| is_news(node)) {
            self.down.entry(*node).or_insert(now_ms);
        }
        let mut reported = facts.reported.iter();
        if let Some(node) = reported.find(|node| facts.is(node, Liveness::Alive)) {
            return Some(LivenessOperation::Present { node: *node });
        }
        let is_long = |since: u64| now_ms.saturating_sub(since) >= ABSENT_AFTER_MS;
        let mut down = self.down.iter();
        let (node, _) = down.find(|(_, since)| is_long(**since))?;
        Some(LivenessOperation::Absent { node: *node })
    }

    /// Whoever can say that it is there, is.
    fn answer(&mut self, now_ms: u64, facts: &Facts) -> Option<LivenessOperation> {
        let last = self.answered_at_ms;
        let is_soon = last.is_some_and(|last| now_ms.saturating_sub(last) < SELF_PAUSE_MS);
        if !facts.is_reported || is_soon {
            return None;
        }
        self.answered_at_ms = Some(now_ms);
        Some(LivenessOperation::Present { node: self.me })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeId::from_bytes([seed; 32])
    }

    /// Validators 1 to 4 as the first sees them, of whom some are down.
    fn seen(down: &[u8]) -> Facts {
        let liveness = |seed| match down.contains(&seed) {
            true => Liveness::Down,
            false => Liveness::Alive,
        };
        Facts {
            validators: (1..=4).map(node).collect(),
            liveness: (2..=5).map(|seed| (node(seed), liveness(seed))).collect(),
            ..Facts::default()
        }
    }

    fn absent(seed: u8) -> Option<LivenessOperation> {
        Some(LivenessOperation::Absent { node: node(seed) })
    }

    fn present(seed: u8) -> Option<LivenessOperation> {
        Some(LivenessOperation::Present { node: node(seed) })
    }

    #[test]
    fn a_healthy_fabric_is_left_alone() {
        let mut witness = Witness::new(node(1));
        assert!((0..100).all(|s| witness.decide(s * 1_000, &seen(&[])).is_none()));
    }

    #[test]
    fn a_member_is_reported_once_and_the_report_taken_back() {
        let mut witness = Witness::new(node(1));
        let mut facts = seen(&[4]);
        assert_eq!(witness.decide(0, &facts), None);
        assert_eq!(witness.decide(ABSENT_AFTER_MS - 1, &facts), None);
        assert_eq!(witness.decide(ABSENT_AFTER_MS, &facts), absent(4));
        facts.reported.insert(node(4));
        assert_eq!(witness.decide(ABSENT_AFTER_MS + 1, &facts), None);
        let back = Facts {
            reported: facts.reported.clone(),
            ..seen(&[])
        };
        assert_eq!(witness.decide(60_000, &back), present(4));
        assert_eq!(witness.decide(61_000, &seen(&[])), None);
        // Said to be there by itself, and still down here: looked at for as long again.
        assert_eq!(witness.decide(70_000, &facts), None);
        assert_eq!(witness.decide(71_000, &seen(&[4])), None);
        assert_eq!(witness.decide(72_000, &seen(&[4])), None);
        assert_eq!(witness.decide(76_000, &seen(&[4])), absent(4));
    }

    #[test]
    fn who_is_cut_off_reports_nobody_and_looks_again_afterwards() {
        let mut witness = Witness::new(node(1));
        for second in 0..100 {
            assert_eq!(witness.decide(second * 1_000, &seen(&[2, 3, 4, 5])), None);
        }
        assert_eq!(witness.decide(100_000, &seen(&[4])), None);
        assert_eq!(witness.decide(104_999, &seen(&[4])), None);
        assert_eq!(witness.decide(105_000, &seen(&[4])), absent(4));
    }

    #[test]
    fn only_validators_report_and_everyone_answers_for_itself() {
        let mut follower = Witness::new(node(5));
        let mut facts = seen(&[4]);
        for second in 0..10 {
            assert_eq!(follower.decide(second * 1_000, &facts), None);
        }
        facts.is_reported = true;
        assert_eq!(follower.decide(10_000, &facts), present(5));
        assert_eq!(follower.decide(10_000 + SELF_PAUSE_MS - 1, &facts), None);
        let again = follower.decide(10_000 + SELF_PAUSE_MS, &facts);
        assert_eq!(again, present(5));
    }
}
