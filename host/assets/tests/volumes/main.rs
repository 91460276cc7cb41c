//! Volumes over members in memory that fail, are slow and lie, judged against what was written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise, helpers of tests included"
)]

mod blocks;
mod chance;
mod checker;
mod files;
mod histories;
mod member;
mod repairs;
mod writers;

use std::sync::Arc;

use chance::Chance;
use hypermesh_assets::volume::{BLOCK_BYTES, Layout, Seat, Volume, VolumeKey};
use member::Disk;

/// The disks of one volume.
struct World {
    layout: Layout,
    disks: Vec<Arc<Disk>>,
    key: VolumeKey,
}

impl World {
    fn new(layout: Layout) -> Self {
        Self::seeded(layout, 1)
    }

    /// One whose members answer when the seed wants.
    fn seeded(layout: Layout, seed: u64) -> Self {
        let disk = |index: usize| Disk::new(seed.wrapping_mul(100) + index as u64);
        Self {
            layout,
            disks: (0..layout.total()).map(disk).collect(),
            key: VolumeKey::from_bytes([7; 32]),
        }
    }

    /// New links to all disks.
    fn seats(&self) -> Vec<Seat> {
        let seats = self.disks.iter();
        seats.map(|disk| Seat::whole(Disk::link(disk))).collect()
    }

    async fn writer(&self) -> Volume {
        let volume = Volume::open_writer(self.layout, &self.key, self.seats());
        volume.await.expect("a writer begins")
    }

    fn reader(&self) -> Volume {
        Volume::open_reader(self.layout, &self.key, self.seats()).expect("a reader begins")
    }

    fn kill(&self, members: impl IntoIterator<Item = usize>) {
        for index in members {
            self.disks[index].kill();
        }
    }

    fn revive(&self) {
        for disk in &self.disks {
            disk.revive();
        }
    }

    /// As many different members as wanted.
    fn some(&self, chance: &mut Chance, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.disks.len()).collect();
        let mut some = Vec::new();
        while some.len() < count {
            some.push(all.swap_remove(chance.below(all.len())));
        }
        some
    }
}

/// A whole block that begins with this.
fn whole(text: &[u8]) -> Vec<u8> {
    let mut block = text.to_vec();
    block.resize(BLOCK_BYTES, 0);
    block
}

fn layouts() -> Vec<Layout> {
    let replicated = |members| Layout::replicated(members).expect("so many can be");
    vec![
        Layout::SINGLE,
        replicated(2),
        replicated(3),
        replicated(5),
        Layout::SHARDED,
    ]
}
