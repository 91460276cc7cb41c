//! A bounded set of simulated fabrics for every test run. `cargo xtask simulate` runs as many as
//! one likes.

use hypermesh_sim::{Keeping, Plan, Scenario, Trouble, Vice, Weather, kept_seeds, simulate};

/// Runs these seeds, each to its end, with fewer transactions than they would have: every block
/// costs time.
fn run(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let drawn = Scenario::of(seed, None);
        let scenario = Scenario {
            gap_ms: drawn.gap_ms.max(8_000),
            ..drawn
        };
        if let Err(failure) = simulate(&scenario) {
            panic!("{failure}");
        }
    }
}

#[test]
fn seeds_that_once_failed_pass() {
    for (seed, validators) in kept_seeds() {
        if let Err(failure) = simulate(&Scenario::of(seed, validators)) {
            panic!("{failure}");
        }
    }
}

#[test]
fn fabrics_survive_crashes_and_cuts() {
    run([4, 5, 14]);
}

#[test]
fn fabrics_survive_bad_weather() {
    run([3, 10, 27]);
}

/// Each vice once, in a small fabric under load.
#[test]
fn fabrics_survive_byzantine_nodes() {
    for (seed, vice) in (1..).zip(Vice::ALL) {
        let scenario = Scenario {
            rogues: vec![(usize::try_from(seed % 4).unwrap(), vice)],
            troubles: vec![crash(3, 5_000)],
            gap_ms: 2_000,
            seconds: 12,
            ..Scenario::calm(seed, 4)
        };
        if let Err(failure) = simulate(&scenario) {
            panic!("{failure}");
        }
    }
}

/// Nodes that were away for long take over the state of the others, one of which lies, and lose
/// their power once more meanwhile.
#[test]
fn fabrics_survive_states_from_liars() {
    let away = |node, at_ms, for_ms| Plan {
        at_ms,
        for_ms,
        trouble: Trouble::Crash { node },
    };
    let mut taken_over = 0;
    for seed in 1..=3 {
        let scenario = Scenario {
            rogues: vec![(0, Vice::LieInSync)],
            followers: 1,
            troubles: vec![
                away(3, 1_000, 9_000),
                away(4, 12_000, 10_000),
                away(4, 22_000 + 250 * seed, 300),
            ],
            // Enough that somebody always asks a node that is there.
            clients: 8,
            // So slow that nobody executes what it missed before it asks for the state.
            weather: Weather {
                delay_ms: 150,
                ..Weather::FAIR
            },
            epoch_blocks: 4,
            sync_beyond_blocks: 4,
            gap_ms: 500,
            seconds: 26,
            ..Scenario::calm(seed, 4)
        };
        match simulate(&scenario) {
            Ok(summary) => taken_over += summary.taken_over,
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(taken_over > 0, "nobody took over a state");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let audit = || {
        let scenario = Scenario {
            weather: Weather {
                lost_per_mille: 30,
                doubled_per_mille: 30,
                late_per_mille: 10,
                ..Weather::FAIR
            },
            troubles: vec![crash(1, 2_000)],
            rogues: vec![(3, Vice::Delay)],
            assets: true,
            keeping: Keeping::ByOwnClock,
            witnesses: true,
            gap_ms: 1_000,
            seconds: 6,
            ..Scenario::calm(11, 4)
        };
        let summary = simulate(&scenario).unwrap_or_else(|failure| panic!("{failure}"));
        (summary.audit, summary.height, summary.simulated_ms)
    };
    assert_eq!(audit(), audit());
}

/// The simulator is worth nothing if it does not see what it must.
#[test]
fn a_disk_that_lies_about_flushing_is_found_out() {
    let scenario = Scenario {
        troubles: vec![Plan {
            at_ms: 3_000,
            for_ms: 8_000,
            trouble: Trouble::DiskLies { node: 0 },
        }],
        ..Scenario::calm(5, 1)
    };
    let failure = simulate(&scenario).expect_err("the node forgot what it had acknowledged");
    let seen = |rule: &str| failure.objections.iter().any(|what| what.contains(rule));
    assert!(
        seen("acknowledged means durable") || seen("runs while its disk is good"),
        "{failure}"
    );
}

/// Two of four that run twice are more than any agreement bears: each half makes its own blocks.
#[test]
fn a_fork_is_found_out() {
    let scenario = Scenario {
        rogues: vec![(0, Vice::Twins), (1, Vice::Twins)],
        troubles: vec![Plan {
            at_ms: 0,
            for_ms: 30_000,
            trouble: Trouble::Partition {
                side: [0, 1, 2].into(),
            },
        }],
        ..Scenario::calm(6, 4)
    };
    let failure = simulate(&scenario).expect_err("two honest nodes with different blocks");
    let fork = |what: &String| what.starts_with("agreement: ");
    assert!(failure.objections.iter().any(fork), "{failure}");
}

fn crash(node: usize, at_ms: u64) -> Plan {
    Plan {
        at_ms,
        for_ms: 700,
        trouble: Trouble::Crash { node },
    }
}
