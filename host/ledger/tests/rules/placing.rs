//! Placing: constraints are kept, what need not move does not, what is lost goes elsewhere, and what has
//! no place waits for one.

use std::collections::{BTreeMap, BTreeSet};

use hypermesh_ledger::{
    HANDOVER_MS, LABELS_MAX, Misfit, NodeOperation, NodeState, Operation, Placement, Refusal, Role,
    RoleOperation, StateKey, TransactionOutcome,
};
use types::{Constraints, Labels, NodeId, WorkloadSpec};

use crate::liveness::{founded, node};
use crate::membership::{APPLIED, refused, secret};
use crate::{Fabric, component, name, public, workload};

/// Founders of the fabrics here: four validators, two without a vote.
pub(crate) const FOUNDERS: u8 = 6;

pub(crate) fn turn(seed: u8, state: NodeState) -> Operation {
    let node = node(seed);
    Operation::Node(NodeOperation::Turn { node, state })
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(label, value)| (name(label), name(value)))
        .collect()
}

pub(crate) fn label(seed: u8, pairs: &[(&str, &str)]) -> Operation {
    let (node, labels) = (node(seed), labels(pairs));
    Operation::Node(NodeOperation::Label { node, labels })
}

pub(crate) fn constrained(text: &str, replicas: u16, placement: Constraints) -> WorkloadSpec {
    let mut spec = workload(text, replicas, &[]);
    spec.components[0].placement = placement;
    spec
}

impl Fabric {
    pub(crate) fn try_deploy(&mut self, spec: WorkloadSpec) -> TransactionOutcome {
        let current = self.view().deployment(&spec.name).unwrap();
        self.run(Operation::Deploy {
            spec,
            replaces: current.map(|record| record.generation),
        })
    }

    fn placed(&self, workload: &str) -> Vec<Placement> {
        self.view().placements_of(&name(workload)).unwrap()
    }

    /// On which nodes, in the order of the replicas, by their seeds.
    fn seeds(&self, workload: &str) -> Vec<u8> {
        let seeds: BTreeMap<NodeId, u8> = (1..100).map(|seed| (node(seed), seed)).collect();
        let placed = self.placed(workload).into_iter();
        placed.map(|placed| seeds[&placed.node]).collect()
    }

    fn is_lost(&mut self, seed: u8) {
        for witness in (1..=4).filter(|witness| *witness != seed).take(2) {
            assert_eq!(self.absent(witness, seed), APPLIED);
        }
    }

    fn is_back(&mut self, seed: u8) {
        assert_eq!(self.present(seed, seed), APPLIED);
    }

    /// What is counted is what is there.
    pub(crate) fn check_counts(&self) {
        let view = self.view();
        let mut counted: BTreeMap<NodeId, BTreeMap<_, u32>> = BTreeMap::new();
        for placed in view.placements().unwrap() {
            let there = counted.entry(placed.node).or_default();
            *there.entry(placed.workload).or_default() += 1;
        }
        let mut placed = 0;
        for place in view.places().unwrap() {
            let there = counted.remove(&place.node).unwrap_or_default();
            assert_eq!(place.record.placements, there.values().sum::<u32>());
            let listed = view.workloads_on(&place.node).unwrap().workloads;
            assert_eq!(listed, there.into_iter().collect::<Vec<_>>());
            placed += place.record.placements;
        }
        assert_eq!(
            counted,
            BTreeMap::new(),
            "placed on a node that is no member"
        );
        assert_eq!(placed as usize, self.entries("placement/"));
    }
}

fn no_place(replicas: u32, reasons: &[(Misfit, u32)]) -> TransactionOutcome {
    refused(Refusal::NoPlace {
        component: name("web"),
        replicas,
        reasons: reasons.to_vec(),
    })
}

#[test]
fn members_that_joined_are_places_too() {
    let mut fabric = founded(4);
    fabric.member(50);
    assert_eq!(fabric.try_deploy(workload("a", 7, &[])), APPLIED);
    let nodes: BTreeSet<u8> = fabric.seeds("a").into_iter().collect();
    assert_eq!(nodes, BTreeSet::from([1, 2, 3, 4, 5, 6, 50]));
    // What was on it goes elsewhere in the block in which it leaves.
    assert_eq!(fabric.evict(node(50)), APPLIED);
    let nodes = fabric.seeds("a");
    assert_eq!((nodes.len(), nodes.contains(&50)), (7, false));
    assert_eq!(fabric.view().value(&StateKey::node(&node(50))), None);
    fabric.check_counts();
}

