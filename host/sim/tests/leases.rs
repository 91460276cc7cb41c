//! Assets and leases in simulated fabrics: one holder at a time, whatever the network and the clocks
//! do, and checkers that see when it is not so.

use std::collections::BTreeSet;

use hypermesh_sim::{Failure, Keeping, Plan, Scenario, Summary, Trouble, Vice, simulate};

/// A small fabric with assets, in which nodes are cut off one after the other, for longer than they
/// may hold anything.
fn cut_off(seed: u64, keeping: Keeping) -> Scenario {
    let troubles = (0..4).map(|node| Plan {
        at_ms: 12_000 + 16_000 * node as u64,
        for_ms: 14_000,
        trouble: Trouble::Partition {
            side: BTreeSet::from([node]),
        },
    });
    Scenario {
        troubles: troubles.collect(),
        assets: true,
        keeping,
        clients: 1,
        gap_ms: 3_000,
        seconds: 76,
        ..Scenario::calm(seed, 4)
    }
}

fn objects(end: Result<Summary, Failure>, rule: &str) {
    let failure = end.expect_err("nobody objected");
    let seen = failure.objections.iter().any(|what| what.starts_with(rule));
    assert!(seen, "{failure}");
}

#[test]
fn a_holder_that_is_cut_off_stops_before_another_starts() {
    let mut handovers = 0;
    for seed in 1..=2 {
        match simulate(&cut_off(seed, Keeping::ByOwnClock)) {
            Ok(summary) => {
                assert!(summary.assets > 0, "nobody registered anything");
                handovers += summary.handovers;
            }
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(handovers > 3, "only {handovers} handovers show nothing");
}

#[test]
fn a_holder_without_a_clock_of_its_own_is_found_out() {
    objects(simulate(&cut_off(1, Keeping::ByBlocksOnly)), "one holder: ");
}

/// Where most clocks run ahead by more than holders count on, ledger time does, too.
#[test]
fn clocks_that_are_wrong_beyond_the_bound_are_found_out() {
    let mut scenario = cut_off(1, Keeping::ByOwnClock);
    for node in 0..4 {
        let ahead = |other| Plan {
            at_ms: 12_000 + 16_000 * node as u64,
            for_ms: 14_000,
            trouble: Trouble::ClockOff {
                node: other,
                ahead: true,
                by_ms: 20_000 * (node as u64 + 1),
            },
        };
        let others = (0..4).filter(|other| *other != node);
        scenario.troubles.extend(others.map(ahead));
    }
    objects(simulate(&scenario), "one holder: ");
}

#[test]
fn leases_survive_a_liar_and_losses_of_power() {
    let crash = |node, at_ms| Plan {
        at_ms,
        for_ms: 700,
        trouble: Trouble::Crash { node },
    };
    let scenario = Scenario {
        rogues: vec![(3, Vice::Delay)],
        troubles: vec![
            crash(0, 9_000),
            crash(1, 17_000),
            Plan {
                trouble: Trouble::Blackout,
                ..crash(0, 25_000)
            },
        ],
        followers: 1,
        assets: true,
        keeping: Keeping::ByOwnClock,
        gap_ms: 1_500,
        seconds: 40,
        ..Scenario::calm(3, 4)
    };
    if let Err(failure) = simulate(&scenario) {
        panic!("{failure}");
    }
}
