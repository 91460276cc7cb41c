//! Who is said to be gone is gone: an honest node is absent only if an honest validator says so, its
//! vote goes only if it was gone itself, and nothing is left of reports once it is back.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{LivenessOperation, View};
use types::NodeId;

use super::Check;
use crate::event::Event;

/// How long a node must have been there for all that was said of it to be taken back,
/// milliseconds: a look of each witness, its word in a block, and again if it is lost.
const SETTLED_MS: u64 = 60_000;

/// What honest validators said, where honest nodes are, and what the state says of it.
#[derive(Debug)]
pub(crate) struct Absence {
    honest: BTreeMap<NodeId, usize>,
    /// Honest nodes whose votes others may take in this run.
    voted_out: BTreeSet<usize>,
    /// Witness and node: said to be gone at least once.
    said: BTreeSet<(NodeId, NodeId)>,
    there_since_ms: BTreeMap<usize, u64>,
    in_office: BTreeMap<usize, Vec<NodeId>>,
    /// Honest nodes that are reported in the state that each node showed last.
    reported: BTreeMap<usize, Vec<usize>>,
}

impl Absence {
    /// For these honest nodes, of which votes may take the vote of some.
    pub(crate) fn new(honest: &[(usize, NodeId)], voted_out: BTreeSet<usize>) -> Self {
        Self {
            honest: honest.iter().map(|(node, name)| (*name, *node)).collect(),
            voted_out,
            said: BTreeSet::new(),
            there_since_ms: BTreeMap::new(),
            in_office: BTreeMap::new(),
            reported: BTreeMap::new(),
        }
    }

    fn name_of(&self, node: usize) -> Option<NodeId> {
        let mut names = self.honest.iter();
        names
            .find(|(_, other)| **other == node)
            .map(|(name, _)| *name)
    }

    fn judge(&mut self, node: usize, view: &View, at_ms: u64) -> Result<(), String> {
        let unreadable = |error: ledger::DecodeRecordError| error.to_string();
        let fabric = view.fabric().map_err(unreadable)?;
        let in_office = fabric.map(|fabric| fabric.validators).unwrap_or_default();
        let absences = view.absences().map_err(unreadable)?;
        for (about, record) in &absences {
            let honest = record.reports.iter().map(|report| report.witness);
            let honest: Vec<_> = honest.filter(|it| self.honest.contains_key(it)).collect();
            if let Some(witness) = honest
                .iter()
                .find(|it| !self.said.contains(&(**it, *about)))
            {
                return Err(format!(
                    "the state says that {} reported {}, which it never did",
                    witness.short(),
                    about.short()
                ));
            }
            let is_absent = record.since(&in_office).is_some();
            if is_absent && !honest.iter().any(|witness| in_office.contains(witness)) {
                return Err(format!("only liars say that {} is gone", about.short()));
            }
        }
        let reported = absences.keys().filter_map(|about| self.honest.get(about));
        self.reported.insert(node, reported.copied().collect());
        let before = self.in_office.insert(node, in_office.clone());
        let lost = before.into_iter().flatten();
        let mut lost = lost.filter(|validator| !in_office.contains(validator));
        match lost.find(|validator| self.may_not_lose(validator, at_ms)) {
            Some(validator) => Err(format!(
                "{} lost its vote at height {} although it was there",
                validator.short(),
                view.height()
            )),
            None => Ok(()),
        }
    }

    fn may_not_lose(&self, validator: &NodeId, at_ms: u64) -> bool {
        let Some(node) = self.honest.get(validator) else {
            return false;
        };
        let since_ms = self.there_since_ms.get(node);
        let is_settled = since_ms.is_some_and(|since| at_ms.saturating_sub(*since) >= SETTLED_MS);
        is_settled && !self.voted_out.contains(node)
    }
}