#[test]
fn constraints_choose_the_nodes() {
    let mut fabric = founded(4);
    for (seed, zone) in [(1, "eu"), (2, "eu"), (3, "us"), (4, "us"), (5, "us")] {
        assert_eq!(fabric.run(label(seed, &[("zone", zone)])), APPLIED);
    }
    let in_zone = |zone| Constraints {
        labels: labels(&[("zone", zone)]),
        ..Constraints::default()
    };
    assert_eq!(
        fabric.try_deploy(constrained("eu", 3, in_zone("eu"))),
        APPLIED
    );
    assert!(fabric.seeds("eu").iter().all(|seed| [1, 2].contains(seed)));
    let named = Constraints {
        nodes: BTreeSet::from([node(6)]),
        ..Constraints::default()
    };
    assert_eq!(fabric.try_deploy(constrained("six", 2, named)), APPLIED);
    assert_eq!(fabric.seeds("six"), [6, 6]);
    let apart = Constraints {
        apart: true,
        ..in_zone("eu")
    };
    assert_eq!(
        fabric.try_deploy(constrained("apart", 2, apart.clone())),
        APPLIED
    );
    let mut seeds = fabric.seeds("apart");
    seeds.sort_unstable();
    assert_eq!(seeds, [1, 2]);
    let wanted = no_place(1, &[(Misfit::Label, 4), (Misfit::Apart, 2)]);
    assert_eq!(fabric.try_deploy(constrained("three", 3, apart)), wanted);
    let spread = Constraints {
        spread: Some(name("zone")),
        ..Constraints::default()
    };
    assert_eq!(fabric.try_deploy(constrained("spread", 6, spread)), APPLIED);
    let zones = fabric.seeds("spread").into_iter().map(|seed| match seed {
        1 | 2 => "eu",
        6 => "none",
        _ => "us",
    });
    let mut counts = BTreeMap::new();
    zones.for_each(|zone| *counts.entry(zone).or_insert(0) += 1);
    assert_eq!(counts, BTreeMap::from([("eu", 2), ("none", 2), ("us", 2)]));
    let near = Constraints {
        near: BTreeSet::from([name("six")]),
        ..Constraints::default()
    };
    assert_eq!(fabric.try_deploy(constrained("near", 2, near)), APPLIED);
    assert_eq!(fabric.seeds("near"), [6, 6]);
    let away = Constraints {
        away: BTreeSet::from([name("eu"), name("spread")]),
        ..in_zone("eu")
    };
    let wanted = no_place(1, &[(Misfit::Label, 4), (Misfit::Away, 2)]);
    assert_eq!(fabric.try_deploy(constrained("away", 1, away)), wanted);
    fabric.check_counts();
}

#[test]
fn a_refusal_says_how_many_nodes_have_which_reason() {
    let mut fabric = founded(4);
    for seed in 2..=FOUNDERS {
        assert_eq!(fabric.run(turn(seed, NodeState::Cordoned)), APPLIED);
    }
    assert_eq!(fabric.run(turn(1, NodeState::Draining)), APPLIED);
    let refusal = fabric.try_deploy(workload("a", 2, &[]));
    let reasons = [(Misfit::Cordoned, 5), (Misfit::Draining, 1)];
    assert_eq!(refusal, no_place(2, &reasons));
    let TransactionOutcome::Refused(refusal) = refusal else {
        panic!("admitted");
    };
    let text =
        "component `web`: 2 replicas have no place: 5 nodes are cordoned, 1 node is draining";
    assert_eq!(refusal.to_string(), text);
    assert_eq!(fabric.placed("a"), []);
    // A replica too many refuses the whole change.
    assert_eq!(fabric.run(turn(1, NodeState::Open)), APPLIED);
    let apart = Constraints {
        apart: true,
        ..Constraints::default()
    };
    assert_eq!(fabric.try_deploy(constrained("a", 1, apart)), APPLIED);
    let scale = Operation::Scale {
        workload: name("a"),
        component: name("web"),
        replicas: 2,
    };
    let wanted = no_place(1, &[(Misfit::Cordoned, 5), (Misfit::Apart, 1)]);
    assert_eq!(fabric.run(scale), wanted);
    assert_eq!(fabric.seeds("a"), [1]);
    fabric.check_counts();
}

#[test]
fn what_is_on_a_lost_node_goes_elsewhere_and_stays_there() {
    let mut fabric = founded(4);
    assert_eq!(fabric.try_deploy(workload("a", 6, &[])), APPLIED);
    let before = fabric.placed("a");
    assert_eq!(fabric.absent(1, 3), APPLIED);
    assert_eq!(fabric.placed("a"), before, "one witness may lie");
    assert_eq!(fabric.absent(2, 3), APPLIED);
    let after = fabric.placed("a");
    for (before, after) in before.iter().zip(&after) {
        let lost = before.node == node(3);
        assert_eq!(before != after, lost);
        assert_ne!(after.node, node(3));
        // A move is another instance.
        assert_eq!(after.generation > before.generation, lost);
    }
    fabric.check_counts();
    fabric.is_back(3);
    assert_eq!(fabric.placed("a"), after);
    // It takes what comes next.
    assert_eq!(fabric.try_deploy(workload("b", 1, &[])), APPLIED);
    assert_eq!(fabric.seeds("b"), [3]);
}

