//! Random histories: one writer and two readers while members die, lie and lose power, judged block by
//! block. Each has a seed, which a failure names.

use std::rc::Rc;
use std::time::Duration;

use hypermesh_assets::volume::{BLOCK_BYTES, Layout, Volume, WriteVolumeError};

use crate::chance::Chance;
use crate::checker::History;
use crate::member::Fault;
use crate::{World, layouts};

const BLOCKS: usize = 3;
const SEEDS: u64 = 4;
const WRITES: usize = 60;
/// A number is written this often: half a block is noticed.
const COPIES: usize = 120;

/// What happens to the blocks of one volume.
struct Run {
    world: World,
    blocks: [History; BLOCKS],
    /// Whether all operations must succeed.
    is_strict: bool,
}

impl Run {
    fn new(layout: Layout, seed: u64, is_strict: bool) -> Rc<Self> {
        let world = World::seeded(layout, seed);
        for disk in &world.disks {
            disk.set_delay_ms(8);
        }
        Rc::new(Self {
            world,
            blocks: Default::default(),
            is_strict,
        })
    }

    async fn write(&self, volume: &Volume, block: usize) -> Result<(), WriteVolumeError> {
        let number = self.blocks[block].begin_write();
        let mut bytes = (number as u64).to_le_bytes().repeat(COPIES);
        if number.is_multiple_of(2) {
            // Nothing of what was there is read for it.
            bytes.resize(BLOCK_BYTES, 0);
        }
        let written = volume.write(1, (block * BLOCK_BYTES) as u64, &bytes).await;
        if written.is_ok() {
            self.blocks[block].acknowledge(number);
        }
        written
    }

    async fn read(&self, volume: &Volume, block: usize) -> bool {
        let began = self.blocks[block].begin_read();
        let offset = (block * BLOCK_BYTES) as u64;
        let read = match volume.read(1, offset, 8 * COPIES).await {
            Ok(read) => read,
            Err(error) => {
                assert!(!self.is_strict, "{error}");
                return false;
            }
        };
        let first = u64::from_le_bytes(read[..8].try_into().unwrap());
        assert_eq!(read, first.to_le_bytes().repeat(COPIES), "half a block");
        self.blocks[block].end_read(began, usize::try_from(first).unwrap());
        true
    }

