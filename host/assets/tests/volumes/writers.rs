//! Writers: one ends the other, and what one left torn is whole or never was.

use hypermesh_assets::volume::{BlockKey, Layout, OpenVolumeError, Volume, WriteVolumeError};

use crate::{World, layouts, whole};

const KEY: BlockKey = BlockKey { file: 1, block: 0 };

#[tokio::test(start_paused = true)]
async fn a_second_writer_ends_the_first() {
    for layout in layouts() {
        let world = World::new(layout);
        let first = world.writer().await;
        first.write(1, 0, b"first").await.unwrap();
        let second = world.writer().await;
        let refused = first.write(1, 0, b"again").await.unwrap_err();
        assert_eq!(
            refused,
            WriteVolumeError::Fenced { fenced: 2 },
            "{layout:?}"
        );
        assert!(first.remove(1).await.is_err());
        assert_eq!(second.read(1, 0, 5).await.unwrap(), b"first");
        second.write(1, 0, b"other").await.unwrap();
        assert_eq!(first.read(1, 0, 5).await.unwrap(), b"other");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_begins_with_a_quorum_and_not_with_less() {
    for layout in layouts() {
        let world = World::new(layout);
        world.kill(0..layout.away_max());
        let volume = world.writer().await;
        // One that comes later is written to as well.
        world.revive();
        volume.write(1, 0, b"all").await.unwrap();
        for disk in &world.disks {
            assert_eq!(disk.versions(KEY).len(), 1, "{layout:?}");
        }
        world.kill(0..=layout.away_max());
        let begun = Volume::open_writer(layout, &world.key, world.seats()).await;
        let Err(OpenVolumeError::TooFew {
            answered, needed, ..
        }) = begun
        else {
            panic!("{begun:?}");
        };
        assert_eq!(answered + 1, needed, "{layout:?}");
    }
    let world = World::new(Layout::SHARDED);
    let few = Volume::open_reader(Layout::SINGLE, &world.key, world.seats());
    assert!(matches!(
        few,
        Err(OpenVolumeError::Seats {
            wanted: 1,
            given: 14
        })
    ));
}

/// A writer dies while its write is at so many members, each number of them; others die then.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_torn_at_any_point_is_whole_or_never_was() {
    for layout in layouts() {
        for reached in 0..=layout.total() {
            let world = World::new(layout);
            let first = world.writer().await;
            first.write(1, 0, b"before").await.unwrap();
            world.kill(reached..layout.total());
            let torn = first.write(1, 0, &whole(b"torn!!")).await;
            assert_eq!(torn.is_ok(), reached >= layout.quorum());
            drop(first);
            world.revive();
            let seen = world.reader().read(1, 0, 6).await.unwrap();
            let expected: &[u8] = if torn.is_ok() { b"torn!!" } else { b"before" };
            assert_eq!(seen, expected, "{layout:?} {reached}");
            // The next writer agrees, whoever is away, and so does everybody after it.
            for away in 0..layout.total() {
                let mut gone: Vec<usize> = (0..layout.away_max()).collect();
                for member in &mut gone {
                    *member = (*member + away) % layout.total();
                }
                world.kill(gone);
                let reader = world.reader().read(1, 0, 6).await;
                world.revive();
                if let Ok(reader) = reader {
                    assert_eq!(reader, expected, "{layout:?} {reached} {away}");
                }
            }
            let second = world.writer().await;
            assert_eq!(second.read(1, 0, 6).await.unwrap(), expected);
            second.write(1, 2, b"x").await.unwrap();
            let mut both = expected.to_vec();
            both[2] = b'x';
            assert_eq!(world.reader().read(1, 0, 6).await.unwrap(), both);
        }
    }
}

/// With one away nobody can say whether the write was acknowledged: who reads says so, who writes ends it.
#[tokio::test(start_paused = true)]
async fn what_readers_cannot_know_a_writer_finishes() {
    let layout = Layout::replicated(3).unwrap();
    let world = World::new(layout);
    let first = world.writer().await;
    first.write(1, 0, b"before").await.unwrap();
    world.kill([1, 2]);
    assert!(first.write(1, 0, &whole(b"torn!!")).await.is_err());
    world.revive();
    world.kill([2]);
    assert!(world.reader().read(1, 0, 6).await.is_err());
    let second = world.writer().await;
    assert_eq!(second.read(1, 0, 6).await.unwrap(), b"torn!!");
    world.revive();
    world.kill([0]);
    let read = world.reader().read(1, 0, 6).await;
    world.revive();
    assert_eq!(world.reader().read(1, 0, 6).await.unwrap(), b"torn!!");
    // The third was not there when it was finished and may not know.
    assert!(read.is_err() || read == Ok(b"torn!!".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_waits_for_any_more_does_no_harm() {
    for layout in layouts() {
        let world = World::new(layout);
        let volume = world.writer().await;
        volume.write(1, 0, b"0").await.unwrap();
        for disk in &world.disks {
            disk.set_delay_ms(20);
        }
        for number in b'1'..=b'9' {
            let patience = std::time::Duration::from_millis(u64::from(number - b'0') * 3);
            let _ = tokio::time::timeout(patience, volume.write(1, 0, &[number])).await;
            let read = volume.read(1, 0, 1).await.unwrap();
            assert!(read[0] <= number);
            volume.write(1, 1, &[number]).await.unwrap();
            let then = volume.read(1, 0, 2).await.unwrap();
            assert!(
                then[0] >= read[0] && then[1] == number,
                "{layout:?}: {then:?}"
            );
        }
    }
}
