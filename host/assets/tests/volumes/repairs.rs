//! Repair: new members get what the dead had, and what cannot be made again is said.

use hypermesh_assets::volume::{BLOCK_BYTES, BlockKey, Layout, Repair, Seat, Volume};

use crate::member::Disk;
use crate::{World, whole};

async fn filled(world: &World, blocks: u64) -> Volume {
    let volume = world.writer().await;
    for block in 0..blocks {
        volume
            .write(1, block * BLOCK_BYTES as u64, &text(block))
            .await
            .unwrap();
    }
    volume.flush().await.unwrap();
    volume
}

async fn all_is_there(volume: &Volume, blocks: u64) {
    for block in 0..blocks {
        let read = volume.read(1, block * BLOCK_BYTES as u64, 700).await;
        assert_eq!(read.unwrap(), text(block), "block {block}");
    }
}

fn text(block: u64) -> [u8; 700] {
    [u8::try_from(block % 250).unwrap() + 1; 700]
}

/// Puts an empty disk into a place.
fn replaced(world: &mut World, index: usize) -> Seat {
    world.disks[index] = Disk::new(1_000 + index as u64);
    Seat::fresh(Disk::link(&world.disks[index]))
}

#[tokio::test(start_paused = true)]
async fn members_that_died_are_replaced_again_and_again() {
    for layout in [Layout::replicated(3).unwrap(), Layout::SHARDED] {
        let mut world = World::new(layout);
        let volume = filled(&world, 9).await;
        // In the end nobody of the first ones is left.
        for first in (0..layout.total()).step_by(layout.away_max()) {
            let gone: Vec<usize> =
                (first..(first + layout.away_max()).min(layout.total())).collect();
            for index in &gone {
                let seat = replaced(&mut world, *index);
                assert!(volume.replace(*index, seat));
            }
            all_is_there(&volume, 9).await;
            let repaired = volume.repair().await.unwrap();
            assert_eq!((repaired.blocks, repaired.lost), (9, 0), "{layout:?}");
            assert_eq!(repaired.pieces, 9 * gone.len() as u64);
            assert_eq!(
                volume.repair().await.unwrap().pieces,
                0,
                "nothing is missing"
            );
        }
        all_is_there(&world.reader(), 9).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_member_is_not_believed_to_have_lost_nothing() {
    let mut world = World::new(Layout::replicated(3).unwrap());
    let volume = filled(&world, 1).await;
    let seats = [replaced(&mut world, 0), replaced(&mut world, 1)];
    for (index, seat) in seats.into_iter().enumerate() {
        volume.replace(index, seat);
    }
    // Two of three agree that there is nothing.
    let read = volume.read(1, 0, 700).await;
    assert_eq!(
        read.unwrap(),
        [1; 700],
        "a writer finishes what the third has"
    );
    volume.repair().await.unwrap();
    world.kill([2]);
    assert_eq!(volume.read(1, 0, 700).await.unwrap(), [1; 700]);
}

#[tokio::test(start_paused = true)]
async fn a_repair_goes_in_steps_while_the_volume_is_written() {
    let mut world = World::new(Layout::replicated(3).unwrap());
    let volume = filled(&world, 600).await;
    let seat = replaced(&mut world, 1);
    volume.replace(1, seat);
    let mut repair = Repair::new();
    volume.repair_step(&mut repair, |_| true).await.unwrap();
    let cursor = repair.cursor().unwrap();
    assert!(!repair.is_over() && cursor.block < 599, "{cursor:?}");
    volume.write(1, 0, &[1; 700]).await.unwrap();
    let mut resumed = Repair::from_cursor(Some(cursor));
    while !resumed.is_over() {
        volume.repair_step(&mut resumed, |_| true).await.unwrap();
    }
    let pieces = repair.repaired().pieces + resumed.repaired().pieces;
    assert_eq!(pieces, 600);
    world.kill([2]);
    all_is_there(&volume, 600).await;
}

#[tokio::test(start_paused = true)]
async fn members_that_were_away_get_what_they_missed_and_damaged_pieces_are_made_again() {
    for layout in [Layout::replicated(3).unwrap(), Layout::SHARDED] {
        let world = World::new(layout);
        world.kill([0]);
        let volume = filled(&world, 3).await;
        world.revive();
        let key = |block| BlockKey { file: 1, block };
        world.disks[1].rot(key(2));
        assert!(world.disks[0].versions(key(0)).is_empty());
        let mut repair = Repair::new().reading_all();
        while !repair.is_over() {
            volume.repair_step(&mut repair, |_| true).await.unwrap();
        }
        let repaired = repair.repaired();
        if layout == Layout::SHARDED {
            assert_eq!((repaired.pieces, repaired.rewritten), (2, 1));
        }
        assert_eq!(repaired.lost, 0, "{layout:?}");
        assert_eq!(volume.damaged(), Vec::<usize>::new());
        world.kill([2]);
        all_is_there(&volume, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn blocks_that_lost_too_many_pieces_are_named_and_rolled_back_only_on_demand() {
    let mut world = World::new(Layout::SHARDED);
    let volume = filled(&world, 2).await;
    // The second write of a block reaches ten; one of them dies, with four others that missed it.
    world.kill(10..14);
    volume.write(1, 0, &whole(&[9; 700])).await.unwrap();
    world.revive();
    let seat = replaced(&mut world, 0);
    volume.replace(0, seat);
    let repaired = volume.repair().await.unwrap();
    let key = BlockKey { file: 1, block: 0 };
    assert_eq!((repaired.lost, repaired.lost_blocks), (1, vec![key]));
    assert!(volume.read(1, 0, 700).await.is_err(), "it is not made up");
    let mut repair = Repair::new().rolling_back();
    while !repair.is_over() {
        volume.repair_step(&mut repair, |_| true).await.unwrap();
    }
    assert_eq!(repair.repaired().rolled_back, 1);
    all_is_there(&volume, 2).await;
}

#[tokio::test(start_paused = true)]
async fn pieces_of_files_that_are_no_more_are_removed() {
    let world = World::new(Layout::replicated(3).unwrap());
    let volume = filled(&world, 2).await;
    volume.write(2, 0, b"other").await.unwrap();
    world.kill([0]);
    volume.remove(2).await.unwrap();
    world.revive();
    assert_eq!(world.disks[0].bytes().len(), 3);
    let mut repair = Repair::new();
    while !repair.is_over() {
        volume
            .repair_step(&mut repair, |file| file == 1)
            .await
            .unwrap();
    }
    assert_eq!(repair.repaired().files_removed, 1);
    assert_eq!(world.disks[0].bytes().len(), 2);
}
