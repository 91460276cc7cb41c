//! The answering side: what it sends, whom it refuses, and that it waits for nobody for ever.

use std::fs;

use hypermesh_transfer::{
    GroupSpan, Have, Message, REQUEST_PATIENCE, Refusal, Request, SLICE_PATIENCE, ServeError,
    Served, Server, Wanted, read_frame, write_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use types::Digest;

use crate::{content, store, within};

fn request(digest: Digest, first: u64, count: u64) -> Message {
    let wanted = Wanted::Groups(vec![GroupSpan { first, count }]);
    Message::Request(Request { digest, wanted })
}

#[tokio::test]
async fn absent_damaged_and_busy_are_told_apart() {
    let (_folder, store) = store();
    let digest = store.store(&content(100_000)).unwrap();
    fs::write(store.path(&digest), content(99_000)).unwrap();
    for (slots, digest, refusal) in [
        (1, Digest::of(b"absent"), Refusal::Absent),
        (1, digest, Refusal::Damaged),
        (0, digest, Refusal::Busy),
    ] {
        let server = Server::new(store.clone(), slots);
        let mut asked = Vec::new();
        write_frame(&mut asked, &request(digest, 0, 2), &[])
            .await
            .unwrap();
        let mut answer = Vec::new();
        let served = server.serve(asked.as_slice(), &mut answer).await.unwrap();
        assert_eq!(served, Served::Refused(refusal));
        let mut rest = answer.as_slice();
        let mut last = None;
        while let Some(message) = read_frame(&mut rest).await.unwrap() {
            last = Some(message);
        }
        assert_eq!(last, Some(Message::Refused(refusal)));
    }
}

#[tokio::test]
async fn groups_beyond_the_end_are_missing() {
    let (_folder, store) = store();
    let digest = store.store(&content(100_000)).unwrap();
    let server = Server::new(store, 1);
    let mut asked = Vec::new();
    write_frame(&mut asked, &request(digest, 5, 10), &[])
        .await
        .unwrap();
    let mut answer = Vec::new();
    server.serve(asked.as_slice(), &mut answer).await.unwrap();
    let mut rest = answer.as_slice();
    let span = |first, count| GroupSpan { first, count };
    let have = Have {
        bytes: 100_000,
        held: vec![span(0, 7)],
    };
    assert_eq!(
        read_frame(&mut rest).await.unwrap(),
        Some(Message::Have(have))
    );
    let missing = Message::Missing(vec![span(7, 8)]);
    assert_eq!(read_frame(&mut rest).await.unwrap(), Some(missing));
    let Some(Message::Slice(head)) = read_frame(&mut rest).await.unwrap() else {
        panic!("no slice");
    };
    assert_eq!((head.groups, head.bytes as usize), (span(5, 2), rest.len()));
}

#[tokio::test]
async fn what_is_no_request_gets_no_answer() {
    let (_folder, store) = store();
    let server = Server::new(store, 1);
    let refused = {
        let mut bytes = Vec::new();
        let message = Message::Refused(Refusal::Busy);
        write_frame(&mut bytes, &message, &[]).await.unwrap();
        bytes
    };
    for asked in [vec![], refused, vec![0xff; 50], vec![3, 0, 9]] {
        let mut answer = Vec::new();
        let error = server
            .serve(asked.as_slice(), &mut answer)
            .await
            .unwrap_err();
        let expected = matches!(error, ServeError::NoRequest | ServeError::Request(_));
        assert!(expected && answer.is_empty(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_neither_asks_nor_reads_is_not_waited_for() {
    let (_folder, store) = store();
    let digest = store.store(&content(3_000_000)).unwrap();
    let server = Server::new(store, 1);
    let (silent, theirs) = tokio::io::duplex(1_000);
    let (reader, writer) = tokio::io::split(theirs);
    let error = server.serve(reader, writer).await.unwrap_err();
    assert!(
        matches!(error, ServeError::Stalled(REQUEST_PATIENCE)),
        "{error}"
    );
    drop(silent);
    let (mut deaf, theirs) = tokio::io::duplex(1_000);
    let (reader, writer) = tokio::io::split(theirs);
    write_frame(&mut deaf, &request(digest, 0, 100), &[])
        .await
        .unwrap();
    let error = server.serve(reader, writer).await.unwrap_err();
    assert!(
        matches!(error, ServeError::Stalled(SLICE_PATIENCE)),
        "{error}"
    );
    // The slot is free again.
    let (mut reads, theirs) = tokio::io::duplex(1_000);
    let (reader, writer) = tokio::io::split(theirs);
    let serving = tokio::spawn(async move { server.serve(reader, writer).await });
    write_frame(&mut reads, &request(digest, 0, 100), &[])
        .await
        .unwrap();
    reads.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within(reads.read_to_end(&mut answer)).await.unwrap();
    let Served::Sent(bytes) = serving.await.unwrap().unwrap() else {
        panic!("refused");
    };
    assert!(bytes > 100 * 16_384);
}