impl Check for Absence {
    fn name(&self) -> &'static str {
        "only the absent are absent"
    }

    fn see(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Said { witness, operation } => {
                if let (Some(witness), LivenessOperation::Absent { node }) =
                    (self.name_of(*witness), operation)
                {
                    self.said.insert((witness, *node));
                }
                Ok(())
            }
            Event::Presence { node, there, at_ms } => {
                if *there {
                    self.there_since_ms.entry(*node).or_insert(*at_ms);
                } else {
                    self.there_since_ms.remove(node);
                }
                Ok(())
            }
            // Its state may be older than what it showed before it lost its power.
            Event::Started { node, .. } => {
                self.in_office.remove(node);
                Ok(())
            }
            Event::State { node, view, at_ms } => self.judge(*node, view, *at_ms),
            Event::Over => match self.reported.iter().find(|(_, about)| !about.is_empty()) {
                Some((node, about)) => Err(format!(
                    "long after all were back, node {node} still shows reports about {about:?}"
                )),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use ledger::Operation;

    use super::super::small_ledger::SmallLedger;
    use super::*;

    /// Four validators, the last of whom lies, and what the checker says of a state in which some
    /// reported the first one.
    fn show(witnesses: &[usize], said: &[usize]) -> (Absence, Result<(), String>) {
        let mut ledger = SmallLedger::new(4);
        let honest: Vec<_> = (0..3).map(|node| (node, ledger.name(node))).collect();
        let mut check = Absence::new(&honest, BTreeSet::new());
        let operation = LivenessOperation::Absent {
            node: ledger.name(0),
        };
        for witness in said {
            let said = Event::Said {
                witness: *witness,
                operation,
            };
            check.see(&said).unwrap();
        }
        for witness in witnesses {
            ledger.apply(*witness, Operation::Liveness(operation));
        }
        let view = ledger.view();
        let end = check.see(&Event::State {
            node: 0,
            view: &view,
            at_ms: 0,
        });
        (check, end)
    }

    #[test]
    fn a_report_that_nobody_made_is_seen() {
        assert!(show(&[1, 3], &[1]).1.is_ok());
        assert!(show(&[1, 3], &[]).1.is_err());
    }

    #[test]
    fn reports_that_stay_are_seen_at_the_end() {
        let (mut check, _) = show(&[1], &[1]);
        assert!(check.see(&Event::Over).is_err());
        let (mut check, _) = show(&[], &[]);
        assert!(check.see(&Event::Over).is_ok());
    }

    #[test]
    fn absence_by_the_word_of_liars_alone_is_seen() {
        let mut ledger = SmallLedger::new(4);
        let honest = [(0, ledger.name(0)), (1, ledger.name(1))];
        let mut check = Absence::new(&honest, BTreeSet::new());
        let absent = LivenessOperation::Absent {
            node: ledger.name(0),
        };
        let mut see = |ledger: &SmallLedger| {
            let view = ledger.view();
            check.see(&Event::State {
                node: 1,
                view: &view,
                at_ms: 0,
            })
        };
        ledger.apply(2, Operation::Liveness(absent));
        assert!(see(&ledger).is_ok());
        ledger.apply(3, Operation::Liveness(absent));
        assert!(see(&ledger).is_err());
    }

    #[test]
    fn a_vote_lost_by_one_that_is_there_is_seen() {
        let (before, after) = (SmallLedger::new(4), SmallLedger::new(3));
        let lost = before.name(3);
        let genesis_block = |mut ledger: SmallLedger| {
            let node = ledger.name(1);
            ledger.apply(0, Operation::Liveness(LivenessOperation::Absent { node }));
            ledger.apply(0, Operation::Liveness(LivenessOperation::Present { node }));
            ledger.view()
        };
        let (before, after) = (genesis_block(before), genesis_block(after));
        let see = |there_since_ms: Option<u64>, voted_out: BTreeSet<usize>| {
            let mut check = Absence::new(&[(3, lost)], voted_out);
            if let Some(at_ms) = there_since_ms {
                check.see(&Event::Presence {
                    node: 3,
                    there: true,
                    at_ms,
                })?;
            }
            [&before, &after]
                .into_iter()
                .try_for_each(|view| check.judge(3, view, 100_000))
        };
        assert!(see(Some(0), BTreeSet::new()).is_err());
        assert!(see(Some(0), BTreeSet::from([3])).is_ok());
        assert!(see(Some(90_000), BTreeSet::new()).is_ok());
        assert!(see(None, BTreeSet::new()).is_ok());
    }
}
