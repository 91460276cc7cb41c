//! Operations of several hosts on one region take effect one after the other, each between its
//! beginning and its end. Histories are recorded and judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hypermesh_assets::{AskRegionError, RegionDone, RegionOp, Regions, RemoteRegion};

use crate::nodes::{Host, World};

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

/// Adds as one host by a region of another.
async fn adds_from_afar(time: Arc<AtomicU64>, far: Arc<RemoteRegion>) -> Vec<Seen> {
    adds(time, |operation| {
        let far = Arc::clone(&far);
        async move { far.ask(&operation).await.unwrap() }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn contended_swaps_of_two_hosts_and_the_owner_are_linear() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 64);
    let world = Arc::<World>::default();
    let host = Host::start(&world, owner.clone());
    let time = Arc::<AtomicU64>::default();
    let (mut hosts, mut sessions) = (Vec::new(), Vec::new());
    for number in 2..4 {
        let (session, far) = host.opened_by(&world, number).await;
        sessions.push(session);
        let time = Arc::clone(&time);
        hosts.push(tokio::spawn(adds_from_afar(time, Arc::new(far))));
    }
    hosts.push(tokio::spawn(async move {
        adds(time, |operation| {
            let near = owner.clone();
            async move {
                // As slow as the others, so that all meet.
                tokio::time::sleep(std::time::Duration::from_micros(200)).await;
                near.apply(operation, 1).unwrap()
            }
        })
        .await
    }));
    let mut history = Vec::new();
    for host in hosts {
        history.extend(host.await.unwrap());
    }
    let met = history.iter().filter(|seen| !seen.wrote).count();
    assert!(met > 3, "nobody came between others: nothing was tried");
    judge(history, 3);
}

/// An operation whose host goes away has an answer or none; what was answered is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_host_that_ends_in_mid_operation_loses_nothing_that_it_answered() {
    let regions = Regions::default();
    let owner = crate::region(&regions, 1, 64);
    let world = Arc::<World>::default();
    let host = Host::start(&world, owner.clone());
    let (_session, far) = host.opened_by(&world, 2).await;
    let adding = tokio::spawn(async move {
        let mut answered = 0_u64;
        loop {
            let swap = RegionOp::Swap {
                offset: OFFSET,
                expected: answered.to_le_bytes().to_vec(),
                new: (answered + 1).to_le_bytes().to_vec(),
            };
            match far.ask(&swap).await {
                Ok(RegionDone::Swapped) => answered += 1,
                other => return (answered, other),
            }
        }
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    host.endpoint.close("gone").await;
    let (answered, last) = adding.await.unwrap();
    assert!(matches!(last, Err(AskRegionError::Lost(_))), "{last:?}");
    let read = RegionOp::Read {
        offset: OFFSET,
        bytes: 8,
    };
    let Ok(RegionDone::Read(found)) = owner.apply(read, 1) else {
        panic!("it reads");
    };
    let found = u64::from_le_bytes(found.try_into().unwrap());
    assert!(
        answered > 0 && (answered..=answered + 1).contains(&found),
        "{answered}, {found}"
    );
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
