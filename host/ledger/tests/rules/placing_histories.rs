//! Placing in random histories: no constraint is broken, and nothing moves that may stay.

use std::collections::{BTreeMap, BTreeSet};

use hypermesh_ledger::{
    DesiredState, LivenessOperation, Misfit, NodeState, Operation, TransactionOutcome,
};
use proptest::prelude::*;
use types::{Constraints, NodeId};

use crate::liveness::{founded, node};
use crate::membership::secret;
use crate::placing::{FOUNDERS, constrained, label, labels, turn};
use crate::{Fabric, name};

/// One step of a random history: what, with which number, for which node or workload.
type Step = (u8, u8, u16, u8);

fn placements(fabric: &Fabric) -> BTreeMap<(String, u16), (NodeId, u64)> {
    let placed = fabric.view().placements().unwrap().into_iter();
    placed
        .map(|it| {
            (
                (it.workload.to_string(), it.index),
                (it.node, it.generation),
            )
        })
        .collect()
}

/// Constraints drawn from a number.
fn drawn(number: u16) -> Constraints {
    let zone = ["eu", "us"][usize::from(number % 2)];
    match number % 6 {
        0 => Constraints {
            labels: labels(&[("zone", zone)]),
            ..Constraints::default()
        },
        1 => Constraints {
            apart: true,
            ..Constraints::default()
        },
        2 => Constraints {
            nodes: BTreeSet::from([node(1), node(4), node(6)]),
            ..Constraints::default()
        },
        3 => Constraints {
            spread: Some(name("zone")),
            near: BTreeSet::from([name("a")]),
            ..Constraints::default()
        },
        4 => Constraints {
            away: BTreeSet::from([name("b")]),
            apart: true,
            ..Constraints::default()
        },
        _ => Constraints::default(),
    }
}

fn step(fabric: &mut Fabric, (kind, number, replicas, seed): Step) {
    let text = ["a", "b", "c", "d"][usize::from(number % 4)];
    let workload = name(text);
    let seed = seed % FOUNDERS + 1;
    let outcome = match kind {
        0..=2 => {
            let placement = drawn(u16::from(number) + replicas * 7);
            fabric.try_deploy(constrained(text, replicas, placement))
        }
        3 => fabric.run(Operation::Scale {
            workload,
            component: name("web"),
            replicas,
        }),
        4 => fabric.run(Operation::Stop { workload }),
        5 => fabric.run(Operation::Start { workload }),
        6 => fabric.run(Operation::Remove { workload }),
        7 => fabric.run(turn(seed, NodeState::Cordoned)),
        8 => fabric.run(turn(seed, NodeState::Draining)),
        9 | 10 => fabric.run(turn(seed, NodeState::Open)),
        11 => fabric.run(label(
            seed,
            &[("zone", ["eu", "us"][usize::from(number % 2)])],
        )),
        12 => fabric.absent(number % 4 + 1, seed),
        13 => fabric.says_present(seed),
        _ => fabric.run(Operation::Restart { workload }),
    };
    drop(outcome);
}

impl Fabric {
    fn says_present(&mut self, seed: u8) -> TransactionOutcome {
        let node = node(seed);
        let present = Operation::Liveness(LivenessOperation::Present { node });
        self.run_as(&secret(seed), present)
    }
}

/// A replica may have moved in this block for one of these reasons only.
fn check_moves(
    before: &BTreeMap<(String, u16), (NodeId, u64)>,
    done: &Done,
    fabric: &Fabric,
    (kind, ..): Step,
) {
    let places = fabric.view().places().unwrap();
    let at = |node: &NodeId| places.iter().find(|place| place.node == *node).unwrap();
    let view = fabric.view();
    for ((text, index), (node, _)) in placements(fabric) {
        let deployment = view.deployment(&name(&text)).unwrap().unwrap();
        assert_ne!(deployment.desired, DesiredState::Stopped);
        let constraints = &deployment.spec.components[0].placement;
        let expelled = at(&node).facts().expels(constraints);
        let old = before.get(&(text.clone(), index));
        let came = old.is_none_or(|(old, _)| *old != node);
        if came {
            // Where it goes, nothing speaks against it.
            assert_eq!(
                expelled, None,
                "{text} {index} went to a node that does not fit"
            );
            assert_ne!(at(&node).record.state, NodeState::Cordoned);
            if let Some((old, _)) = old {
                let left = at(old).facts().expels(constraints);
                let changed = kind <= 2;
                let may = left.is_some() || (changed && constraints.apart);
                assert!(
                    may,
                    "{text} {index} moved for no reason: after {:?}",
                    done.0
                );
            }
        } else if expelled.is_some() {
            // Labels that a node loses are looked at with the next change of the workload only.
            let held = at(&node).facts().ousts().is_some();
            let relabelled = expelled == Some(Misfit::Label);
            assert!(
                held || relabelled,
                "{text} {index} stays against {expelled:?}"
            );
            assert!(relabelled || view.is_unplaced(&name(&text)).unwrap());
        }
    }
}

/// A history so far, shown if it fails.
struct Done(Vec<Step>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_history_breaks_a_constraint_or_moves_what_may_stay(
        steps in prop::collection::vec((0..15_u8, 0..8_u8, 0..7_u16, 0..6_u8), 1..60)
    ) {
        let mut fabric = founded(4);
        let mut done = Done(Vec::new());
        for one in steps {
            let before = placements(&fabric);
            done.0.push(one);
            step(&mut fabric, one);
            fabric.check_counts();
            check_moves(&before, &done, &fabric, one);
        }
        // Once all nodes take replicas again, only that waits which none of them may take.
        for seed in 1..=FOUNDERS {
            fabric.says_present(seed);
            fabric.run(turn(seed, NodeState::Open));
        }
        let held = placements(&fabric).into_values().filter(|(node, _)| {
            let places = fabric.view().places().unwrap();
            let place = places.iter().find(|place| place.node == *node).unwrap();
            place.facts().ousts().is_some()
        });
        prop_assert_eq!(held.count(), 0);
        let view = fabric.view();
        for deployment in view.deployments().unwrap() {
            let (workload, component) = (&deployment.spec.name, &deployment.spec.components[0]);
            if view.is_unplaced(workload).unwrap() {
                let misfits = view.misfits(workload, component).unwrap();
                prop_assert!(misfits.iter().all(|(_, misfit)| misfit.is_some()));
            }
        }
    }
}
