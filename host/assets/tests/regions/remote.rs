//! Regions over streams: answers in order, refusals, a host that goes away, a peer that floods.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hypermesh_assets::{
    AskRegionError, CAPABILITY_BYTES_MAX, Hello, IN_FLIGHT_MAX, OpenRemoteError, Refusal,
    RegionAccess, RegionDone, RegionError, RegionOp, Regions, RemoteRegion, ServeRegionError,
    encode_region_frame, serve_region,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;

type Serving = JoinHandle<Result<u64, ServeRegionError>>;

/// Serves a region on one end of a stream with room for so many bytes; the other end.
fn served(access: &RegionAccess, room: usize) -> (DuplexStream, Serving) {
    let (near, far) = tokio::io::duplex(room);
    let access = access.clone();
    let serving = tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(far);
        let admit = |capability: Vec<u8>| async move {
            match capability.as_slice() {
                b"good" => Ok(access),
                b"early" => Err(Refusal::NoLease),
                _ => Err(Refusal::Denied("x".repeat(10_000))),
            }
        };
        serve_region(reader, writer, admit, || 1).await
    });
    (near, serving)
}

async fn open(near: DuplexStream, capability: &[u8]) -> Result<RemoteRegion, OpenRemoteError> {
    let (reader, writer) = tokio::io::split(near);
    RemoteRegion::open(reader, writer, capability.to_vec()).await
}

fn write(offset: u64, bytes: Vec<u8>) -> RegionOp {
    RegionOp::Write { offset, bytes }
}

#[tokio::test]
async fn a_region_is_used_over_a_stream_as_here() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 1 << 20);
    let (near, serving) = served(&owner, 4 << 10);
    let far = open(near, b"good").await.unwrap();
    assert_eq!(far.bytes(), 1 << 20);
    let content: Vec<u8> = (0..64 << 10)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let wrote = far.ask(&write(100, content.clone())).await;
    assert_eq!(wrote, Ok(RegionDone::Written));
    let read = RegionOp::Read {
        offset: 100,
        bytes: 64 << 10,
    };
    assert_eq!(far.ask(&read).await, Ok(RegionDone::Read(content)));
    // What was refused is an answer, and the stream goes on.
    let outside = far.ask(&write(1 << 20, vec![1])).await;
    assert!(matches!(
        outside,
        Err(AskRegionError::NotDone(RegionError::OutOfRange { .. }))
    ));
    let long = far.ask(&write(0, vec![1; 70_000])).await;
    assert!(matches!(long, Err(AskRegionError::Frame(_))));
    let usage = far.ask(&RegionOp::Usage).await;
    assert!(matches!(usage, Ok(RegionDone::Usage(usage)) if usage.bytes == 1 << 20));
    regions.end(owner.region().lease());
    let ended = far.ask(&read).await;
    assert_eq!(ended, Err(AskRegionError::NotDone(RegionError::Ended)));
    drop(far);
    assert_eq!(serving.await.unwrap().unwrap(), 5);
}

#[tokio::test]
async fn refusals_are_told_with_their_bounded_reason() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 64);
    let refusal = |capability: &'static [u8]| {
        let (near, _) = served(&owner, 4 << 10);
        async move { open(near, capability).await.map(|_| ()).unwrap_err() }
    };
    assert_eq!(refusal(b"early").await, Refusal::NoLease.into());
    let denied = OpenRemoteError::Refused(Refusal::Denied("x".repeat(256)));
    assert_eq!(refusal(b"bad").await, denied);
    let long: &[u8] = &[7; CAPABILITY_BYTES_MAX + 1];
    assert!(matches!(refusal(long).await, OpenRemoteError::Lost(_)));
}

#[tokio::test]
async fn answers_find_those_who_asked_also_when_some_gave_up() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 4_096);
    for at in 0..64 {
        let byte = u8::try_from(at).unwrap();
        owner.apply(write(at, vec![byte]), 1).unwrap();
    }
    let (near, _serving) = served(&owner, 64);
    let far = Arc::new(open(near, b"good").await.unwrap());
    let mut asking = Vec::new();
    for at in 0..64_u64 {
        let far = Arc::clone(&far);
        let asked = tokio::spawn(async move {
            let read = RegionOp::Read {
                offset: at,
                bytes: 1,
            };
            far.ask(&read).await
        });
        if at % 3 == 0 {
            tokio::task::yield_now().await;
            asked.abort();
        } else {
            asking.push((at, asked));
        }
    }
    for (at, asked) in asking {
        let byte = u8::try_from(at).unwrap();
        assert_eq!(asked.await.unwrap(), Ok(RegionDone::Read(vec![byte])));
    }
}