#[test]
fn what_has_no_other_place_waits_and_goes_when_there_is_one() {
    let mut fabric = founded(4);
    for seed in 3..=FOUNDERS {
        assert_eq!(fabric.run(turn(seed, NodeState::Cordoned)), APPLIED);
    }
    let apart = Constraints {
        apart: true,
        ..Constraints::default()
    };
    assert_eq!(fabric.try_deploy(constrained("a", 2, apart)), APPLIED);
    let before = fabric.placed("a");
    fabric.is_lost(2);
    assert_eq!(fabric.placed("a"), before, "nobody else takes it");
    assert!(fabric.view().is_unplaced(&name("a")).unwrap());
    let spec = fabric.view().deployment(&name("a")).unwrap().unwrap();
    let misfits = fabric.view().misfits(&name("a"), &spec.spec.components[0]);
    let misfits: BTreeMap<_, _> = misfits.unwrap().into_iter().collect();
    assert_eq!(misfits[&node(1)], Some(Misfit::Apart));
    assert_eq!(misfits[&node(2)], Some(Misfit::Gone));
    assert_eq!(misfits[&node(5)], Some(Misfit::Cordoned));
    assert_eq!(fabric.run(turn(5, NodeState::Open)), APPLIED);
    let mut seeds = fabric.seeds("a");
    seeds.sort_unstable();
    assert_eq!(seeds, [1, 5]);
    assert!(!fabric.view().is_unplaced(&name("a")).unwrap());
    fabric.check_counts();
}

#[test]
fn a_lost_node_that_had_much_is_emptied_by_several_transactions() {
    let mut fabric = founded(4);
    // Of each, a sixth is on every node.
    for number in 0..9 {
        assert_eq!(
            fabric.try_deploy(workload(&format!("w{number}"), 240, &[])),
            APPLIED
        );
    }
    let left = |fabric: &Fabric| {
        let placed = fabric.view().placements().unwrap().into_iter();
        placed.filter(|placed| placed.node == node(3)).count()
    };
    assert_eq!(left(&fabric), 9 * 40);
    fabric.is_lost(3);
    // Four of 240 are within what one transaction looks at.
    assert_eq!(left(&fabric), 5 * 40);
    for transactions in 1..=2_usize {
        assert!(fabric.view().may_settle(fabric.now_ms()).unwrap());
        let settle = Operation::Node(NodeOperation::Settle);
        assert_eq!(fabric.run_as(&secret(6), settle), APPLIED);
        assert_eq!(left(&fabric), [1, 0][transactions - 1] * 40);
        fabric.check_counts();
    }
    assert!(!fabric.view().may_settle(fabric.now_ms()).unwrap());
}

#[test]
fn a_drain_empties_a_node_and_a_cordon_keeps_what_it_has() {
    let mut fabric = founded(4);
    assert_eq!(fabric.try_deploy(workload("a", 12, &[])), APPLIED);
    let before = fabric.seeds("a");
    assert_eq!(fabric.run(turn(2, NodeState::Cordoned)), APPLIED);
    assert_eq!(fabric.seeds("a"), before);
    assert_eq!(fabric.run(turn(2, NodeState::Draining)), APPLIED);
    let after = fabric.seeds("a");
    let moved = before.iter().zip(&after).filter(|(old, new)| old != new);
    assert!(moved.clone().all(|(old, _)| *old == 2));
    assert_eq!(moved.count(), 2);
    assert!(!after.contains(&2));
    assert_eq!(fabric.run(turn(2, NodeState::Open)), APPLIED);
    assert_eq!(fabric.seeds("a"), after, "nothing moves back by itself");
    fabric.check_counts();
}

#[test]
fn a_new_release_stays_where_the_old_one_was() {
    let mut fabric = founded(4);
    assert_eq!(fabric.try_deploy(workload("a", 4, &[])), APPLIED);
    assert_eq!(fabric.try_deploy(workload("b", 3, &[])), APPLIED);
    let before = fabric.seeds("a");
    let mut next = workload("a", 3, &["/"]);
    next.components.push(component("api", 1, &["/api"]));
    assert_eq!(fabric.try_deploy(next), APPLIED);
    let generation = fabric.height;
    let placed = fabric.placed("a");
    assert!(placed.iter().all(|it| it.generation == generation));
    let web = placed.iter().filter(|it| it.component == name("web"));
    let web: Vec<NodeId> = web.map(|it| it.node).collect();
    let stayed: Vec<NodeId> = before.iter().take(3).map(|seed| node(*seed)).collect();
    assert_eq!(web, stayed);
    fabric.check_counts();
}