    /// One who reads until it is stopped.
    fn reader(self: &Rc<Self>, seed: u64) -> tokio::task::JoinHandle<()> {
        let run = Rc::clone(self);
        let mut chance = Chance::new(seed);
        tokio::task::spawn_local(async move {
            let volume = run.world.reader();
            loop {
                run.read(&volume, chance.below(BLOCKS)).await;
                let pause = chance.below(12) as u64;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        })
    }

    /// As many members as may be are given something.
    fn harm(&self, chance: &mut Chance, members: usize) {
        for index in self.world.some(chance, members) {
            let disk = &self.world.disks[index];
            match chance.below(7) {
                0 => disk.kill(),
                1 => disk.kill_after(chance.below(5)),
                2 => disk.set_fault(Fault::Mute),
                3 => disk.set_fault(Fault::Flips),
                4 => disk.set_fault(Fault::LiesHigh),
                5 => disk.set_fault(Fault::Forgets),
                _ => disk.lose_power(),
            }
        }
    }

    fn heal(&self) {
        self.world.revive();
        for disk in &self.world.disks {
            disk.set_fault(Fault::None);
        }
    }

    async fn repaired(&self, volume: &Volume) {
        self.heal();
        let repaired = volume.repair().await.unwrap();
        assert_eq!(repaired.lost, 0, "{repaired:?}");
    }

    /// What was read fits what was written, and in the end everybody reads the last.
    async fn judge(&self, name: &str, seed: u64) {
        self.heal();
        let volume = self.world.writer().await;
        let reader = self.world.reader();
        for block in 0..BLOCKS {
            assert!(self.read(&volume, block).await, "{name}, seed {seed}");
            assert!(self.read(&reader, block).await, "{name}, seed {seed}");
            let objections = self.blocks[block].objections();
            assert!(objections.is_empty(), "{name}, seed {seed}: {objections:?}");
        }
    }

    fn reads(&self) -> usize {
        self.blocks.iter().map(History::reads).sum()
    }
}

/// Runs it with every layout and many seeds.
async fn each<F: Future<Output = ()>>(run: impl Fn(Layout, u64) -> F) {
    let local = tokio::task::LocalSet::new();
    let all = async {
        for layout in layouts() {
            for seed in 1..=SEEDS {
                run(layout, seed).await;
            }
        }
    };
    local.run_until(all).await;
}

/// With no more faulty members than may be, everything succeeds and is linear.
#[tokio::test(start_paused = true)]
async fn histories_with_as_many_faulty_members_as_may_be_are_linear_and_go_on() {
    each(|layout, seed| async move {
        let run = Run::new(layout, seed, true);
        let mut chance = Chance::new(seed);
        let volume = run.world.writer().await;
        let readers = [run.reader(seed + 1_000), run.reader(seed + 2_000)];
        for number in 0..WRITES {
            if number % 12 == 0 {
                run.repaired(&volume).await;
                run.harm(&mut chance, layout.away_max());
            }
            let written = run.write(&volume, chance.below(BLOCKS)).await;
            written.unwrap_or_else(|error| panic!("seed {seed}: {layout:?}: {error}"));
            if chance.one_in(4) {
                run.read(&volume, chance.below(BLOCKS)).await;
            }
            if chance.one_in(6) {
                volume.flush().await.unwrap();
            }
        }
        run.repaired(&volume).await;
        for reader in readers {
            reader.abort();
            assert!(reader.await.unwrap_err().is_cancelled(), "seed {seed}");
        }
        assert!(run.reads() > WRITES / 2, "too little was read");
        run.judge("faulty members", seed).await;
    })
    .await;
}

/// Writers die in the middle of writes, others take over, and any number of members is away at times.
#[tokio::test(start_paused = true)]
async fn histories_with_dying_writers_and_too_many_away_return_nothing_wrong() {
    each(|layout, seed| async move {
        let run = Run::new(layout, seed, false);
        let mut chance = Chance::new(seed);
        let mut volume = run.world.writer().await;
        let readers = [run.reader(seed + 1_000), run.reader(seed + 2_000)];
        let mut failed = 0;
        for _ in 0..WRITES {
            match chance.below(10) {
                0 => {
                    let away = chance.below(layout.total() + 1);
                    run.world.kill(run.world.some(&mut chance, away));
                }
                1 => run.world.disks[chance.below(layout.total())].kill_after(chance.below(3)),
                2 | 3 => {
                    run.heal();
                    volume = run.world.writer().await;
                }
                _ => {}
            }
            let patience = Duration::from_millis(chance.below(40) as u64);
            let write = run.write(&volume, chance.below(BLOCKS));
            match tokio::time::timeout(patience, write).await {
                Ok(Ok(())) => {}
                _ => failed += 1,
            }
        }
        assert!(failed > 0, "no write was torn");
        for reader in readers {
            reader.abort();
            assert!(reader.await.unwrap_err().is_cancelled(), "seed {seed}");
        }
        run.judge("dying writers", seed).await;
    })
    .await;
}

/// All members lose power at once: what was flushed is there, and nothing that was never written.
#[tokio::test(start_paused = true)]
async fn what_was_flushed_is_there_after_all_members_lost_power() {
    each(|layout, seed| async move {
        let run = Run::new(layout, seed, true);
        let mut chance = Chance::new(seed);
        let volume = run.world.writer().await;
        // Some are behind from the beginning.
        let behind = run.world.some(&mut chance, layout.away_max());
        run.world.kill(behind);
        let mut flushed = [0; BLOCKS];
        let writes = chance.below(WRITES) + 1;
        for _ in 0..writes {
            run.write(&volume, chance.below(BLOCKS)).await.unwrap();
            if chance.one_in(5) {
                volume.flush().await.unwrap();
                flushed = std::array::from_fn(|block| run.blocks[block].acknowledged());
            }
        }
        for disk in &run.world.disks {
            disk.lose_power();
        }
        run.heal();
        let volume = run.world.writer().await;
        for (block, flushed) in flushed.into_iter().enumerate() {
            let offset = (block * BLOCK_BYTES) as u64;
            let read = volume.read(1, offset, 8).await.unwrap();
            let number = u64::from_le_bytes(read.try_into().unwrap());
            let number = usize::try_from(number).unwrap();
            let last = run.blocks[block].acknowledged();
            assert!(
                (flushed..=last).contains(&number),
                "seed {seed}: {layout:?}: {number}"
            );
        }
    })
    .await;
}

/// A member that loses power between a write and the flush is noticed, and the write is made good.
#[tokio::test(start_paused = true)]
async fn a_flush_makes_good_what_members_lost_before_it_or_says_what_is_undone() {
    let layout = Layout::replicated(3).unwrap();
    let world = World::new(layout);
    let volume = world.writer().await;
    volume.write(1, 0, b"old").await.unwrap();
    volume.flush().await.unwrap();
    volume.write(1, 0, b"new").await.unwrap();
    world.disks[0].fall_back();
    world.disks[0].lose_power();
    world.kill([1]);
    // Only one has it for certain, so it is written again.
    volume.flush().await.unwrap();
    world.disks[0].lose_power();
    world.disks[2].lose_power();
    assert_eq!(world.writer().await.read(1, 0, 3).await.unwrap(), b"new");
    world.revive();
    volume.repair().await.unwrap_err();
    let volume = world.writer().await;
    volume.repair().await.unwrap();
    volume.write(1, 0, b"lost").await.unwrap();
    for disk in &world.disks {
        disk.fall_back();
        disk.lose_power();
    }
    let undone = volume.flush().await.unwrap_err();
    assert_eq!(undone, WriteVolumeError::Undone { blocks: 1 });
    volume.flush().await.unwrap();
    assert_eq!(volume.read(1, 0, 3).await.unwrap(), b"new");
}

/// The judge objects when more members show old pieces as new ones than may be.
#[tokio::test(start_paused = true)]
async fn more_liars_than_may_be_are_noticed_by_the_judge() {
    let run = Run::new(Layout::replicated(3).unwrap(), 1, true);
    let volume = run.world.writer().await;
    run.write(&volume, 0).await.unwrap();
    volume.flush().await.unwrap();
    run.write(&volume, 0).await.unwrap();
    let reader = run.world.reader();
    run.world.disks[0].fall_back();
    run.read(&reader, 0).await;
    assert!(run.blocks[0].objections().is_empty(), "one may lie");
    run.world.disks[1].fall_back();
    run.read(&reader, 0).await;
    assert!(!run.blocks[0].objections().is_empty());
}
