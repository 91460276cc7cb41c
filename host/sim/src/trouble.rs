//! Troubles that befall a fabric, and how each begins and ends. Judges nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use consensus::simulated::{Dice, SimWorld};
use ledger::{Operation, ValidatorChange, ValidatorOperation};

use crate::client::Client;
use crate::fleet::{Fleet, node_key};
use crate::scenario::{Scenario, draw_trouble};

/// Longest trouble, milliseconds; short ones are more likely.
const FOR_MS_MAX: u64 = 40_000;
/// Shortest time without power, milliseconds.
const CRASH_MS_MIN: u64 = 50;
/// Pause between two losses of power of a node that flaps.
const FLAP: Duration = Duration::from_millis(2500);

/// One trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// These nodes and the others do not reach each other.
    Partition {
        /// One side.
        side: BTreeSet<usize>,
    },
    /// What one node sends to another is lost; the way back is open.
    OneWay {
        /// Who sends.
        from: usize,
        /// Who does not get it.
        to: usize,
    },
    /// A node loses its power and gets it back.
    Crash {
        /// Which.
        node: usize,
    },
    /// All nodes lose their power at once.
    Blackout,
    /// Every write of a node fails; its ledger stops, and starts on a good disk.
    DiskFails {
        /// Which.
        node: usize,
    },
    /// A node's disk says that it flushed and did not, until the node loses its power: no ledger
    /// survives it, so no seed draws it. It shows that the checkers see.
    DiskLies {
        /// Which.
        node: usize,
    },
    /// A node's clock is wrong.
    ClockOff {
        /// Which.
        node: usize,
        /// Ahead of the others, or behind.
        ahead: bool,
        /// By so many milliseconds.
        by_ms: u64,
    },
    /// All nodes vote that one gets a vote, or loses it; those without a vote are refused.
    Change {
        /// Which.
        node: usize,
        /// Whether it gets one.
        add: bool,
    },
    /// A node loses its power again and again.
    Flapping {
        /// Which.
        node: usize,
    },
}

/// A trouble and its time.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Milliseconds after the beginning.
    pub at_ms: u64,
    /// How long.
    pub for_ms: u64,
    /// What.
    pub trouble: Trouble,
}

impl Plan {
    /// Draws one that is over before the scenario's end.
    pub(crate) fn draw(dice: &mut Dice, scenario: &Scenario) -> Self {
        let end_ms = scenario.seconds * 1000;
        let at_ms = dice.below(end_ms);
        let longest = FOR_MS_MAX >> dice.below(8);
        let for_ms = (CRASH_MS_MIN + dice.below(longest)).min(end_ms - at_ms);
        Self {
            at_ms,
            for_ms,
            trouble: draw_trouble(dice, scenario),
        }
    }

    /// Carries it out, from its beginning to its end.
    pub(crate) async fn befall(self, world: &SimWorld, fleet: &Arc<Fleet>) {
        world.sleep(Duration::from_millis(self.at_ms)).await;
        let while_it_lasts = Duration::from_millis(self.for_ms);
        match self.trouble {
            Trouble::Partition { side } => {
                let cuts = fleet.net.part(&side);
                world.sleep(while_it_lasts).await;
                fleet.net.mend(&cuts);
            }
            Trouble::OneWay { from, to } => {
                let cuts = fleet.net.cut(from, to);
                world.sleep(while_it_lasts).await;
                fleet.net.mend(&cuts);
            }
            Trouble::Crash { node } => fleet.power_cycle(node, while_it_lasts).await,
            Trouble::Blackout => {
                for node in 0..fleet.scenario.nodes() {
                    fleet.pull_plug(node);
                }
                world.sleep(while_it_lasts).await;
                for node in 0..fleet.scenario.nodes() {
                    fleet.boot(node);
                }
            }
            Trouble::DiskFails { node } => {
                fleet.fail_disk(node, true);
                world.sleep(while_it_lasts).await;
                fleet
                    .power_cycle(node, Duration::from_millis(CRASH_MS_MIN))
                    .await;
            }
            Trouble::DiskLies { node } => {
                fleet.let_disk_lie(node, true);
                world.sleep(while_it_lasts).await;
                fleet.pull_plug(node);
                fleet.let_disk_lie(node, false);
                fleet.boot(node);
            }
            Trouble::ClockOff { node, ahead, by_ms } => {
                let by_ms = i64::try_from(by_ms).unwrap_or(0);
                fleet.set_clock(node, if ahead { by_ms } else { -by_ms });
                world.sleep(while_it_lasts).await;
                fleet.set_clock(node, 0);
            }
            Trouble::Change { node, add } => vote_all(world, fleet, node, add),
            Trouble::Flapping { node } => {
                let times = self.for_ms / u64::try_from(FLAP.as_millis()).unwrap_or(1);
                for _ in 0..=times {
                    fleet
                        .power_cycle(node, Duration::from_millis(CRASH_MS_MIN))
                        .await;
                    world.sleep(FLAP).await;
                }
            }
        }
    }
}

/// Lets every honest node vote, each at its own pace.
fn vote_all(world: &SimWorld, fleet: &Arc<Fleet>, node: usize, add: bool) {
    let node = node_key(node).public_key();
    let change = if add {
        ValidatorChange::Add { node }
    } else {
        ValidatorChange::Remove { node }
    };
    for voter in fleet.honest() {
        let fleet = fleet.clone();
        world.spawn(move |world| async move {
            let mut officer = Client::officer(voter, &fleet.genesis);
            let vote = Operation::Validator(ValidatorOperation::Vote(change));
            officer.settle(&world, &fleet, voter, &vote).await;
        });
    }
}