#[test]
fn a_singleton_of_a_lost_node_waits_until_it_has_certainly_stopped() {
    let mut fabric = founded(4);
    let singleton = Constraints {
        singleton: true,
        ..Constraints::default()
    };
    assert_eq!(fabric.try_deploy(constrained("one", 1, singleton)), APPLIED);
    let before = fabric.placed("one");
    let on = fabric.seeds("one")[0];
    fabric.is_lost(on);
    assert_eq!(fabric.placed("one"), before);
    let settle = || Operation::Node(NodeOperation::Settle);
    let said_ms = fabric.view().places().unwrap();
    let said_ms = said_ms
        .iter()
        .find_map(|place| place.gone_since_ms)
        .unwrap();
    // The block's time is that of the one before, and a millisecond.
    fabric.clock_ms = said_ms + HANDOVER_MS - fabric.height - 2;
    assert!(!fabric.view().may_settle(said_ms + HANDOVER_MS - 1).unwrap());
    assert_eq!(fabric.run_as(&secret(6), settle()), APPLIED);
    assert_eq!(fabric.placed("one"), before, "a millisecond is left");
    assert!(fabric.view().may_settle(said_ms + HANDOVER_MS).unwrap());
    assert_eq!(fabric.run_as(&secret(6), settle()), APPLIED);
    assert_ne!(fabric.seeds("one")[0], on);
    assert!(!fabric.view().may_settle(u64::MAX).unwrap());
    // One that came back in time keeps it.
    let on = fabric.seeds("one")[0];
    fabric.is_lost(on);
    fabric.is_back(on);
    fabric.clock_ms += 2 * HANDOVER_MS;
    assert_eq!(fabric.run_as(&secret(6), settle()), APPLIED);
    assert_eq!(fabric.seeds("one")[0], on);
    // Who is no member says nothing.
    let stranger = fabric.run(settle());
    assert!(matches!(
        stranger,
        TransactionOutcome::Refused(Refusal::NotAMember(_))
    ));
    fabric.check_counts();
}

#[test]
fn a_plan_is_what_comes() {
    let mut fabric = founded(4);
    assert_eq!(fabric.try_deploy(workload("b", 5, &[])), APPLIED);
    for replicas in [3, 7, 2] {
        let spec = workload("a", replicas, &[]);
        let plan = fabric.view().plan(node(1), &spec).unwrap();
        assert_eq!(fabric.try_deploy(spec), APPLIED);
        assert_eq!(fabric.placed("a"), plan);
    }
    let apart = Constraints {
        apart: true,
        ..Constraints::default()
    };
    let refusal = fabric
        .view()
        .plan(node(1), &constrained("c", 7, apart))
        .unwrap_err();
    let wanted = Refusal::NoPlace {
        component: name("web"),
        replicas: 1,
        reasons: vec![(Misfit::Apart, 6)],
    };
    assert_eq!(refusal, wanted);
}

#[test]
fn who_says_what_of_a_node() {
    let mut fabric = founded(4);
    let deployer = secret(77);
    assert_eq!(
        fabric.run(Operation::Role(RoleOperation::Grant {
            principal: public(&deployer),
            role: Role::Deployer,
        })),
        APPLIED
    );
    let cordon = || turn(5, NodeState::Cordoned);
    let denied = fabric.run_as(&deployer, cordon());
    assert!(matches!(
        denied,
        TransactionOutcome::Refused(Refusal::Role { .. })
    ));
    let denied = fabric.run_as(&secret(6), cordon());
    assert!(matches!(
        denied,
        TransactionOutcome::Refused(Refusal::Role { .. })
    ));
    assert_eq!(fabric.run_as(&secret(5), cordon()), APPLIED);
    let unknown = fabric.run(turn(60, NodeState::Open));
    assert_eq!(unknown, refused(Refusal::NotAMember(node(60))));
    let many = (0..=LABELS_MAX).map(|number| (name(&format!("l{number}")), name("x")));
    let (node, labels) = (node(5), many.collect());
    let refusal = fabric.run(Operation::Node(NodeOperation::Label { node, labels }));
    assert!(matches!(
        refusal,
        TransactionOutcome::Refused(Refusal::TooMany { .. })
    ));
}
