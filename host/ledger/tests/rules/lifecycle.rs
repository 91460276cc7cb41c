//! Pausing, resuming, restarting: what is desired after each operation, and what is refused.

use hypermesh_ledger::{
    DesiredState, Operation, Placement, Refusal, StateKey, Transaction, TransactionOutcome,
};
use types::{Digest, PublicKey};

use crate::{Fabric, name, workload as workload_of};

#[test]
fn a_pause_keeps_placements_and_what_makes_no_sense_is_refused() {
    let mut fabric = Fabric::new();
    let workload = || name("one");
    let pause = || Operation::Pause {
        workload: workload(),
    };
    let resume = || Operation::Resume {
        workload: workload(),
    };
    let restart = || Operation::Restart {
        workload: workload(),
    };
    let start = || Operation::Start {
        workload: workload(),
    };
    let stop = || Operation::Stop {
        workload: workload(),
    };
    let spec = workload_of("one", 2, &["/a"]);
    let refused = |refusal| TransactionOutcome::Refused(refusal);
    let unknown = refused(Refusal::UnknownDeployment(workload()));
    assert_eq!(fabric.run(pause()), unknown);
    fabric.run(Operation::Deploy {
        spec,
        replaces: None,
    });
    let placed = fabric.view().placements().unwrap();
    assert_eq!(
        fabric.run(resume()),
        refused(Refusal::NotPaused(workload()))
    );
    assert_eq!(fabric.run(pause()), TransactionOutcome::Applied);
    assert_eq!(fabric.view().placements().unwrap(), placed);
    assert_eq!(fabric.run(start()), refused(Refusal::Paused(workload())));
    assert_eq!(fabric.run(resume()), TransactionOutcome::Applied);
    assert_eq!(fabric.view().placements().unwrap(), placed);
    assert_eq!(fabric.run(restart()), TransactionOutcome::Applied);
    let renewed = fabric.view().placements().unwrap();
    let nodes =
        |placed: &[Placement]| -> Vec<_> { placed.iter().map(|placed| placed.node).collect() };
    assert_eq!(
        nodes(&renewed),
        nodes(&placed),
        "replicas stay where they are"
    );
    assert!(renewed.iter().all(|new| new.generation == fabric.height));
    fabric.run(pause());
    assert_eq!(fabric.run(stop()), TransactionOutcome::Applied);
    for operation in [pause(), resume(), restart()] {
        let outcome = fabric.run(operation);
        assert_eq!(outcome, refused(Refusal::Stopped(workload())));
    }
    assert_eq!(fabric.run(start()), TransactionOutcome::Applied);
    let record = fabric.view().deployment(&workload()).unwrap().unwrap();
    assert_eq!(record.desired, DesiredState::Running);
    fabric.check_invariants();
}

#[test]
fn operations_keep_their_numbers() {
    let workload = || name("a");
    let operations = [
        (
            Operation::Stop {
                workload: workload(),
            },
            2,
        ),
        (
            Operation::Start {
                workload: workload(),
            },
            3,
        ),
        (
            Operation::Remove {
                workload: workload(),
            },
            4,
        ),
        (
            Operation::Pause {
                workload: workload(),
            },
            5,
        ),
        (
            Operation::Resume {
                workload: workload(),
            },
            6,
        ),
        (
            Operation::Restart {
                workload: workload(),
            },
            7,
        ),
    ];
    for (operation, number) in operations {
        let transaction = Transaction {
            fabric: Digest::of(b"fabric"),
            principal: PublicKey::from_bytes([1; 32]),
            nonce: 0,
            expires_at: 0,
            operation: operation.clone(),
        };
        // The operation is last: its number, the length of the name, the name.
        let bytes = transaction.signing_bytes();
        assert_eq!(bytes[bytes.len() - 3..], [number, 1, b'a'], "{operation:?}");
    }
}

#[test]
fn desired_states_keep_their_numbers() {
    let workload = || name("a");
    let mut fabric = Fabric::new();
    let key = StateKey::deployment(&workload());
    fabric.run(Operation::Deploy {
        spec: workload_of("a", 0, &[]),
        replaces: None,
    });
    let mut desired = |operation| {
        fabric.run(operation);
        *fabric.state[&key].last().unwrap()
    };
    assert_eq!(
        desired(Operation::Start {
            workload: workload()
        }),
        0
    );
    assert_eq!(
        desired(Operation::Pause {
            workload: workload()
        }),
        2
    );
    assert_eq!(
        desired(Operation::Stop {
            workload: workload()
        }),
        1
    );
}

/// Model of what is desired: what `operation` makes of `before`, or that it is refused.
pub(crate) fn check_desired(
    fabric: &Fabric,
    text: &str,
    operation: &Operation,
    before: Option<DesiredState>,
    outcome: &TransactionOutcome,
) {
    use DesiredState::{Paused, Running, Stopped};
    let after = fabric.view().deployment(&name(text)).unwrap();
    let after = after.map(|record| record.desired);
    let wanted = match (operation, before) {
        // Routes may collide, which is for the other checks.
        (Operation::Deploy { .. }, _) if *outcome != TransactionOutcome::Applied => {
            assert_eq!(after, before);
            return;
        }
        (Operation::Deploy { .. }, _) => Ok(Some(Running)),
        (_, None) => Err(()),
        (Operation::Scale { .. }, _) => Ok(before),
        (Operation::Stop { .. }, _) => Ok(Some(Stopped)),
        (Operation::Start { .. }, Some(Running | Stopped)) => Ok(Some(Running)),
        (Operation::Pause { .. }, Some(Running | Paused)) => Ok(Some(Paused)),
        (Operation::Resume { .. }, Some(Paused)) => Ok(Some(Running)),
        (Operation::Restart { .. }, Some(Running | Paused)) => Ok(Some(Running)),
        (Operation::Remove { .. }, _) => Ok(None),
        _ => Err(()),
    };
    match wanted {
        Ok(wanted) => {
            assert_eq!(*outcome, TransactionOutcome::Applied, "{operation:?}");
            assert_eq!(after, wanted, "{operation:?} of {before:?}");
        }
        Err(()) => {
            let refused = matches!(outcome, TransactionOutcome::Refused(_));
            assert!(refused, "{operation:?} of {before:?}: {outcome:?}");
            assert_eq!(after, before);
        }
    }
}
