//! Members over streams: as here, in order, pipelined; a peer that goes away leaves no half.

use std::sync::Arc;

use futures::future::join_all;
use hypermesh_assets::volume::{Member, MemberAccess, MemberDone, MemberError, MemberOp, Version};
use hypermesh_assets::{
    Hello, MemberRequest, RemoteMember, ServeRegionError, encode_region_frame, read_hello,
    serve_member,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use types::Digest;

use crate::{KEY, Node, byte, done, whole, write};

type Serving = JoinHandle<Result<u64, ServeRegionError>>;

/// Serves a member on one end of a stream with room for so many bytes; the other end.
fn served(access: MemberAccess, room: usize) -> (DuplexStream, Serving) {
    let (near, far) = tokio::io::duplex(room);
    let serving = tokio::spawn(async move {
        let (mut reader, writer) = tokio::io::split(far);
        read_hello(&mut reader).await?;
        serve_member(reader, writer, &access).await
    });
    (near, serving)
}

async fn open(near: DuplexStream) -> RemoteMember {
    let (reader, writer) = tokio::io::split(near);
    RemoteMember::open(reader, writer, vec![1]).await.unwrap()
}

#[tokio::test]
async fn a_member_is_asked_over_a_stream_as_here() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let (near, serving) = served(node.root(1), 4 << 10);
    let far = open(near).await;
    assert_eq!(far.bytes(), crate::BYTES);
    done(&far, MemberOp::Fence { epoch: 1 }).await;
    done(&far, write(1, 7)).await;
    assert_eq!(byte(&far).await, Ok(Some(7)));
    assert_eq!(byte(&node.root(1)).await, Ok(Some(7)));
    // What was refused is an answer, and the stream goes on.
    let fenced = Member::ask(&far, MemberOp::Fence { epoch: 1 }).await;
    assert_eq!(fenced, Err(MemberError::Fenced { fenced: 1 }));
    let long = MemberOp::Write {
        epoch: 1,
        key: KEY,
        version: Version { epoch: 1, count: 9 },
        keep: None,
        bytes: vec![0; 70_000],
    };
    let long = Member::ask(&far, long).await;
    assert!(matches!(long, Err(MemberError::Invalid(_))), "{long:?}");
    let capability = Digest::from_bytes([5; 32]);
    let revoked = far.request(MemberRequest::Revoke { capability }).await;
    assert_eq!(revoked, Ok(MemberDone::Done));
    let narrowed = node.access(1, whole(true, false), &[1, 5]);
    assert!(matches!(byte(&narrowed).await, Err(MemberError::Denied(_))));
    node.volumes.tenants().end(&crate::lease(1));
    assert_eq!(byte(&far).await, Err(MemberError::Ended));
    drop(far);
    assert_eq!(serving.await.unwrap().unwrap(), 6);
}

#[tokio::test]
async fn what_is_asked_first_is_done_first_however_much_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let (near, _serving) = served(node.root(1), 1 << 10);
    let far = open(near).await;
    done(&far, MemberOp::Fence { epoch: 1 }).await;
    // Each write is followed by a question that must see it, all at once.
    let asked = (1..=100_u64).flat_map(|count| {
        let byte = u8::try_from(count).unwrap();
        let versions = MemberOp::Versions { keys: vec![KEY] };
        [write(count, byte), versions]
    });
    let asked = asked.map(|operation| Member::ask(&far, operation));
    let answers = join_all(asked).await;
    for (count, pair) in (1..=100_u64).zip(answers.chunks(2)) {
        let versions = MemberDone::Versions(vec![vec![Version { epoch: 1, count }]]);
        assert_eq!(pair, [Ok(MemberDone::Done), Ok(versions)]);
    }
}

#[tokio::test]
async fn a_peer_that_goes_away_within_a_write_leaves_no_half_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let root = node.root(1);
    done(&root, MemberOp::Fence { epoch: 1 }).await;
    let frame = |count, byte| {
        let request = MemberRequest::Ask(write(count, byte));
        encode_region_frame(request).unwrap()
    };
    let whole = frame(1, 1).len();
    for (count, cut) in (1..).zip([1, 4, 5, 100, 4_000, whole - 1, whole]) {
        let (mut near, serving) = served(root.clone(), 1 << 20);
        let capability = vec![1];
        let hello = encode_region_frame(Hello { capability }).unwrap();
        near.write_all(&hello).await.unwrap();
        let mut welcome = [0; 9];
        near.read_exact(&mut welcome).await.unwrap();
        near.write_all(&frame(count, 9)[..cut]).await.unwrap();
        drop(near);
        let _ = serving.await.unwrap();
        let expected = (cut == whole).then_some(9);
        assert_eq!(byte(&root).await, Ok(expected), "{cut}");
    }
}

#[tokio::test]
async fn a_host_that_goes_away_is_told_to_all_who_wait() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let (near, serving) = served(node.root(1), 1 << 10);
    let far = Arc::new(open(near).await);
    let asked: Vec<_> = (1..50)
        .map(|count| {
            let far = Arc::clone(&far);
            tokio::spawn(async move { Member::ask(&*far, write(count, 1)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    serving.abort();
    let _ = serving.await;
    for ask in asked {
        let answer = ask.await.unwrap();
        let told = matches!(
            answer,
            Err(MemberError::Lost(_) | MemberError::Fenced { .. })
        );
        assert!(told, "{answer:?}");
    }
    let later = Member::ask(&*far, MemberOp::Epoch).await;
    assert!(matches!(later, Err(MemberError::Lost(_))), "{later:?}");
}