#[tokio::test]
async fn a_host_that_goes_away_is_told_to_all_who_wait_and_to_those_who_come_later() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 64);
    // It answers the first frame and no other.
    let (near, far_end) = tokio::io::duplex(1 << 20);
    let host = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(far_end);
        let mut hello = [0; 10];
        reader.read_exact(&mut hello).await.unwrap();
        writer.write_all(&[3, 0, 0, 0, 0, 0, 64]).await.unwrap();
        let mut some = [0; 40];
        reader.read_exact(&mut some).await.unwrap();
    });
    let far = Arc::new(open(near, b"good").await.unwrap());
    let asked: Vec<_> = (0..IN_FLIGHT_MAX * 2)
        .map(|_| {
            let far = Arc::clone(&far);
            tokio::spawn(async move { far.ask(&write(0, vec![1; 8])).await })
        })
        .collect();
    host.await.unwrap();
    for ask in asked {
        assert!(matches!(ask.await.unwrap(), Err(AskRegionError::Lost(_))));
    }
    let later = far.ask(&RegionOp::Usage).await;
    assert!(matches!(later, Err(AskRegionError::Lost(_))));
    drop(owner);
}

#[tokio::test]
async fn a_peer_that_goes_away_within_a_write_leaves_no_half_of_it() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 1 << 20);
    let frame = encode_region_frame(write(0, vec![9; 60_000])).unwrap();
    for cut in [1, 4, 5, 100, 59_000, frame.len() - 1, frame.len()] {
        owner.apply(write(0, vec![0; 60_000]), 1).unwrap();
        let (mut near, serving) = served(&owner, 1 << 20);
        let hello = Hello {
            capability: b"good".to_vec(),
        };
        near.write_all(&encode_region_frame(hello).unwrap())
            .await
            .unwrap();
        let mut welcome = [0; 9];
        near.read_exact(&mut welcome).await.unwrap();
        near.write_all(&frame[..cut]).await.unwrap();
        drop(near);
        let _ = serving.await.unwrap();
        let read = RegionOp::Read {
            offset: 0,
            bytes: 60_000,
        };
        let Ok(RegionDone::Read(found)) = owner.apply(read, 1) else {
            panic!("it reads");
        };
        let whole = cut == frame.len();
        assert!(
            found.iter().all(|byte| *byte == if whole { 9 } else { 0 }),
            "{cut}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_floods_and_reads_nothing_is_given_up_and_takes_no_more_than_the_stream_has() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 1 << 20);
    let room = 8 << 10;
    let (near, serving) = served(&owner, room);
    let (mut reader, mut writer) = tokio::io::split(near);
    let hello = Hello {
        capability: b"good".to_vec(),
    };
    writer
        .write_all(&encode_region_frame(hello).unwrap())
        .await
        .unwrap();
    let mut welcome = [0; 8];
    reader.read_exact(&mut welcome).await.unwrap();
    let sent = Arc::<AtomicU64>::default();
    let over = Arc::<AtomicBool>::default();
    let flooding = {
        let (sent, over) = (Arc::clone(&sent), Arc::clone(&over));
        tokio::spawn(async move {
            let frame = encode_region_frame(RegionOp::Read {
                offset: 0,
                bytes: 4_096,
            })
            .unwrap();
            while writer.write_all(&frame).await.is_ok() {
                sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
            }
            over.store(true, Ordering::Relaxed);
        })
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    // What fits into the stream both ways, and one frame in hand.
    let taken = sent.load(Ordering::Relaxed);
    assert!(taken <= 2 * room as u64, "{taken} bytes were taken");
    assert!(!over.load(Ordering::Relaxed));
    let ended = serving.await.unwrap();
    assert!(
        matches!(ended, Err(ServeRegionError::Stalled(_))),
        "{ended:?}"
    );
    flooding.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_or_nonsense_is_ended() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 64);
    let (silent, serving) = served(&owner, 64);
    let ended = serving.await.unwrap();
    assert!(
        matches!(ended, Err(ServeRegionError::Stalled(_))),
        "{ended:?}"
    );
    drop(silent);
    for nonsense in [&[0xff; 8][..], &[2, 0, 0, 0, 1, 1], &[1, 0, 0, 0, 0]] {
        let (mut near, serving) = served(&owner, 64);
        near.write_all(nonsense).await.unwrap();
        let ended = serving.await.unwrap();
        assert!(
            matches!(ended, Err(ServeRegionError::Frame(_))),
            "{ended:?}"
        );
    }
}
