//! Validators that say who is gone, and one that lies about it.

use hypermesh_sim::{Plan, Scenario, Trouble, Vice, simulate};

/// A fabric of `validators` in which the last one is gone for a while and the first one lies.
fn gone(validators: usize, for_ms: u64) -> Scenario {
    Scenario {
        rogues: vec![(0, Vice::Delay)],
        troubles: vec![Plan {
            at_ms: 5_000,
            for_ms,
            trouble: Trouble::Crash {
                node: validators - 1,
            },
        }],
        witnesses: true,
        clients: 1,
        gap_ms: 5_000,
        seconds: 10 + for_ms / 1_000,
        ..Scenario::calm(1, validators)
    }
}

#[test]
fn reports_come_and_go_and_a_liar_alone_is_not_believed() {
    match simulate(&gone(4, 20_000)) {
        Ok(summary) => {
            assert!(
                summary.reports >= 2,
                "two of three saw that one was gone: {summary}"
            );
            assert_eq!(summary.in_office, [0, 1, 2, 3]);
        }
        Err(failure) => panic!("{failure}"),
    }
}

/// Ten minutes of ledger time, in a fabric that bears the loss of a vote.
#[test]
fn a_validator_that_is_gone_for_long_loses_its_vote_and_a_slandered_one_does_not() {
    let scenario = Scenario {
        gap_ms: 120_000,
        heartbeat_seconds: 60,
        epoch_blocks: 4,
        ..gone(5, 720_000)
    };
    match simulate(&scenario) {
        Ok(summary) => assert_eq!(summary.in_office, [0, 1, 2, 3], "{summary}"),
        Err(failure) => panic!("{failure}"),
    }
}
