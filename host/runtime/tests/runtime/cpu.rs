//! `hypermesh:assets/cpu`: what guests see of leased processors, what a greedy one gets, that what they
//! had comes back however they end; and that calls which share processors keep within the share.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hypermesh_runtime::{
    AssetError, Awaited, BUDGETS_OPEN_MAX, Breach, CallError, Checkpoint, CheckpointError,
    Checkpoints, Cpu, CpuBudget, CpuCall, CpuCallError, CpuOutcome, CpuShare, CpuUsage,
    ImportRefusal, InvokeError, LEASED_CALLS_MAX, ReplicaState, Services, StartReplicaError,
    Within,
};
use tokio::sync::Semaphore;
use types::{Capability, ComponentSpec, Millis};

use crate::harness::{Started, eventually, guest, runtime, start, try_start, try_start_with};

/// Processors whose calls end when the test lets them.
#[derive(Debug)]
struct Bank {
    ends: Arc<Semaphore>,
    budgets: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    called: Arc<Mutex<Option<CpuCall>>>,
}

#[derive(Debug)]
struct Budget {
    millicores: u32,
    ends: Arc<Semaphore>,
    budgets: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    called: Arc<Mutex<Option<CpuCall>>>,
}

/// Counts as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.budgets.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Bank {
    fn new(ends: usize) -> Arc<Self> {
        Arc::new(Self {
            ends: Arc::new(Semaphore::new(ends)),
            budgets: Arc::default(),
            running: Arc::default(),
            called: Arc::default(),
        })
    }

    fn budgets(&self) -> usize {
        self.budgets.load(Ordering::SeqCst)
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

impl Cpu for Bank {
    fn allocate(&self, millicores: u32, _: u64) -> Awaited<Arc<dyn CpuBudget>> {
        self.budgets.fetch_add(1, Ordering::SeqCst);
        let budget = Budget {
            millicores,
            ends: Arc::clone(&self.ends),
            budgets: Arc::clone(&self.budgets),
            running: Arc::clone(&self.running),
            called: Arc::clone(&self.called),
        };
        async move { Ok(Arc::new(budget) as Arc<dyn CpuBudget>) }.boxed()
    }
}

impl CpuBudget for Budget {
    fn run(&self, call: CpuCall) -> BoxFuture<'static, Result<CpuOutcome, CpuCallError>> {
        let (ends, counted) = (Arc::clone(&self.ends), Counted::new(&self.running));
        let function = call.function.clone();
        *self.called.lock().unwrap() = Some(call);
        async move {
            let _counted = counted;
            ends.acquire().await.unwrap().forget();
            match function.as_str() {
                "trap" => Err(CpuCallError::Failed("it trapped".to_owned())),
                "foreign" => Err(AssetError::Denied("not yours".to_owned()).into()),
                _ => Ok(CpuOutcome {
                    output: "7".to_owned(),
                    fuel: 1,
                    cpu_us: 2,
                    memory_peak_bytes: 3,
                    receipt: vec![4, 5],
                }),
            }
        }
        .boxed()
    }

    fn usage(&self) -> Awaited<CpuUsage> {
        let usage = CpuUsage {
            millicores: self.millicores,
            calls: 1,
            cpu_us: 2,
            fuel: 3,
            left_ms: 4,
        };
        std::future::ready(Ok(usage)).boxed()
    }

    fn renew(&self, _: u64) -> Awaited<()> {
        std::future::ready(Err(AssetError::Ended)).boxed()
    }
}

struct NoDisk;

impl Checkpoints for NoDisk {
    fn load(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        Ok(None)
    }

    fn store(&self, _: &Checkpoint) -> Result<(), CheckpointError> {
        Ok(())
    }
}

fn granted(spec: &mut ComponentSpec) {
    spec.capabilities = vec![Capability::Cpu { millicores: 500 }];
    spec.limits.wall_time = Millis::seconds(30);
}

fn services(cpu: Option<Arc<dyn Cpu>>) -> Services {
    Services {
        cpu,
        state: Some(Arc::new(ReplicaState::new(Arc::new(NoDisk)))),
        ..Services::default()
    }
}

