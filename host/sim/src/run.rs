//! One run from its beginning to its judgement. Puts the parts together and keeps the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use consensus::simulated::{self, SimWorld};
use ledger::{Genesis, GenesisError};

use crate::checks::Watch;
use crate::client::{Client, operator};
use crate::event::Event;
use crate::fleet::{Fleet, node_key};
use crate::network::Net;
use crate::panics;
use crate::report::{Failure, Summary};
use crate::scenario::Scenario;

/// Pause between two looks at everything.
const LOOK: Duration = Duration::from_millis(250);
/// How long the last troubles take to end by themselves.
const AFTERMATH: Duration = Duration::from_secs(4);
/// How long a fabric may take to answer after everything was mended: a few rounds of the slowest
/// kind, and pauses between sendings.
const MENDED_SECONDS: u64 = 120;
/// For what is under way to be read.
const REST: Duration = Duration::from_secs(1);

/// Runs a scenario.
///
/// # Errors
/// [`Failure`], with what was objected to.
pub fn simulate(scenario: &Scenario) -> Result<Summary, Failure> {
    let (end, panics) = panics::during(|| {
        simulated::run(scenario.seed, |world| async move {
            let begun_ms = world.now_ms();
            let honest = (0..scenario.nodes()).filter(|node| scenario.is_honest(*node));
            let honest: Vec<_> = honest
                .map(|node| (node, node_key(node).public_key()))
                .collect();
            let watch = Arc::new(Watch::new(&honest));
            let end = match genesis(scenario, begun_ms) {
                Ok(genesis) => Ok(story(&world, scenario, genesis, &watch).await),
                Err(error) => Err(vec![error.to_string()]),
            };
            let simulated_ms = world.now_ms().saturating_sub(begun_ms);
            let objections = watch.objections();
            match end {
                Ok(fleet) if objections.is_empty() => Ok(summary(&world, &fleet, simulated_ms)),
                Ok(_) => Err((simulated_ms, objections)),
                Err(objections) => Err((simulated_ms, objections)),
            }
        })
    });
    // A task of the simulation itself that panics would leave checkers blind.
    let own = panics.iter().filter(|text| text.contains("host/sim/src"));
    let own: Vec<_> = own.cloned().collect();
    let (at_ms, mut objections) = match end {
        Ok(summary) if own.is_empty() => return Ok(summary),
        Ok(summary) => (summary.simulated_ms, Vec::new()),
        Err(end) => end,
    };
    objections.extend(own);
    Err(Failure {
        scenario: Box::new(scenario.clone()),
        at_ms,
        objections,
        panics,
    })
}

fn summary(world: &SimWorld, fleet: &Fleet, simulated_ms: u64) -> Summary {
    let status = fleet.honest().next().and_then(|node| fleet.ledger(node));
    let status = status.map(|ledger| ledger.status());
    Summary {
        seed: fleet.scenario.seed,
        simulated_ms,
        height: status.as_ref().map_or(0, |status| status.height),
        crashes: fleet.pulled(),
        taken_over: fleet.taken_over(),
        nullified: status.as_ref().map_or(0, |status| status.nullified),
        traffic: fleet.net.traffic(),
        audit: world.audit(),
    }
}

/// The fabric's beginning: every client and every node's last question has an operator.
fn genesis(scenario: &Scenario, now_ms: u64) -> Result<Genesis, GenesisError> {
    let keys: Vec<_> = (0..scenario.nodes())
        .map(|node| node_key(node).public_key())
        .collect();
    let validators = keys.iter().take(scenario.validators).copied().collect();
    let operators = (0..scenario.clients + scenario.nodes()).map(operator);
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&scenario.seed.to_be_bytes());
    Genesis::new(now_ms, salt, validators, keys, operators.collect())?
        .with_epoch_blocks(scenario.epoch_blocks)
}

async fn story(
    world: &SimWorld,
    scenario: &Scenario,
    genesis: Genesis,
    watch: &Arc<Watch>,
) -> Arc<Fleet> {
    let names = (0..scenario.nodes()).map(|node| node_key(node).public_key());
    let net = Arc::new(Net::new(
        world.again(),
        names.collect(),
        &scenario.twins(),
        scenario.weather,
    ));
    let fleet = Arc::new(Fleet::new(
        world.again(),
        scenario.clone(),
        genesis,
        net,
        watch.clone(),
    ));
    for node in 0..fleet.machines() {
        fleet.boot(node);
    }
    let eyes = fleet.clone();
    world.spawn(move |world| async move {
        loop {
            eyes.net.look();
            eyes.look();
            world.sleep(LOOK).await;
        }
    });
    let mut clients = Vec::new();
    for index in 0..scenario.clients {
        let client = Client::new(index, &fleet.genesis, scenario.seed);
        let (fleet, gap_ms) = (fleet.clone(), scenario.gap_ms);
        clients.push(
            world.spawn(move |world| async move { client.work(&world, &fleet, gap_ms).await }),
        );
    }
    for plan in scenario.troubles.clone() {
        let fleet = fleet.clone();
        world.spawn(move |world| async move { plan.befall(&world, &fleet).await });
    }
    let mended = Duration::from_secs(scenario.seconds);
    unless_objected(world, watch, mended + AFTERMATH, || false).await;
    for client in clients {
        client.end();
    }
    fleet.mend().await;
    last_questions(world, &fleet).await;
    watch.see(&Event::Over);
    fleet
}

/// Asks every honest node for one more transaction, and waits until all are level.
async fn last_questions(world: &SimWorld, fleet: &Arc<Fleet>) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut asked = Vec::new();
    for node in fleet.honest() {
        let index = fleet.scenario.clients + node;
        let client = Client::new(index, &fleet.genesis, fleet.scenario.seed);
        let unanswered = Arc::new(AtomicUsize::new(1));
        asked.push((node, unanswered.clone()));
        open.fetch_add(1, Ordering::Relaxed);
        let (fleet, open) = (fleet.clone(), open.clone());
        world.spawn(move |world| async move {
            client.insist(&world, &fleet, node).await;
            unanswered.store(0, Ordering::Relaxed);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    let patience = Duration::from_secs(MENDED_SECONDS);
    let answered = || open.load(Ordering::Relaxed) == 0;
    unless_objected(world, &fleet.watch, patience, answered).await;
    let highest = fleet.honest().map(|node| height(fleet, node)).max();
    let highest = highest.unwrap_or(0);
    let level = || fleet.honest().all(|node| height(fleet, node) >= highest);
    unless_objected(world, &fleet.watch, patience, level).await;
    world.sleep(REST).await;
    if !fleet.watch.objections().is_empty() {
        return;
    }
    for (node, unanswered) in asked {
        fleet.watch.see(&Event::Ended {
            node,
            height: height(fleet, node),
            highest,
            unanswered: unanswered.load(Ordering::Relaxed),
        });
    }
}

fn height(fleet: &Fleet, node: usize) -> u64 {
    let ledger = fleet.ledger(node);
    ledger.map_or(0, |ledger| ledger.status().height)
}

/// Waits, at most so long, until `done` or until a checker objects.
async fn unless_objected(
    world: &SimWorld,
    watch: &Watch,
    longest: Duration,
    done: impl Fn() -> bool,
) {
    let mut waited = Duration::ZERO;
    while waited < longest && watch.objections().is_empty() && !done() {
        world.sleep(LOOK).await;
        waited += LOOK;
    }
}
