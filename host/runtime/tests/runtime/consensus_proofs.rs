//! `hypermesh:consensus/proofs`: what guests see of proofs, and what a greedy one gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hypermesh_runtime::{
    ImportRefusal, PROOF_BYTES_MAX, ProvenExecution, RequestSpaceError, SPACE_REQUESTS_AT_ONCE_MAX,
    ShownContent, ShownSpace, StartReplicaError,
};
use tokio::sync::Semaphore;
use types::Millis;

use crate::consensus::{Blocks, call, granted, start_guest};
use crate::harness::{eventually, guest, runtime, try_start};

/// Hosts of assets, which answer when the test lets them.
#[derive(Debug)]
pub(crate) struct Hosts {
    answers: Semaphore,
    asked: AtomicUsize,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            answers: Semaphore::new(0),
            asked: AtomicUsize::new(0),
        }
    }
}

impl Hosts {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A proof is the name of its asset.
    pub(crate) async fn show(self: Arc<Self>, asset: String) -> Result<Vec<u8>, RequestSpaceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        match asset.as_str() {
            "" => Err(RequestSpaceError::Invalid("no id".to_owned())),
            "none" => Err(RequestSpaceError::Absent),
            "lost" => Err(RequestSpaceError::NotShown("its disk burned".to_owned())),
            _ => Ok(asset.into_bytes()),
        }
    }
}

fn text(proof: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(proof).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// What the proof of a host shows: contents where its asset is called so.
pub(crate) fn shown(proof: &[u8]) -> Result<ShownSpace, String> {
    let asset = text(proof)?;
    let content = asset.starts_with("kept").then(|| ShownContent {
        root: "r".to_owned(),
        bytes: 5,
    });
    let (host, height) = ("h".to_owned(), 7);
    Ok(ShownSpace {
        asset,
        host,
        height,
        content,
    })
}

/// What the proof of an execution proves: a call with its text.
pub(crate) fn executed(proof: &[u8]) -> Result<ProvenExecution, String> {
    let argument = text(proof)?;
    Ok(ProvenExecution {
        order: "o".to_owned(),
        workload: "w".to_owned(),
        component: "c".to_owned(),
        artifact: "a".to_owned(),
        export: "e".to_owned(),
        arguments: vec![argument, "2".to_owned()],
        result: "3".to_owned(),
        height: 7,
        agreed: vec!["x".to_owned(), "y".to_owned()],
        outvoted: vec!["z".to_owned()],
        silent: Vec::new(),
        draw_checked: true,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_asks_hosts_and_checks_what_they_show() {
    let blocks = Blocks::new(0);
    blocks.hosts.answers.add_permits(5);
    let guest = start_guest("proofs", &blocks, |_| ()).await;
    assert_eq!(
        call(&guest, "shown", &["\"kept\""]).await,
        "ok({asset: \"kept\", host: \"h\", height: 7, content: some({root: \"r\", bytes: 5})})"
    );
    let present = call(&guest, "shown", &["\"cpu\""]).await;
    assert!(
        present.starts_with("ok({asset: \"cpu\"") && !present.contains("root"),
        "{present}"
    );
    assert_eq!(
        call(&guest, "request", &["\"\""]).await,
        "err(invalid(\"no id\"))"
    );
    assert_eq!(call(&guest, "request", &["\"none\""]).await, "err(absent)");
    assert_eq!(
        call(&guest, "request", &["\"lost\""]).await,
        "err(not-shown(\"its disk burned\"))"
    );
    assert_eq!(
        call(&guest, "executed", &["[49]"]).await,
        "ok({order: \"o\", workload: \"w\", component: \"c\", artifact: \"a\", export: \"e\", \
         arguments: [\"1\", \"2\"], result: \"3\", height: 7, agreed: [\"x\", \"y\"], \
         outvoted: [\"z\"], silent: [], draw-checked: true})"
    );
    for check in ["space", "executed"] {
        assert!(call(&guest, check, &["[255]"]).await.starts_with("err("));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_they_are_refused_and_without_a_ledger_unavailable() {
    let refused = try_start(&runtime(), guest("proofs"), Vec::new(), |_| ()).await;
    let Err(StartReplicaError::Imports(refusals)) = refused.map(|_| ()) else {
        panic!("no grant, no start");
    };
    let line = "capabilities.consensus = { records = N }";
    assert!(matches!(
        refusals.as_slice(),
        [ImportRefusal::NotGranted { line: found, .. }] if *found == line
    ));
    let alone = try_start(&runtime(), guest("proofs"), Vec::new(), granted).await;
    let alone = alone.unwrap();
    let said = call(&alone, "request", &["\"kept\""]).await;
    assert!(said.starts_with("err(unavailable("), "{said}");
    for check in ["space", "executed"] {
        let said = call(&alone, check, &["[49]"]).await;
        assert!(said.contains("no ledger"), "{check}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_beyond_the_bound_are_looked_at_by_nobody() {
    let blocks = Blocks::new(0);
    let guest = start_guest("proofs", &blocks, |_| ()).await;
    let more = (PROOF_BYTES_MAX + 1).to_string();
    for check in ["space-zeros", "executed-zeros"] {
        let said = call(&guest, check, &[&more]).await;
        assert!(said.contains("more than a proof may have"), "{said}");
    }
    assert_eq!(*blocks.verified.lock().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_asked_one_at_a_time_also_when_who_asked_is_gone() {
    let blocks = Blocks::new(0);
    let hosts = &blocks.hosts;
    let guest = start_guest("proofs", &blocks, |spec| {
        spec.limits.wall_time = Millis::new(300);
    });
    let guest = Arc::new(guest.await);
    let asking = |_| {
        let guest = Arc::clone(&guest);
        tokio::spawn(async move { guest.invoke("request", &["\"kept\""]).await })
    };
    let calls: Vec<_> = (0..4).map(asking).collect();
    eventually("one host is asked", || hosts.asked() > 0).await;
    for call in calls {
        let ended = call.await.unwrap();
        assert!(ended.is_err(), "no host has answered: {ended:?}");
    }
    // Their instances are gone; what was begun is not, and keeps its turn.
    assert!(guest.invoke("request", &["\"kept\""]).await.is_err());
    assert_eq!(hosts.asked(), SPACE_REQUESTS_AT_ONCE_MAX);
    hosts.answers.add_permits(2);
    let mut said = guest.invoke("request", &["\"kept\""]).await;
    for _ in 0..100 {
        if said.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        said = guest.invoke("request", &["\"kept\""]).await;
    }
    assert_eq!(said.unwrap(), "ok([107, 101, 112, 116])");
    assert_eq!(hosts.asked(), SPACE_REQUESTS_AT_ONCE_MAX + 1);
}