async fn user(bank: &Arc<Bank>) -> Started {
    let services = services(Some(bank.clone()));
    let runtime = runtime();
    let started = try_start_with(&runtime, guest("cpu"), Vec::new(), services, granted);
    started.await.unwrap()
}

async fn call(guest: &Started, export: &str, args: &[&str]) -> String {
    guest.invoke(export, args).await.unwrap()
}

fn wave(function: &str, arguments: &str) -> String {
    format!(
        "{{workload: \"w\", component: \"c\", function: \"{function}\", arguments: [{arguments}], \
         fuel-max: 100, wall-ms-max: 1000}}"
    )
}

const SEVEN: &str =
    "ok({output: \"7\", fuel: 1, cpu-us: 2, memory-peak-bytes: 3, receipt: [4, 5]})";

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_others_run_one_after_the_other_and_several_at_once() {
    let bank = Bank::new(4);
    let guest = user(&bank).await;
    assert_eq!(call(&guest, "allocate", &["250", "10000"]).await, "ok");
    assert_eq!(
        call(&guest, "run", &[&wave("f", "\"1\", \"2\"")]).await,
        SEVEN
    );
    let called = bank.called.lock().unwrap().take();
    let expected = CpuCall {
        workload: "w".to_owned(),
        component: "c".to_owned(),
        function: "f".to_owned(),
        arguments: vec!["1".to_owned(), "2".to_owned()],
        fuel_max: 100,
        wall_ms_max: 1_000,
    };
    assert_eq!(called, Some(expected));
    let failed = call(&guest, "run", &[&wave("trap", "")]).await;
    assert_eq!(failed, "err(failed(\"it trapped\"))");
    let denied = call(&guest, "run", &[&wave("foreign", "")]).await;
    assert_eq!(denied, "err(denied(\"not yours\"))");
    let usage = "ok({millicores: 250, calls: 1, cpu-us: 2, fuel: 3, left-ms: 4})";
    assert_eq!(call(&guest, "usage", &[]).await, usage);
    assert_eq!(call(&guest, "remaining", &[]).await, "ok(4)");
    assert_eq!(call(&guest, "renew", &["20000"]).await, "err(ended)");
    for number in ["ok(0)", "ok(1)"] {
        assert_eq!(call(&guest, "start", &[&wave("f", "")]).await, number);
    }
    assert_eq!(call(&guest, "wait", &["0"]).await, SEVEN);
    let told = call(&guest, "wait", &["0"]).await;
    assert!(told.starts_with("err(invalid("), "{told}");
    // One that waits is stopped by its handle, and keeps its budget so long.
    eventually("it runs", || bank.running() == 1).await;
    call(&guest, "close", &[]).await;
    assert_eq!(bank.budgets(), 1);
    call(&guest, "stop", &["1"]).await;
    eventually("nothing runs", || bank.running() == 0).await;
    eventually("nothing is left", || bank.budgets() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_grant_it_is_refused_and_without_cpu_unavailable() {
    let runtime = runtime();
    let refused = try_start(&runtime, guest("cpu"), Vec::new(), |_| ()).await;
    let Err(StartReplicaError::Imports(refusals)) = refused.map(|_| ()) else {
        panic!("no grant, no start");
    };
    let line = "capabilities.cpu = MILLICORES";
    assert!(matches!(
        refusals.as_slice(),
        [ImportRefusal::NotGranted { line: found, .. }] if *found == line
    ));
    let alone = try_start_with(&runtime, guest("cpu"), Vec::new(), services(None), granted);
    let said = call(&alone.await.unwrap(), "allocate", &["1", "10000"]).await;
    assert!(said.starts_with("err(unavailable("), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_and_calls_that_are_hoarded_are_bounded_and_stop_with_their_instance() {
    let bank = Bank::new(0);
    let guest = user(&bank).await;
    let most = BUDGETS_OPEN_MAX.to_string();
    assert_eq!(call(&guest, "hoard", &["1", "10000", "1000"]).await, most);
    assert_eq!(bank.budgets(), BUDGETS_OPEN_MAX);
    for _ in 0..LEASED_CALLS_MAX {
        let said = call(&guest, "start", &[&wave("f", "")]).await;
        assert!(said.starts_with("ok("), "{said}");
    }
    let full = call(&guest, "run", &[&wave("f", "")]).await;
    assert!(full.starts_with("err(quota("), "{full}");
    eventually("they run", || bank.running() == LEASED_CALLS_MAX).await;
    // However it ends.
    guest.invoke("trap", &[]).await.unwrap_err();
    eventually("nothing runs", || bank.running() == 0).await;
    eventually("all are dropped", || bank.budgets() == 0).await;
    assert_eq!(call(&guest, "allocate", &["1", "10000"]).await, "ok");
    let long = vec![format!("\"{}\"", "x".repeat(1_000)); 70].join(", ");
    let said = call(&guest, "run", &[&wave("f", &long)]).await;
    assert!(said.starts_with("err(invalid("), "{said}");
    drop(guest);
    eventually("the replica is gone", || bank.budgets() == 0).await;
}

/// A deterministic component, and how it is called under a share.
async fn spinner() -> Started {
    start(&runtime(), "deterministic", |spec| {
        spec.deterministic_seed = Some(7);
    })
    .await
}

fn within(share: &Arc<CpuShare>, wall: Millis) -> Within {
    Within {
        fuel_max: NonZeroU64::MAX,
        wall_max: wall,
        share: Arc::clone(share),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_calls_at_once_under_a_share_keep_within_it_together() {
    let guest = spinner().await;
    let wall = Millis::new(2_000);
    let share = Arc::new(CpuShare::new(250, Instant::now()));
    let long = || {
        let args = vec![u32::MAX.to_string()];
        guest
            .replica
            .invoke_within("run", args, within(&share, wall))
    };
    let (one, other) = tokio::join!(long(), long());
    for end in [one, other] {
        let error = end.unwrap_err();
        assert!(
            matches!(
                &error,
                InvokeError::Call(CallError::Breach(Breach::WallTime { limit })) if *limit == wall
            ),
            "{error}"
        );
    }
    let records = guest.seen.records();
    let [.., one, other] = records.as_slice() else {
        panic!("two calls");
    };
    let used = share.used();
    assert_eq!((used.calls, used.cpu), (2, one.cpu + other.cpu));
    // A quarter of what the longer of both took, counted in cpu time; alone, each would have used
    // up to all of it.
    let due = one.wall.max(other.wall) / 4;
    assert!(
        used.cpu < due + Duration::from_millis(100),
        "{used:?} of {due:?}"
    );
    assert!(used.cpu > Duration::from_millis(10), "{used:?} of {due:?}");
    for record in [one, other] {
        assert!(
            record.cpu > Duration::from_millis(1),
            "each has its turn: {record:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_keeps_within_its_own_fuel_and_gives_what_it_gives_elsewhere() {
    let guest = spinner().await;
    let share = Arc::new(CpuShare::new(1_000, Instant::now()));
    let args = || vec!["20000".to_owned()];
    let plain = guest.replica.invoke_counted("run", &args()).await.unwrap();
    let bounds = within(&share, Millis::seconds(30));
    let (shared, cpu) = guest
        .replica
        .invoke_within("run", args(), bounds.clone())
        .await
        .unwrap();
    assert_eq!(shared, plain);
    let used = share.used();
    assert_eq!((used.cpu, Some(used.fuel)), (cpu, plain.fuel_used));
    let fuel_max = NonZeroU64::new(plain.fuel_used.unwrap() / 2).unwrap();
    let bounds = Within { fuel_max, ..bounds };
    let less = guest.replica.invoke_within("run", args(), bounds).await;
    let error = less.unwrap_err();
    assert!(
        matches!(
            &error,
            InvokeError::Call(CallError::Breach(Breach::Fuel { limit })) if *limit == fuel_max.get()
        ),
        "{error}"
    );
    assert_eq!(share.used().calls, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_with_state_is_not_called_under_a_share() {
    let bank = Bank::new(0);
    let guest = user(&bank).await;
    let share = Arc::new(CpuShare::new(1_000, Instant::now()));
    let bounds = within(&share, Millis::seconds(1));
    let refused = guest
        .replica
        .invoke_within("close", Vec::new(), bounds)
        .await;
    assert_eq!(refused.unwrap_err(), InvokeError::Stateful);
}
