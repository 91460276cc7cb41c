//! Validators that say who is gone, by the rules of `orchestrator::Witness`, and Byzantine ones that
//! say it of whom they like. Never judges what reports lead to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use consensus::simulated::{Dice, SimWorld};
use ledger::{LivenessOperation, Operation, View};
use orchestrator::{Sights, Witness};

use crate::client::Client;
use crate::event::Event;
use crate::fleet::{Fleet, node_key};

/// Pause between two looks at the others.
const LOOK: Duration = Duration::from_secs(1);
/// How long a node tries to say something before it looks again.
const SAYING: Duration = Duration::from_secs(30);
/// Longest pause between two lies of one Byzantine validator, milliseconds: victims that answer each
/// one must still come to do something else.
const LIE_MS_MAX: u64 = 20_000;

/// Keeps up what all nodes see of each other, for ever.
pub(crate) async fn gossip(world: &SimWorld, fleet: &Arc<Fleet>) {
    loop {
        let (nodes, now_ms) = (fleet.scenario.nodes(), world.now_ms());
        let has_power = |node| fleet.net.has_power(node);
        let reach = |a, b| fleet.net.reach(a, b);
        fleet.gossip.look(nodes, now_ms, has_power, reach);
        for node in fleet.honest() {
            let there =
                has_power(node) && (nodes == 1 || (0..nodes).any(|other| reach(node, other)));
            fleet.watch.see(&Event::Presence {
                node,
                there,
                at_ms: now_ms,
            });
        }
        world.sleep(LOOK).await;
    }
}

/// One honest node, for ever.
pub(crate) async fn witness(world: &SimWorld, fleet: &Arc<Fleet>, node: usize) {
    let me = node_key(node).public_key();
    let mut signer = Client::officer(node, &fleet.genesis);
    let mut witness = Witness::new(me);
    loop {
        world.sleep(LOOK).await;
        let now_ms = world.now_ms();
        let sights = fleet.view(node, |view| sights(fleet, node, view, now_ms));
        let Some(sights) = sights.flatten() else {
            // What it had seen went with its process.
            witness = Witness::new(me);
            continue;
        };
        let Some(operation) = witness.decide(now_ms, &sights) else {
            continue;
        };
        if let LivenessOperation::Absent { .. } = operation {
            fleet.reports.fetch_add(1, Ordering::Relaxed);
        }
        fleet.watch.see(&Event::Said {
            witness: node,
            operation,
        });
        let operation = Operation::Liveness(operation);
        let finality = tokio::select! {
            biased;
            finality = signer.settle(world, fleet, node, &operation) => finality,
            () = world.sleep(SAYING) => continue,
        };
        // Else the same would be decided again, on old state.
        while fleet
            .view(node, View::height)
            .is_some_and(|height| height < finality.height)
        {
            world.sleep(LOOK).await;
        }
    }
}

/// One Byzantine validator, for ever: what it says is final wherever it says it.
pub(crate) async fn slander(world: &SimWorld, fleet: &Arc<Fleet>, liar: usize) {
    let mut signer = Client::officer(liar, &fleet.genesis);
    let mut dice = Dice::new(fleet.scenario.seed ^ ((liar as u64) << 40));
    let honest: Vec<_> = fleet.honest().collect();
    loop {
        world
            .sleep(Duration::from_millis(dice.below(LIE_MS_MAX)))
            .await;
        let node = |dice: &mut Dice| honest.get(dice.index(honest.len())).copied();
        let (Some(victim), Some(told)) = (node(&mut dice), node(&mut dice)) else {
            return;
        };
        let node = node_key(victim).public_key();
        let lie = Operation::Liveness(LivenessOperation::Absent { node });
        signer.settle(world, fleet, told, &lie).await;
    }
}

fn sights(fleet: &Fleet, me: usize, view: &View, now_ms: u64) -> Option<Sights> {
    let own = node_key(me).public_key();
    // A state that cannot be read is objected to by a checker.
    let absences = view.absences().ok()?;
    let reported = absences.iter().filter(|(_, record)| {
        let mut witnesses = record.reports.iter().map(|report| report.witness);
        witnesses.any(|witness| witness == own)
    });
    let validators = view.fabric().ok()??.validators;
    let is_gone = absences
        .get(&own)
        .is_some_and(|record| record.since(&validators).is_some());
    let others = (0..fleet.scenario.nodes()).filter(|node| *node != me);
    let seen = others.map(|node| {
        let seen = fleet.gossip.seen(me, node, now_ms);
        (node_key(node).public_key(), seen)
    });
    Some(Sights {
        validators,
        seen: seen.collect(),
        reported: reported.map(|(node, _)| *node).collect(),
        is_reported: absences.contains_key(&own),
        is_gone,
    })
}
