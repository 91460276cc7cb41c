//! One run from its beginning to its judgement. Puts the parts together and keeps the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use consensus::simulated::{self, SimWorld, Task};
use ledger::{Genesis, GenesisError};

use crate::checks::Watch;
use crate::client::{Client, operator};
use crate::estate;
use crate::event::Event;
use crate::fleet::{Fleet, node_key};
use crate::holder::Keeping;
use crate::network::Net;
use crate::panics;
use crate::report::{Failure, Summary};
use crate::scenario::Scenario;
use crate::{tenants, witness};

/// Pause between two looks at everything.
const LOOK: Duration = Duration::from_millis(250);
/// How long the last troubles take to end by themselves.
const AFTERMATH: Duration = Duration::from_secs(4);
/// How long a fabric may take to answer after everything was mended: a few rounds of the slowest
/// kind, and pauses between sendings.
const MENDED_SECONDS: u64 = 120;
/// Pause between two looks of a holder at its own clock. It adds to what clocks may be wrong by.
const TICK: Duration = Duration::from_millis(100);
/// How long it may take, after everything was mended, until nothing is said of anybody any more.
const FORGIVEN: Duration = Duration::from_secs(120);
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
            let watch = Arc::new(Watch::new(&honest, scenario.voted_out()));
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
    let shown = fleet.honest().next().and_then(|node| {
        fleet.view(node, |view| {
            let assets = view.assets().unwrap_or_default().len();
            let fabric = view.fabric().ok().flatten();
            (assets, fabric.map(|it| it.validators).unwrap_or_default())
        })
    });
    let (assets, in_office) = shown.unwrap_or_default();
    let in_office = in_office
        .iter()
        .filter_map(|name| fleet.net.number_of(name));
    let mut in_office: Vec<_> = in_office.collect();
    in_office.sort_unstable();
    Summary {
        seed: fleet.scenario.seed,
        simulated_ms,
        height: status.as_ref().map_or(0, |status| status.height),
        crashes: fleet.pulled(),
        taken_over: fleet.taken_over(),
        assets,
        handovers: fleet.handovers(),
        reports: fleet.reports.load(Ordering::Relaxed),
        in_office,
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
    let mut busy = tenants(world, &fleet);
    busy.extend(witnesses(world, &fleet));
    for index in 0..scenario.clients {
        let client = Client::new(index, &fleet.genesis, scenario.seed);
        let (fleet, gap_ms) = (fleet.clone(), scenario.gap_ms);
        busy.push(
            world.spawn(move |world| async move { client.work(&world, &fleet, gap_ms).await }),
        );
    }
    for plan in scenario.troubles.clone() {
        let fleet = fleet.clone();
        world.spawn(move |world| async move { plan.befall(&world, &fleet).await });
    }
    let mended = Duration::from_secs(scenario.seconds);
    unless_objected(world, watch, mended + AFTERMATH, || false).await;
    for task in busy {
        task.end();
    }
    fleet.mend().await;
    last_questions(world, &fleet).await;
    tenants::return_all(world, &fleet).await;
    if scenario.witnesses {
        unless_objected(world, watch, FORGIVEN, || nobody_is_reported(&fleet)).await;
    }
    watch.see(&Event::Over);
    fleet
}

/// What keeps assets and leases busy.
fn tenants(world: &SimWorld, fleet: &Arc<Fleet>) -> Vec<Task> {
    let mut busy = Vec::new();
    for node in estate::hosts(&fleet.scenario) {
        let fleet = fleet.clone();
        busy.push(
            world.spawn(move |world| async move { tenants::host(&world, &fleet, node).await }),
        );
    }
    if !fleet.scenario.assets || fleet.scenario.keeping == Keeping::Nothing {
        return busy;
    }
    for node in fleet.honest() {
        let fleet = fleet.clone();
        busy.push(
            world.spawn(move |world| async move { tenants::bidder(&world, &fleet, node).await }),
        );
    }
    let clocks = fleet.clone();
    world.spawn(move |world| async move {
        loop {
            for node in clocks.honest() {
                clocks.tick_holder(node);
            }
            world.sleep(TICK).await;
        }
    });
    busy
}

/// What says who is gone, and who lies about it.
fn witnesses(world: &SimWorld, fleet: &Arc<Fleet>) -> Vec<Task> {
    if !fleet.scenario.witnesses {
        return Vec::new();
    }
    let eyes = fleet.clone();
    world.spawn(move |world| async move { witness::gossip(&world, &eyes).await });
    for node in fleet.honest() {
        let fleet = fleet.clone();
        world.spawn(move |world| async move { witness::witness(&world, &fleet, node).await });
    }
    let liars = fleet.scenario.rogues.iter().map(|(node, _)| *node);
    liars
        .map(|node| {
            let fleet = fleet.clone();
            world.spawn(move |world| async move { witness::slander(&world, &fleet, node).await })
        })
        .collect()
}

/// Whether no node that has started shows a report about an honest node.
fn nobody_is_reported(fleet: &Fleet) -> bool {
    let honest: Vec<_> = fleet.honest().collect();
    honest.iter().all(|node| {
        let absences = fleet.view(*node, |view| view.absences().unwrap_or_default());
        let absences = absences.unwrap_or_default();
        let mut reported = absences.keys().filter_map(|name| fleet.net.number_of(name));
        !reported.any(|node| honest.contains(&node))
    })
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
