//! Calls that compute for long leave the threads on which others wait.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use types::Millis;

use crate::harness::{runtime, start};

fn spent(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Everything that the test's own runtime polls, it polls on this thread.
#[tokio::test(flavor = "current_thread")]
async fn a_call_that_computes_for_long_goes_on_on_other_threads() {
    let runtime = runtime();
    let spinner = start(&runtime, "command/spin", |spec| {
        spec.limits.wall_time = Millis::seconds(600);
    })
    .await;
    let running = spinner.replica.clone();
    let run = tokio::spawn(async move { running.run().await });
    let (here, all) = (ClockId::ThreadCPUTime, ClockId::ProcessCPUTime);
    let before = (spent(here), spent(all));
    while spent(all) - before.1 < Duration::from_millis(500) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (here, all) = (spent(here) - before.0, spent(all) - before.1);
    assert!(here < all / 2, "{here:?} of {all:?} on this thread");
    spinner.replica.stop();
    assert!(run.await.unwrap().is_err());
}

#[tokio::test]
async fn a_call_ends_as_ever_on_the_threads_that_it_was_moved_to() {
    let runtime = runtime();
    let limit = Millis::new(100);
    let spinner = start(&runtime, "command/spin", |spec| {
        spec.limits.wall_time = limit;
    })
    .await;
    let error = spinner.replica.run().await.unwrap_err();
    assert!(
        error.to_string().contains("wall time limit of 100ms"),
        "{error}"
    );
    let abandoned = spinner.replica.clone();
    let call = async move { abandoned.run().await };
    // Dropped in the middle.
    assert!(
        tokio::time::timeout(Duration::from_millis(50), call)
            .await
            .is_err()
    );
    tokio::time::timeout(Duration::from_secs(30), async {
        while spinner.replica.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the guest goes when its caller does");
}
