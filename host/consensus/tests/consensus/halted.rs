//! Validators whose machines stand still for a while and go on where they were: nothing is final
//! without them, and everything soon after.

use std::time::Duration;

use hypermesh_consensus::simulated::{self, Machine};

use crate::support::Principal;
use crate::waits::Fabric;

/// Longer than rounds take, several times.
const HALT: Duration = Duration::from_secs(5);
/// Rounds end after a second at most, and one validator in four does not lead any.
const SOON_MS: u64 = 6_000;
/// No parent is open for so long that gets its votes.
const OPEN_MS: u64 = 400;

/// All voted for a block and nobody heard that the others would finalise it. All the work is in that
/// block, so every leader holds an empty child, and must propose it before its time is over.
#[test]
fn a_block_whose_last_votes_were_lost_is_final_with_its_child() {
    for seed in 0..4 {
        simulated::run(seed, |world| async move {
            let fabric = Fabric::new(world, 4);
            let machines = [1, 2, 3].map(|key| Machine::new(key, 7));
            let mut nodes = Vec::new();
            for (key, machine) in (1..).zip(&machines) {
                nodes.push(fabric.boot(key, machine, u64::MAX).await);
            }
            let operator = Principal::operator_in(&fabric.genesis, 0);
            let ledger = nodes[0].ledger.clone();
            let first = ledger.submit(operator.deploy("before")).await;
            let height = first.expect("final").height;
            for node in &mut nodes {
                node.reach(height).await;
            }
            fabric.lose_second_votes();
            let began_ms = fabric.world.now_ms();
            tokio::select! {
                biased;
                end = ledger.submit(operator.deploy("open")) => { end.expect("final"); }
                () = fabric.world.sleep(Duration::from_millis(12 * SOON_MS)) => {
                    panic!("seed {seed}: not final after {} ms", 12 * SOON_MS)
                }
            }
            let took_ms = fabric.world.now_ms() - began_ms;
            assert!(
                took_ms >= OPEN_MS,
                "seed {seed}: {took_ms} ms: the votes were not lost"
            );
            assert!(took_ms < SOON_MS, "seed {seed}: {took_ms} ms");
        });
    }
}

/// The third hears, in their order, what the two said in the meantime.
#[test]
fn what_waited_for_a_third_of_four_is_final_soon_after_it_goes_on() {
    for seed in 0..8 {
        simulated::run(seed, |world| async move {
            let fabric = Fabric::new(world, 4);
            let machines = [1, 2, 3, 4].map(|key| Machine::new(key, 7));
            let mut nodes = Vec::new();
            for (key, machine) in (1..).zip(&machines) {
                nodes.push(fabric.boot(key, machine, u64::MAX).await);
            }
            let operator = Principal::operator_in(&fabric.genesis, 0);
            for index in 0..4 {
                // Another leader at each halt.
                let deployed = operator.deploy(&format!("before-{index}"));
                let height = nodes[0]
                    .ledger
                    .submit(deployed)
                    .await
                    .expect("final")
                    .height;
                for node in &mut nodes {
                    node.reach(height).await;
                }
                fabric.halt(3);
                fabric.halt(4);
                let ledger = nodes[0].ledger.clone();
                let deployed = operator.deploy(&format!("during-{index}"));
                let mut waits = Box::pin(async move { ledger.submit(deployed).await });
                tokio::select! {
                    end = &mut waits => panic!("two of four decided something: {end:?}"),
                    () = fabric.world.sleep(HALT) => {}
                }
                fabric.go_on(3);
                let went_on_ms = fabric.world.now_ms();
                let height = waits.await.expect("final").height;
                let took_ms = fabric.world.now_ms() - went_on_ms;
                assert!(took_ms < SOON_MS, "seed {seed}, halt {index}: {took_ms} ms");
                fabric.go_on(4);
                for node in &mut nodes {
                    node.reach(height).await;
                }
            }
        });
    }
}
