//! Streams and datagrams: refusals leave the session alone, deadlines end streams, bounds hold.

use std::sync::Arc;
use std::time::Duration;

use hypermesh_stoq::{
    InboundStream, OpenOptions, ReadError, RefusalCode, Service, Session, TraceId, WriteError,
    proto,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Node, World, ask, until, within};

async fn pair() -> (Node, Node, Session) {
    let world = Arc::new(World::default());
    let (a, b) = (Node::start(&world, 1), Node::start(&world, 2));
    let session = within(a.endpoint.dial(b.target())).await.unwrap();
    (a, b, session)
}

async fn refusal(session: &Session, service: Service, version: u16) -> RefusalCode {
    let options = OpenOptions {
        version,
        ..OpenOptions::default()
    };
    let (mut send, mut recv) = session.open(service, options).await.unwrap();
    send.flush().await.unwrap();
    let error = within(recv.accepted()).await.unwrap_err();
    let ReadError::Refused(refusal) = error else {
        panic!("{error}");
    };
    // Every later read says the same.
    assert_eq!(
        recv.read(&mut [0]).await,
        Err(ReadError::Refused(refusal.clone()))
    );
    refusal.code
}

#[tokio::test]
async fn unknown_services_and_versions_are_refused_and_the_session_lives_on() {
    let (_a, _b, session) = pair().await;
    let asset = refusal(&session, Service::Asset, 1).await;
    assert_eq!(asset, RefusalCode::UnknownService);
    let version = refusal(&session, Service::Invoke, 3).await;
    assert_eq!(version, RefusalCode::UnknownVersion);
    ask(&session, b"still there").await;
}

#[tokio::test]
async fn the_header_arrives_as_it_was_sent() {
    let (_a, mut b, session) = pair().await;
    let options = OpenOptions {
        version: 1,
        deadline: Some(Duration::from_secs(30)),
        trace: Some(TraceId([9; 16])),
        idempotent: true,
    };
    let (mut send, mut recv) = session.open(Service::Control, options).await.unwrap();
    send.write_all(b"question").await.unwrap();
    send.finish().await.unwrap();
    let mut stream: InboundStream = within(b.control.recv()).await.unwrap();
    assert_eq!(stream.header.service, Service::Control);
    assert_eq!(stream.header.deadline, options.deadline);
    assert_eq!(stream.header.trace, options.trace);
    assert!(stream.header.idempotent);
    assert_eq!(stream.session.peer_id().as_bytes()[0], 1);
    assert_eq!(
        within(stream.recv.read_to_end(100)).await.unwrap(),
        b"question"
    );
    stream.send.flush().await.unwrap();
    within(recv.accepted()).await.unwrap();
    stream.send.write_all(b"answer").await.unwrap();
    stream.send.finish().await.unwrap();
    assert_eq!(within(recv.read_to_end(100)).await.unwrap(), b"answer");
}

#[tokio::test]
async fn a_stream_ends_when_its_deadline_passes() {
    let (_a, mut b, session) = pair().await;
    let options = OpenOptions {
        deadline: Some(Duration::from_millis(100)),
        ..OpenOptions::default()
    };
    let (mut send, mut recv) = session.open(Service::Control, options).await.unwrap();
    send.write_all(b"question").await.unwrap();
    let mut stream = within(b.control.recv()).await.unwrap();
    let mut heard = [0; 8];
    within(stream.recv.read_exact(&mut heard)).await.unwrap();
    assert_eq!(
        within(recv.accepted()).await,
        Err(ReadError::DeadlinePassed)
    );
    // The one who was asked does not wait for longer either.
    let error = within(stream.recv.read(&mut heard)).await.unwrap_err();
    assert_eq!(error, ReadError::DeadlinePassed);
    let error = stream.send.write_all(b"late").await.unwrap_err();
    assert_eq!(error, WriteError::DeadlinePassed);
    assert_eq!(
        send.write_all(b"late").await,
        Err(WriteError::DeadlinePassed)
    );
    ask(&session, b"still there").await;
}

#[tokio::test]
async fn a_part_is_never_taken_for_the_whole() {
    let (_a, mut b, session) = pair().await;
    let (mut send, _recv) = session
        .open(Service::Control, OpenOptions::default())
        .await
        .unwrap();
    send.write_all(b"half").await.unwrap();
    let mut stream = within(b.control.recv()).await.unwrap();
    drop(send);
    let error = within(stream.recv.read_to_end(100)).await.unwrap_err();
    assert!(matches!(error, ReadError::Reset(_)), "{error}");
}

#[tokio::test]
async fn a_peer_has_a_bounded_number_of_streams_per_service() {
    let (_a, mut b, session) = pair().await;
    let bound = proto::streams_max(Service::Control);
    let mut held = Vec::new();
    for _ in 0..bound {
        let (mut send, recv) = session
            .open(Service::Control, OpenOptions::default())
            .await
            .unwrap();
        send.flush().await.unwrap();
        held.push((send, recv, within(b.control.recv()).await.unwrap()));
    }
    assert_eq!(
        refusal(&session, Service::Control, 1).await,
        RefusalCode::Busy
    );
    // Another service is not touched, and a place that becomes free is given again.
    ask(&session, b"still there").await;
    held.pop();
    let open = || b.endpoint.sessions()[0].streams_in;
    until("the place is free", || open() < bound).await;
    let (mut send, _recv) = session
        .open(Service::Control, OpenOptions::default())
        .await
        .unwrap();
    send.flush().await.unwrap();
    assert!(within(b.control.recv()).await.is_some());
}

#[tokio::test]
async fn streams_are_readers_and_writers() {
    let (_a, _b, session) = pair().await;
    let (mut send, mut recv) = session
        .open(Service::Invoke, OpenOptions::default())
        .await
        .unwrap();
    let sent: Vec<u8> = (0_u32..300_000).map(|n| n.to_le_bytes()[0]).collect();
    let writes = async {
        AsyncWriteExt::write_all(&mut send, &sent).await.unwrap();
        send.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (_, read) =
        within(async { tokio::join!(writes, AsyncReadExt::read_to_end(&mut recv, &mut heard)) })
            .await;
    read.unwrap();
    assert!(heard == sent);
}

#[tokio::test]
async fn datagrams_reach_their_service_and_others_are_counted() {
    let (a, mut b, session) = pair().await;
    session.send_datagram(Service::Gossip, b"news").unwrap();
    let datagram = within(b.gossip.recv()).await.unwrap();
    assert_eq!(&datagram.payload[..], b"news");
    assert_eq!(datagram.session.peer_id(), a.id);
    session.send_datagram(Service::Artifact, b"nobody").unwrap();
    until("it is counted", || {
        b.endpoint.sessions()[0].datagrams_lost == 1
    })
    .await;
    let long = vec![0; session.datagram_bytes_max() + 1];
    assert!(session.send_datagram(Service::Gossip, &long).is_err());
}
