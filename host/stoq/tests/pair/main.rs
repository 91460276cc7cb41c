//! Two protocol machines over a simulated network: whatever it loses, delays, reorders and cuts,
//! and whenever both dial or one is started again, both ends keep the same one connection.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod node;
mod wire;

use std::time::Duration;

use wire::{Chance, Conditions, Pair};

/// The seeds of one run; each failure names its own.
const SEEDS: u64 = 300;

fn run_all(name: &str, conditions: impl Fn(&mut Chance) -> Conditions) {
    for seed in 0..SEEDS {
        let mut chance = Chance::new(seed);
        let conditions = conditions(&mut chance);
        let mut pair = Pair::new(seed, conditions);
        pair.run();
        pair.check(&format!("{name}, seed {seed}"));
    }
}

#[test]
fn both_dial_at_once_on_a_perfect_network() {
    run_all("perfect", |chance| Conditions {
        dials: [1 + chance.below(3), 1 + chance.below(3)],
        ..Conditions::default()
    });
}

#[test]
fn loss_reordering_and_small_packets_change_nothing() {
    run_all("bad", |chance| Conditions {
        dials: [chance.below(4), 1 + chance.below(4)],
        loss_percent: chance.below(40),
        jitter: Duration::from_millis(chance.below(200)),
        packet_bytes: 16 + usize::try_from(chance.below(1_400)).unwrap(),
        ..Conditions::default()
    });
}

#[test]
fn a_node_that_is_started_again_gets_a_new_session() {
    run_all("restart", |chance| Conditions {
        dials: [1 + chance.below(2), 1 + chance.below(2)],
        loss_percent: chance.below(20),
        jitter: Duration::from_millis(chance.below(100)),
        restart_at: Some(Duration::from_millis(chance.below(3_000))),
        ..Conditions::default()
    });
}
