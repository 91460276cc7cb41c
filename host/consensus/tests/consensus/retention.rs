//! How much of the past a node keeps: old blocks go, however often it is started.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use futures::future::join;
use hypermesh_consensus::simulated::{self, Machine};
use hypermesh_consensus::{Config, Ledger, Retention};

use crate::support::{Node, Principal, config, genesis_with_epochs};
use crate::waits::{Fabric, Up};

/// Blocks kept.
const BLOCKS: u64 = 32;
/// Blocks per file.
const FILE_BLOCKS: u64 = 8;
/// Blocks made between two starts: fewer than are kept.
const RUN_BLOCKS: u64 = 20;
const RUNS: u64 = 6;
/// Blocks that a newcomer may be behind: fewer than its peers keep.
const BEHIND_MAX: u64 = BLOCKS / 2;

const SMALL: Retention = Retention {
    blocks: BLOCKS,
    file_blocks: NonZeroU64::new(FILE_BLOCKS).expect("some"),
};

fn small(dir: &Path) -> Config {
    Config {
        genesis: genesis_with_epochs(1, 1, 8),
        retention: SMALL,
        ..config(dir)
    }
}

/// Waits until this node has no block at `height` any more, which must happen.
async fn until_gone(ledger: &Ledger, height: u64) {
    let gone = async {
        while ledger.finalized(height).await.expect("an answer").is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
    gone.unwrap_or_else(|_| panic!("the block at height {height} stays"));
}

/// Names of the files of blocks and of certificates, and their bytes.
fn files(dir: &Path) -> (BTreeSet<String>, u64) {
    let (mut names, mut bytes) = (BTreeSet::new(), 0);
    for partition in [
        "blocks-value",
        "blocks-key",
        "certificates-value",
        "certificates-key",
    ] {
        let files = std::fs::read_dir(dir.join("engine").join(partition)).expect("a partition");
        for file in files {
            let file = file.expect("an entry");
            bytes += file.metadata().expect("its length").len();
            names.insert(format!("{partition}/{}", file.file_name().display()));
        }
    }
    (names, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_started_often_keeps_no_more_than_it_should() {
    let dir = tempfile::tempdir().expect("a directory");
    let operator = Principal::operator_in(&genesis_with_epochs(1, 1, 8), 0);
    let mut kept = Vec::new();
    for run in 0..RUNS {
        let mut node = Node::start(small(dir.path())).await.expect("a start");
        let mut height = node.state.height;
        let until = height + RUN_BLOCKS;
        while height < until {
            let deployed = operator.deploy(&format!("shop-{run}-{height}"));
            height = node.submit(deployed).await.height;
            node.follow_to(height).await;
        }
        // A file goes as a whole, and an epoch keeps the block that it builds on.
        if let Some(old) = height.checked_sub(BLOCKS + 2 * FILE_BLOCKS) {
            until_gone(&node.ledger, old).await;
        }
        let lowest = (height + 1).saturating_sub(BLOCKS).max(1);
        for height in lowest..=height {
            let block = node.ledger.finalized(height).await.expect("an answer");
            assert!(block.is_some(), "{height}");
        }
        node.stop().await;
        kept.push(files(dir.path()));
    }
    // Nothing of the first run is left, and no more is kept at the end than in the middle.
    let (first, last) = (&kept[0].0, kept.last().expect("some runs"));
    assert!(first.is_disjoint(&last.0), "{:?}", last.0);
    let most = 4 * (BLOCKS / FILE_BLOCKS + 3);
    assert!(last.0.len() as u64 <= most, "{:?}", last.0);
    assert!(last.1 < kept[2].1 * 2, "{kept:?}");
}

/// What the runs before left goes at the start already, without a new block.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let operator = Principal::operator_in(&genesis_with_epochs(1, 1, 8), 0);
    let keeps_all = Config {
        retention: Retention {
            blocks: 1_000,
            ..SMALL
        },
        ..small(dir.path())
    };
    let mut node = Node::start(keeps_all).await.expect("a start");
    let mut height = 0;
    while height < 3 * BLOCKS {
        let deployed = operator.deploy(&format!("shop-{height}"));
        height = node.submit(deployed).await.height;
        node.follow_to(height).await;
    }
    assert!(node.ledger.finalized(1).await.expect("an answer").is_some());
    node.stop().await;
    let before = files(dir.path());
    let node = Node::start(small(dir.path())).await.expect("a start");
    assert_eq!(node.state.height, height);
    until_gone(&node.ledger, height - BLOCKS - 2 * FILE_BLOCKS).await;
    node.stop().await;
    let after = files(dir.path());
    assert!(after.0.len() < before.0.len() && after.1 < before.1);
}

impl Fabric {
    /// Makes blocks until `through` is at `height` or above, which all of `others` follow, and says
    /// where it is.
    async fn grow(
        &self,
        operator: &Principal,
        through: &mut Up,
        others: &mut [Up],
        height: u64,
    ) -> u64 {
        while through.height < height {
            let deployed = operator.deploy(&format!("shop-{}", through.height));
            let reached = through.ledger.submit(deployed).await.expect("final").height;
            through.reach(reached).await;
            for other in &mut *others {
                other.reach(reached).await;
            }
        }
        through.height
    }

    /// Whether a node soon has no block at `height` any more.
    async fn forgets(&self, up: &Up, height: u64) -> bool {
        for _ in 0..1_000 {
            if !has(&up.ledger, height).await {
                return true;
            }
            self.world.sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

async fn has(ledger: &Ledger, height: u64) -> bool {
    let block = ledger.finalized(height).await.expect("an answer");
    block.is_some()
}

/// The power of each validator is cut again and again, more often than there are blocks to keep.
#[test]
fn four_validators_that_are_cut_off_keep_the_last_blocks_and_go_on() {
    simulated::run(3, |world| async move {
        let mut fabric = Fabric::new(world, 4);
        fabric.retention = SMALL;
        let machines = [1, 2, 3, 4].map(|key| Machine::new(key, 7));
        let operator = Principal::operator_in(&fabric.genesis, 0);
        let mut ups = Vec::new();
        for (key, machine) in (1..).zip(&machines) {
            ups.push(fabric.boot(key, machine, u64::MAX).await);
        }
        let mut height = 0;
        for (key, machine) in (1..).zip(&machines).cycle().take(8) {
            ups.remove(0).plug.pull();
            // Without it the others go on, and it catches up.
            let (one, others) = ups.split_first_mut().expect("three");
            height = fabric.grow(&operator, one, others, height + 5).await;
            let mut back = fabric.boot(key, machine, u64::MAX).await;
            back.reach(height).await;
            ups.push(back);
            let (one, others) = ups.split_first_mut().expect("four");
            height = fabric.grow(&operator, one, others, height + 5).await;
        }
        for up in &ups {
            let old = height - BLOCKS - 2 * FILE_BLOCKS;
            assert!(
                fabric.forgets(up, old).await,
                "the block at height {old} stays"
            );
            for height in height - BLOCKS + 1..=height {
                assert!(has(&up.ledger, height).await, "{height}");
            }
        }
        // Nobody can send a newcomer the first blocks: it takes the state over, and then it has as
        // little of the past as they have.
        let mut late = fabric.boot(5, &Machine::new(5, 7), BEHIND_MAX).await;
        assert_eq!(late.reach(height).await, 1);
        assert!(!has(&late.ledger, 1).await);
        height = fabric
            .grow(&operator, &mut late, &mut ups, height + 5)
            .await;
        assert!(has(&late.ledger, height).await);
    });
}

/// How many files of blocks and of certificates are on a simulated disk.
fn simulated_files(machine: &Machine) -> [usize; 4] {
    let partitions = [
        "blocks-key",
        "blocks-value",
        "certificates-key",
        "certificates-value",
    ];
    partitions.map(|name| machine.disk.scan(name).map_or(0, |files| files.len()))
}

/// Whether there are as many of each.
fn is_even(files: [usize; 4]) -> bool {
    files.iter().all(|count| *count == files[0])
}

/// The power is cut at any instant around the end of a file, at which an old one goes.
#[test]
fn a_node_whose_power_is_cut_while_it_prunes_goes_on() {
    let cut_between = simulated::run(5, |world| async move {
        let mut fabric = Fabric::new(world, 1);
        fabric.retention = SMALL;
        let machine = Machine::new(1, 7);
        let operator = Principal::operator_in(&fabric.genesis, 0);
        let (mut height, mut cut_between) = (0, 0);
        let mut last = operator.deploy("first");
        for life in 0..40 {
            let mut up = fabric.boot(1, &machine, u64::MAX).await;
            assert!(up.height >= height, "life {life}: a final block is lost");
            for height in up.height.saturating_sub(BLOCKS) + 1..=up.height {
                assert!(has(&up.ledger, height).await, "life {life}: {height}");
            }
            // The one of the life before: nobody knows whether it became final.
            let _ = up.ledger.submit(last).await;
            let end = (up.height / FILE_BLOCKS + 1) * FILE_BLOCKS + FILE_BLOCKS - 2;
            height = fabric.grow(&operator, &mut up, &mut [], end).await;
            // With the next block a file is old.
            last = operator.deploy(&format!("last-{life}"));
            let after = fabric.world.roll() % 60;
            let cut = async {
                for _ in 0..after {
                    fabric.world.sleep(Duration::from_millis(1)).await;
                    // Every other time at an instant that is known to be a bad one.
                    if life % 2 == 1 && !is_even(simulated_files(&machine)) {
                        break;
                    }
                }
                up.plug.pull();
            };
            // Submitting ends with the node.
            let _ = join(up.ledger.submit(last.clone()), cut).await;
            let files = simulated_files(&machine);
            cut_between += u32::from(!is_even(files));
            let most = BLOCKS / FILE_BLOCKS + 4;
            assert!(files.iter().all(|count| *count as u64 <= most), "{files:?}");
        }
        cut_between
    });
    assert!(cut_between > 0, "never cut while a file went");
}
