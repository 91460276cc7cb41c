//! Blocks: what is written is read, with as many members away as may be, and never anything old.

use std::sync::Arc;

use hypermesh_assets::volume::{
    BLOCK_BYTES, BlockKey, FilePath, Files, Layout, MemberError, ReadVolumeError, Repair,
    SPAN_BYTES_MAX, Volume, WriteVolumeError,
};

use crate::member::Fault;
use crate::{World, layouts, whole};

const BLOCK: u64 = BLOCK_BYTES as u64;

#[tokio::test(start_paused = true)]
async fn a_volume_reads_as_an_array_of_zeros_that_is_written() {
    for layout in layouts() {
        let world = World::new(layout);
        let volume = world.writer().await;
        let mut array = vec![0; 5 * BLOCK_BYTES];
        let writes = [
            (10, 3),
            (BLOCK - 2, 4),
            (BLOCK, BLOCK_BYTES),
            (2 * BLOCK + 7, 2 * BLOCK_BYTES),
        ];
        for (number, (offset, bytes)) in writes.into_iter().enumerate() {
            let text = vec![b'1' + u8::try_from(number).unwrap(); bytes];
            volume.write(1, offset, &text).await.unwrap();
            let from = usize::try_from(offset).unwrap();
            array[from..from + bytes].copy_from_slice(&text);
            assert_eq!(
                volume.read(1, 0, array.len()).await.unwrap(),
                array,
                "{layout:?}"
            );
        }
        volume.flush().await.unwrap();
        assert_eq!(
            world.reader().read(1, 3, 200_000).await.unwrap(),
            array[3..200_003]
        );
        assert_eq!(volume.read(2, 0, 9).await.unwrap(), [0; 9], "another file");
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_and_lengths_are_bounded() {
    let world = World::new(Layout::SINGLE);
    let volume = world.writer().await;
    let range = volume.read(1, u64::MAX, 2).await.unwrap_err();
    assert!(matches!(range, ReadVolumeError::OutOfRange { .. }));
    let long = volume.read(1, 0, SPAN_BYTES_MAX + 1).await.unwrap_err();
    assert!(matches!(long, ReadVolumeError::TooLong { .. }));
    let long = volume
        .write(1, 0, &vec![0; SPAN_BYTES_MAX + 1])
        .await
        .unwrap_err();
    assert!(matches!(
        long,
        WriteVolumeError::Read(ReadVolumeError::TooLong { .. })
    ));
    volume.write(1, 0, &vec![1; SPAN_BYTES_MAX]).await.unwrap();
    assert_eq!(
        world.reader().write(1, 0, b"x").await,
        Err(WriteVolumeError::NotWriter)
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_flushed_is_read_without_any_four_of_fourteen() {
    let world = World::new(Layout::SHARDED);
    let volume = world.writer().await;
    let content: Vec<u8> = (0..5_000_u32).map(|at| (at % 251) as u8).collect();
    volume.write(1, 0, &content).await.unwrap();
    volume.flush().await.unwrap();
    let reader = world.reader();
    let mut subsets = 0;
    for mask in 0_u32..1 << 14 {
        if mask.count_ones() != 4 {
            continue;
        }
        world.kill((0..14).filter(|member| mask & (1 << member) != 0));
        assert_eq!(reader.read(1, 0, 5_000).await.unwrap(), content, "{mask:b}");
        world.revive();
        subsets += 1;
    }
    assert_eq!(subsets, 1_001);
    world.kill(0..5);
    let key = BlockKey { file: 1, block: 0 };
    let too_few = ReadVolumeError::TooFew {
        key,
        answered: 9,
        holders: 9,
        needed: 10,
        total: 14,
    };
    assert_eq!(reader.read(1, 0, 5_000).await, Err(too_few));
}

#[tokio::test(start_paused = true)]
async fn writes_go_on_with_as_many_away_as_may_be_and_say_so_with_one_more() {
    for layout in layouts() {
        let world = World::new(layout);
        let volume = world.writer().await;
        volume.write(1, 0, b"before").await.unwrap();
        world.kill(0..layout.away_max());
        volume.write(1, 0, b"during").await.unwrap();
        volume.flush().await.unwrap();
        assert_eq!(volume.read(1, 0, 6).await.unwrap(), b"during", "{layout:?}");
        world.kill(0..=layout.away_max());
        let failed = volume.write(1, 0, &whole(b"beyond")).await.unwrap_err();
        let WriteVolumeError::TooFew { done, needed, .. } = failed else {
            panic!("{failed:?}");
        };
        assert!(done < needed, "{layout:?}");
        world.revive();
        // The one of the first write that came back is behind, no more than may be.
        let read = world.reader().read(1, 0, 6).await.unwrap();
        assert_eq!(read, b"during", "{layout:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_came_back_with_old_pieces_makes_no_read_old() {
    let world = World::new(Layout::replicated(3).unwrap());
    let volume = world.writer().await;
    volume.write(1, 0, b"old").await.unwrap();
    world.kill([2]);
    volume.write(1, 0, b"new").await.unwrap();
    world.revive();
    let reader = world.reader();
    for away in [2, 1, 0] {
        world.kill([away]);
        match reader.read(1, 0, 3).await {
            Ok(read) => assert_eq!(read, b"new", "without {away}"),
            Err(error) => {
                assert!(matches!(error, ReadVolumeError::TooFew { .. }));
                assert_ne!(away, 2, "the other two have it");
            }
        }
        world.revive();
    }
    world.kill([0, 1]);
    assert!(
        reader.read(1, 0, 3).await.is_err(),
        "one alone may be the old one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_or_silent_member_stalls_nobody_for_long() {
    for fault in [false, true] {
        let world = World::new(Layout::replicated(3).unwrap());
        let volume = world.writer().await;
        if fault {
            world.disks[0].set_fault(Fault::Mute);
        } else {
            world.disks[0].set_delay_ms(15_000);
        }
        let begun = tokio::time::Instant::now();
        for number in 0..20_u8 {
            volume.write(1, 0, &[number]).await.unwrap();
            assert_eq!(volume.read(1, 0, 1).await.unwrap(), [number]);
        }
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn pieces_that_were_altered_are_absent_and_their_members_are_named() {
    for layout in [Layout::replicated(3).unwrap(), Layout::SHARDED] {
        let world = World::new(layout);
        let volume = world.writer().await;
        volume.write(1, 0, &[5; 3_000]).await.unwrap();
        let key = BlockKey { file: 1, block: 0 };
        let rotten = layout.away_max();
        for disk in &world.disks[..rotten] {
            disk.rot(key);
        }
        let reader = world.reader();
        assert_eq!(reader.read(1, 0, 3_000).await.unwrap(), [5; 3_000]);
        assert_eq!(reader.damaged(), (0..rotten).collect::<Vec<_>>());
        world.disks[rotten].rot(key);
        let refused = reader.read(1, 0, 3_000).await.unwrap_err();
        assert!(
            matches!(refused, ReadVolumeError::TooFew { .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lies_about_versions_stops_nobody() {
    for layout in [Layout::replicated(3).unwrap(), Layout::SHARDED] {
        let world = World::new(layout);
        world.disks[0].set_fault(Fault::LiesHigh);
        for number in 0..4_u8 {
            let volume = world.writer().await;
            volume.write(1, 0, &[number; 9]).await.unwrap();
            volume.write(1, 4, &[number + 1]).await.unwrap();
            let read = world.reader().read(1, 3, 2).await.unwrap();
            assert_eq!(read, [number, number + 1], "{layout:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_member_is_said_and_what_was_there_stays() {
    let world = World::new(Layout::SINGLE);
    let volume = world.writer().await;
    volume.write(1, 0, b"kept").await.unwrap();
    world.disks[0].set_fault(Fault::Full);
    let failed = volume.write(1, 0, b"more").await.unwrap_err();
    let WriteVolumeError::TooFew { last, .. } = failed else {
        panic!("{failed:?}");
    };
    assert!(matches!(last, MemberError::Full { .. }));
    assert_eq!(volume.read(1, 0, 4).await.unwrap(), b"kept");
}

#[tokio::test(start_paused = true)]
async fn members_see_nothing_of_what_is_written_and_keep_one_version_once_it_is_flushed() {
    let world = World::new(Layout::replicated(2).unwrap());
    let volume = world.writer().await;
    let secret = b"nobody but the holder reads this";
    for _ in 0..3 {
        volume.write(1, 0, &secret.repeat(20)).await.unwrap();
    }
    let bytes = world.disks[0].bytes();
    assert_eq!(bytes.len(), 2, "the last, and what it replaced");
    for piece in bytes.iter().chain(&world.disks[1].bytes()) {
        assert!(!piece.windows(8).any(|part| part == &secret[..8]));
    }
    volume.flush().await.unwrap();
    assert_eq!(world.disks[0].bytes().len(), 1);
    assert_ne!(
        world.disks[0].bytes(),
        world.disks[1].bytes(),
        "each has another key"
    );
    volume.remove(1).await.unwrap();
    assert_eq!(world.disks[0].bytes(), Vec::<Vec<u8>>::new());
    assert_eq!(volume.read(1, 0, 3).await.unwrap(), [0; 3]);
}

/// What is asked of a volume is asked from tasks that move between threads.
#[tokio::test(start_paused = true)]
async fn all_that_is_asked_can_be_sent_to_other_threads() {
    type Sent<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
    let world = World::new(Layout::SINGLE);
    let opened = Volume::open_writer(world.layout, &world.key, world.seats());
    let opened: Sent<'_, _> = Box::pin(opened);
    let volume = Arc::new(opened.await.unwrap());
    let bytes = vec![1; 3];
    let written: Sent<'_, _> = Box::pin(volume.write(1, 0, &bytes));
    written.await.unwrap();
    let read: Sent<'_, _> = Box::pin(volume.read(1, 0, 3));
    assert_eq!(read.await.unwrap(), bytes);
    let flushed: Sent<'_, _> = Box::pin(volume.flush());
    flushed.await.unwrap();
    let repaired: Sent<'_, _> = Box::pin(volume.repair());
    assert_eq!(repaired.await.unwrap().blocks, 1);
    let removed: Sent<'_, _> = Box::pin(volume.remove(1));
    removed.await.unwrap();
    let usage: Sent<'_, _> = Box::pin(volume.usage());
    assert_eq!(usage.await.unwrap().answered, 1);
    let files = Files::new(volume);
    let (one, other): (FilePath, FilePath) = ("a".parse().unwrap(), "b".parse().unwrap());
    let made: [Sent<'_, _>; 5] = [
        Box::pin(files.create(&one)),
        Box::pin(files.write(&one, 0, &bytes)),
        Box::pin(files.rename(&one, &other, true)),
        Box::pin(files.set_length(&other, 2)),
        Box::pin(files.sync()),
    ];
    for made in made {
        made.await.unwrap();
    }
    let listed: Sent<'_, _> = Box::pin(files.list(None, None));
    assert_eq!(listed.await.unwrap().len(), 1);
    let read: Sent<'_, _> = Box::pin(files.read(&other, 0, 9));
    assert_eq!(read.await.unwrap(), [1, 1]);
    let mut repair = Repair::new();
    let repaired: Sent<'_, _> = Box::pin(files.repair_step(&mut repair));
    repaired.await.unwrap();
}
