//! Operations of several hosts on one region take effect one after the other, each between its
//! beginning and its end. Histories are recorded and judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hypermesh_assets::{RegionAccess, RegionDone, RegionOp, Regions, RemoteRegion, serve_region};

const OFFSET: u64 = 40;
const ADDS_EACH: u64 = 150;

/// What one host saw: the counter had `value` at some moment between `began` and `ended`.
#[derive(Debug, Clone, Copy)]
struct Seen {
    began: u64,
    ended: u64,
    value: u64,
    /// Whether it put `value` there, in place of the one before.
    wrote: bool,
}

/// One host: adds one, again and again, by comparing and swapping; what it saw.
async fn adds<Doing>(time: Arc<AtomicU64>, mut doing: impl FnMut(RegionOp) -> Doing) -> Vec<Seen>
where
    Doing: Future<Output = RegionDone>,
{
    let now = || time.fetch_add(1, Ordering::SeqCst);
    let (mut seen, mut known) = (Vec::new(), 0);
    let mut added = 0;
    while added < ADDS_EACH {
        let began = now();
        let done = doing(RegionOp::Swap {
            offset: OFFSET,
            expected: u64::to_le_bytes(known).to_vec(),
            new: u64::to_le_bytes(known + 1).to_vec(),
        });
        let (value, wrote) = match done.await {
            RegionDone::Swapped => (known + 1, true),
            RegionDone::Found(found) => (u64::from_le_bytes(found.try_into().unwrap()), false),
            other => panic!("{other:?}"),
        };
        let ended = now();
        added += u64::from(wrote);
        known = value;
        seen.push(Seen {
            began,
            ended,
            value,
            wrote,
        });
    }
    seen
}

/// Values only grow, and each is written once. So there is an order of effects exactly if nothing that
/// began after another had ended saw an older value, and writes that did so are newer.
fn judge(mut history: Vec<Seen>, hosts: u64) {
    let mut written: Vec<u64> = history
        .iter()
        .filter(|seen| seen.wrote)
        .map(|seen| seen.value)
        .collect();
    written.sort_unstable();
    assert_eq!(written, (1..=hosts * ADDS_EACH).collect::<Vec<_>>());
    history.sort_by_key(|seen| seen.began);
    let mut ended: Vec<Seen> = history.clone();
    ended.sort_by_key(|seen| seen.ended);
    let (mut newest, mut before) = (0, ended.into_iter().peekable());
    for seen in history {
        while let Some(earlier) = before.next_if(|earlier| earlier.ended < seen.began) {
            newest = newest.max(earlier.value);
        }
        assert!(seen.value >= newest, "{seen:?} after {newest} was there");
        assert!(
            !seen.wrote || seen.value > newest,
            "{seen:?} after {newest}"
        );
    }
}

/// A host of its own: the region over a stream.
async fn remote(access: RegionAccess) -> RemoteRegion {
    let (near, far) = tokio::io::duplex(512);
    let (reader, writer) = tokio::io::split(far);
    tokio::spawn(async move { serve_region(reader, writer, |_| async { Ok(access) }, || 1).await });
    let (reader, writer) = tokio::io::split(near);
    RemoteRegion::open(reader, writer, Vec::new())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn contended_swaps_of_two_hosts_and_the_owner_are_linear() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 64);
    let time = Arc::<AtomicU64>::default();
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let far = Arc::new(remote(owner.clone()).await);
        let time = Arc::clone(&time);
        hosts.push(tokio::spawn(async move {
            adds(time, |operation| {
                let far = Arc::clone(&far);
                async move { far.ask(&operation).await.unwrap() }
            })
            .await
        }));
    }
    hosts.push(tokio::spawn(async move {
        adds(time, |operation| {
            let near = owner.clone();
            async move {
                tokio::task::yield_now().await;
                near.apply(operation, 1).unwrap()
            }
        })
        .await
    }));
    let mut history = Vec::new();
    for host in hosts {
        history.extend(host.await.unwrap());
    }
    judge(history, 3);
}

/// The judge itself: a lost update and a stale view are noticed.
#[test]
fn histories_that_are_not_linear_are_objected_to() {
    let one = |began, ended, value, wrote| Seen {
        began,
        ended,
        value,
        wrote,
    };
    let writes = || (1..=ADDS_EACH).map(|value| one(value * 2, value * 2 + 1, value, true));
    judge(writes().collect(), 1);
    let objects = |extra: Seen| {
        let history: Vec<_> = writes().chain([extra]).collect();
        std::panic::catch_unwind(|| judge(history, 1)).is_err()
    };
    assert!(!objects(one(0, 1_000, 3, false)), "some moment in between");
    assert!(objects(one(900, 901, 3, false)), "stale");
    assert!(objects(one(0, 1, 3, true)), "written twice");
}
