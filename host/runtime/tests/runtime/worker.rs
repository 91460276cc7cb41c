//! Messages: workers handle one at a time, publishers reach granted topics only, sizes are bounded.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hypermesh_runtime::{
    Breach, CallError, CallKind, CallOutcome, Denial, InvokeError, MESSAGE_BYTES_HELD_MAX,
    MESSAGE_BYTES_MAX, Message, PublishError, Publisher, Services,
};
use types::{Capability, ComponentKind, Millis};

use crate::harness::{Started, guest, runtime, start, try_start_with};

/// Takes so many messages, then is full.
#[derive(Debug)]
struct Inbox {
    taken: Mutex<Vec<Message>>,
    max: usize,
}

impl Publisher for Inbox {
    fn publish(&self, message: Message) -> Result<usize, PublishError> {
        let mut taken = self.taken.lock().unwrap();
        if taken.len() == self.max {
            let subscriber = "shop/mailer".to_owned();
            return Err(PublishError::QueueFull { subscriber });
        }
        taken.push(message);
        Ok(1)
    }
}

/// What the guest answers for `permission-denied` and `other`, and for none.
const PERMISSION_DENIED: &str = "-12";
const OTHER: &str = "-13";
const DONE: &str = "1";

async fn worker(name: &str, inbox: &Arc<Inbox>) -> Started {
    let services = Services {
        publisher: Some(Arc::clone(inbox) as Arc<dyn Publisher>),
        ..Services::default()
    };
    let bytes = guest(&format!("worker/{name}"));
    try_start_with(&runtime(), bytes, Vec::new(), services, |spec| {
        let topics = vec!["echoes".parse().unwrap()];
        spec.capabilities = vec![Capability::Publish { topics }];
        spec.limits.wall_time = Millis::new(300);
    })
    .await
    .unwrap()
}

fn inbox(max: usize) -> Arc<Inbox> {
    let taken = Mutex::default();
    Arc::new(Inbox { taken, max })
}

fn message(data: &'static [u8]) -> Message {
    Message {
        topic: "orders".parse().unwrap(),
        content_type: None,
        metadata: Vec::new(),
        data: Bytes::from_static(data),
    }
}

#[tokio::test]
async fn a_worker_handles_a_message_and_sends_another() {
    let inbox = inbox(10);
    let worker = worker("echo", &inbox).await;
    assert_eq!(worker.replica.kind(), ComponentKind::Worker);
    worker.replica.deliver(message(b"ping")).await.unwrap();
    let sent = inbox.taken.lock().unwrap().clone();
    let expected = Message {
        topic: "echoes".parse().unwrap(),
        metadata: vec![("bus".to_owned(), "bus".to_owned())],
        ..message(b"ping")
    };
    assert_eq!(sent, [expected]);
    let records = worker.seen.records();
    assert_eq!(records.last().unwrap().kind, CallKind::Message);
    assert_eq!(worker.seen.last_outcome(), Some(CallOutcome::Completed));
}

#[tokio::test]
async fn what_a_handler_answers_is_told() {
    let worker = worker("refuse", &inbox(0)).await;
    let error = worker.replica.deliver(message(b"x")).await.unwrap_err();
    let CallError::GuestError { code } = &error else {
        panic!("{error}")
    };
    assert!(code.contains("no thanks"), "{code}");
    assert_eq!(worker.seen.last_outcome(), Some(CallOutcome::Failed(error)));
}

#[tokio::test]
async fn a_handler_that_traps_or_spins_is_ended_and_the_next_one_is_fresh() {
    let trap = worker("trap", &inbox(0)).await;
    for _ in 0..3 {
        let error = trap.replica.deliver(message(b"x")).await.unwrap_err();
        assert!(matches!(error, CallError::Trap { .. }), "{error}");
    }
    let spin = worker("spin", &inbox(0)).await;
    let error = spin.replica.deliver(message(b"x")).await.unwrap_err();
    let limit = Millis::new(300);
    assert_eq!(error, CallError::Breach(Breach::WallTime { limit }));
    assert_eq!(spin.replica.in_flight(), 0);
}

#[tokio::test]
async fn only_granted_topics_are_published_to() {
    let inbox = inbox(10);
    let worker = worker("trap", &inbox).await;
    let send = async |topic: &str| worker.invoke("send", &[topic, "3", "1"]).await.unwrap();
    assert_eq!(send("\"echoes\"").await, DONE);
    assert_eq!(send("\"secrets\"").await, PERMISSION_DENIED);
    assert_eq!(send("\"no topic\"").await, OTHER);
    let topic = "secrets".parse().unwrap();
    assert_eq!(worker.seen.denials(), [Denial::Publish { topic }]);
    assert_eq!(inbox.taken.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_flood_of_messages_ends_with_an_error_of_the_interface() {
    let inbox = inbox(5);
    let worker = worker("trap", &inbox).await;
    let last = worker.invoke("send", &["\"echoes\"", "100", "500"]).await;
    assert_eq!(last.unwrap(), OTHER);
    assert_eq!(inbox.taken.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn messages_are_bounded_one_by_one_and_together() {
    let inbox = inbox(10);
    let worker = worker("trap", &inbox).await;
    let size = MESSAGE_BYTES_MAX.to_string();
    let sent = worker.invoke("send", &["\"echoes\"", &size, "1"]).await;
    assert_eq!(sent.unwrap(), DONE);
    let size = (MESSAGE_BYTES_MAX + 1).to_string();
    let sent = worker.invoke("send", &["\"echoes\"", &size, "1"]).await;
    assert_eq!(sent.unwrap(), OTHER);
    let full = (MESSAGE_BYTES_HELD_MAX / 65_536).to_string();
    worker.invoke("hoard", &["65536", &full]).await.unwrap();
    let error = worker.invoke("hoard", &["65537", &full]).await.unwrap_err();
    let InvokeError::Call(CallError::Host { reason }) = &error else {
        panic!("{error}")
    };
    assert!(reason.contains("held at once"), "{reason}");
}

#[tokio::test]
async fn other_kinds_take_no_messages() {
    let library = start(&runtime(), "library", |_| {}).await;
    let error = library.replica.deliver(message(b"x")).await.unwrap_err();
    let needed = ComponentKind::Worker;
    let found = ComponentKind::Library;
    assert_eq!(error, CallError::WrongKind { found, needed });
}
