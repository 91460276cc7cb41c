//! Upgrades: who decides about the rules, at which height they change, and that nothing of them
//! holds before. Rules 2 are those of the tests: a workload's name has two letters or more.

use hypermesh_ledger::{
    BlockContext, ExecuteError, KnownRules, Operation, RULES_LEAD_BLOCKS_MIN, Refusal, RulesChange,
    RulesOperation, RulesRecord, StateKey, TransactionOutcome, ValidatorOperation, execute,
};
use proptest::prelude::*;

use crate::membership::{APPLIED, refused, secret};
use crate::validators::founded;
use crate::{Fabric, block_digest, public, workload};

fn change(version: u32, height: u64) -> RulesChange {
    RulesChange { version, height }
}

fn to(version: u32, height: u64) -> RulesOperation {
    RulesOperation::Vote(change(version, height))
}

impl Fabric {
    fn rules(&self) -> RulesRecord {
        self.view().rules().unwrap()
    }

    fn votes(&mut self, seed: u8, operation: RulesOperation) -> TransactionOutcome {
        self.run_as(&secret(seed), Operation::Rules(operation))
    }

    /// Deploys a workload that the rules of the tests refuse, and removes it again.
    fn takes_short_names(&mut self) -> bool {
        let deployed = self.run(Operation::Deploy {
            spec: workload("x", 1, &[]),
            replaces: None,
        });
        let workload = crate::name("x");
        deployed == APPLIED && self.run(Operation::Remove { workload }) == APPLIED
    }

    /// The lowest height that the next block allows.
    fn least(&self) -> u64 {
        self.height + 1 + RULES_LEAD_BLOCKS_MIN
    }
}

/// Four validators on a program that knows the rules of the tests.
fn upgradable() -> Fabric {
    Fabric {
        known: KnownRules::UNRELEASED,
        ..founded(4)
    }
}

#[test]
fn rules_change_at_the_decided_height_and_not_before() {
    let mut fabric = upgradable();
    let height = fabric.least() + 10;
    for seed in 1..=2 {
        assert_eq!(fabric.votes(seed, to(2, height)), APPLIED);
        // Saying it twice is one vote.
        assert_eq!(fabric.votes(seed, to(2, height)), APPLIED);
        assert_eq!(fabric.rules().next, None);
    }
    assert_eq!(fabric.votes(3, to(2, height)), APPLIED);
    assert_eq!(fabric.rules().next, Some(change(2, height)));
    while fabric.height + 2 < height {
        assert!(fabric.takes_short_names(), "at height {}", fabric.height);
    }
    while fabric.height + 1 < height {
        fabric.block(&[]);
        assert_eq!((fabric.rules().version, fabric.rules().since), (1, 0));
    }
    assert!(!fabric.takes_short_names(), "the first block under rules 2");
    let in_force = RulesRecord {
        version: 2,
        since: height,
        ..RulesRecord::default()
    };
    assert_eq!((fabric.height, fabric.rules()), (height, in_force));
    // The next ones are 3.
    let expected = refused(Refusal::RulesVersion {
        version: 2,
        expected: 3,
    });
    assert_eq!(fabric.votes(1, to(2, height + 100)), expected);
    assert_eq!(fabric.votes(1, to(3, height + 100)), APPLIED);
}

#[test]
fn a_program_that_does_not_know_the_rules_executes_nothing_under_them() {
    let mut fabric = Fabric {
        known: KnownRules::RELEASED,
        ..founded(1)
    };
    let height = fabric.least();
    assert_eq!(fabric.votes(1, to(2, height)), APPLIED);
    while fabric.height + 1 < height {
        fabric.block(&[]);
    }
    for at in [height, height + 5] {
        let block = BlockContext {
            height: at,
            time_ms: 9_000,
            parent: block_digest(at - 1),
        };
        let Err(ExecuteError::UnknownRules(unknown)) =
            execute(&fabric.genesis, fabric.known, &fabric.state, &block, &[])
        else {
            panic!("rules 2 are not known");
        };
        assert_eq!(
            unknown.to_string(),
            format!(
                "this fabric runs rules 2 since block {height}; this nexus knows rules 1: install \
                 a newer nexus and start it again"
            )
        );
    }
    // A newer one goes on from the same state; the older one then reads it and still refuses.
    fabric.known = KnownRules::UNRELEASED;
    fabric.block(&[]);
    let block = BlockContext {
        height: fabric.height + 1,
        time_ms: 9_000,
        parent: block_digest(fabric.height),
    };
    let old = KnownRules::RELEASED;
    let error = execute(&fabric.genesis, old, &fabric.state, &block, &[]).unwrap_err();
    assert!(matches!(error, ExecuteError::UnknownRules(unknown) if unknown.since == height));
}

#[test]
fn only_validators_decide_and_only_far_enough_ahead() {
    let mut fabric = upgradable();
    let height = fabric.least() + 100;
    let stranger = Refusal::NotAValidator(public(&secret(5)));
    assert_eq!(fabric.votes(5, to(2, height)), refused(stranger));
    for version in [0, 1, 3] {
        let expected = 2;
        let wrong = refused(Refusal::RulesVersion { version, expected });
        assert_eq!(fabric.votes(1, to(version, height)), wrong);
    }
    let least = fabric.least();
    let early = refused(Refusal::RulesHeight {
        height: least - 1,
        least,
    });
    assert_eq!(fabric.votes(1, to(2, least - 1)), early);
    let least = fabric.least();
    assert_eq!(fabric.votes(1, to(2, least)), APPLIED);
    // The vote that would decide comes too late for that height.
    let missed = refused(Refusal::RulesHeight {
        height: least,
        least: fabric.least(),
    });
    assert_eq!(fabric.votes(2, to(2, least)), missed);
    // Votes for different heights are votes for different things.
    for seed in 1..=4 {
        assert_eq!(fabric.votes(seed, to(2, height + u64::from(seed))), APPLIED);
    }
    assert_eq!((fabric.rules().next, fabric.rules().votes.len()), (None, 4));
}

#[test]
fn a_decision_can_be_voted_away_or_replaced_until_it_is_in_force() {
    let mut fabric = upgradable();
    let height = fabric.least() + 40;
    let nothing = refused(Refusal::NoRulesDecided);
    assert_eq!(fabric.votes(1, RulesOperation::Cancel), nothing);
    assert_eq!(fabric.votes(1, to(2, height)), APPLIED);
    assert_eq!(fabric.votes(1, RulesOperation::Cancel), APPLIED);
    assert_eq!(fabric.rules(), RulesRecord::default());
    for seed in 1..=3 {
        assert_eq!(fabric.votes(seed, to(2, height)), APPLIED);
    }
    let decided = refused(Refusal::RulesDecided { version: 2, height });
    assert_eq!(fabric.votes(4, to(2, height)), decided);
    for seed in 2..=4 {
        assert_eq!(fabric.rules().next, Some(change(2, height)));
        assert_eq!(fabric.votes(seed, to(2, height + 1)), APPLIED);
    }
    for seed in 1..=3 {
        assert_eq!(fabric.rules().next, Some(change(2, height + 1)));
        assert_eq!(fabric.votes(seed, RulesOperation::Cancel), APPLIED);
    }
    assert_eq!(fabric.rules(), RulesRecord::default());
    while fabric.height < height + 3 {
        fabric.block(&[]);
    }
    assert!(fabric.takes_short_names());
}

#[test]
fn votes_of_those_who_left_office_count_no_more() {
    let mut fabric = upgradable();
    let height = fabric.least() + 60;
    for seed in 1..=2 {
        assert_eq!(fabric.votes(seed, to(2, height)), APPLIED);
    }
    let resign = Operation::Validator(ValidatorOperation::Resign);
    for seed in 1..=2 {
        assert_eq!(fabric.run_as(&secret(seed), resign.clone()), APPLIED);
    }
    loop {
        fabric.block(&[]);
        if fabric.genesis.begins_epoch(fabric.height) {
            break;
        }
    }
    assert_eq!(fabric.votes(3, to(2, height)), APPLIED);
    assert_eq!(fabric.rules().next, None);
    assert_eq!(fabric.votes(4, to(2, height)), APPLIED);
    assert_eq!(fabric.rules().next, Some(change(2, height)));
}

#[test]
fn a_fabric_that_never_voted_has_no_entry_about_rules() {
    let fabric = founded(1);
    assert!(!fabric.state.contains_key(&StateKey::rules()));
    assert_eq!(fabric.rules(), RulesRecord::default());
}

/// The bytes of a vote and of the entry are part of the formats.
#[test]
fn bytes_are_pinned() {
    let mut fabric = founded(4);
    assert_eq!(fabric.votes(1, to(2, 300)), APPLIED);
    let mut expected = vec![1, 1, 0, 0, 1];
    expected.extend(public(&secret(1)).as_bytes());
    expected.extend([0, 2, 0xac, 0x02]);
    assert_eq!(fabric.state[&StateKey::rules()], expected);
    let transaction = fabric.sign(&secret(2), 0, Operation::Rules(RulesOperation::Cancel));
    let body = transaction.len() - 64;
    assert_eq!(transaction[body - 2..body], [14, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is voted: a program that knows more than is in force changes nothing until then,
    /// the same votes in blocks of any shape lead to the same rules at the same heights, and
    /// versions only rise, by one, at the height that was decided.
    #[test]
    fn the_same_votes_activate_at_the_same_height(
        steps in prop::collection::vec((1..=4_u8, 0..6_u8, 0..4_u64), 1..60),
    ) {
        let (mut old, mut new) = (founded(4), upgradable());
        let mut decided = None;
        for (seed, what, ahead) in steps {
            // Few heights, so that votes meet.
            let height = (old.height / 24 + 3) * 24 + ahead / 2;
            let operation = if what == 0 { RulesOperation::Cancel } else { to(2, height) };
            let (height_now, parent) = (old.height + 1, block_digest(old.height));
            let block = BlockContext { height: height_now, time_ms: 0, parent };
            let before = new.rules();
            let (version, since) = before.at(block.height);
            if let Err(unknown) = KnownRules::RELEASED.check(&before, block.height) {
                prop_assert_eq!(decided, Some(unknown.since));
                let refused = execute(&old.genesis, old.known, &old.state, &block, &[]);
                prop_assert_eq!(refused, Err(ExecuteError::UnknownRules(unknown)));
                return Ok(());
            }
            prop_assert_eq!((version, since), (1, 0));
            prop_assert_eq!(old.votes(seed, operation), new.votes(seed, operation));
            prop_assert!(old.state == new.state, "rules in force differ at {}", old.height);
            decided = new.rules().next.map(|next| next.height);
            prop_assert!(decided.is_none_or(|height| height > new.height));
            prop_assert!(new.rules().votes.len() <= 4);
        }
    }
}
