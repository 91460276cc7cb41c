//! What the runtime costs beside bare wasmtime with the same configuration, in one run.
//!
//! `cargo bench -p hypermesh-benches --bench runtime`

mod runtime_bare;
mod runtime_table;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::{
    Breach, CallRecord, Denial, LogStream, Observer, Profile, Replica, ReplicaConfig, ReplicaId,
    Runtime, RuntimeConfig, assemble_text,
};
use runtime_bare::Bare;
use runtime_table::{Row, print, quantile};
use types::{ComponentKind, ComponentSpec, Digest, Limits, Millis, Name, RestartPolicy};

type Failure = Box<dyn std::error::Error>;

/// `touch` writes to four pages, as a small request does; `count` is a loop so tight that what
/// a limit adds to every turn shows: the worst case.
const GUEST: &str = r#"
(component
  (core module $main
    (memory 4)
    (func (export "touch") (param i32 i32) (result i32)
      (i32.store (i32.const 0) (local.get 0))
      (i32.store (i32.const 65536) (local.get 1))
      (i32.store (i32.const 131072) (local.get 0))
      (i32.store (i32.const 196608) (local.get 1))
      (i32.add (local.get 0) (local.get 1)))
    (func (export "count") (param $left i64) (result i64)
      (local $sum i64)
      (loop $more
        (local.set $sum (i64.xor (i64.add (local.get $sum) (i64.const 7)) (local.get $left)))
        (local.set $left (i64.sub (local.get $left) (i64.const 1)))
        (br_if $more (i64.ne (local.get $left) (i64.const 0))))
      (local.get $sum)))
  (core instance $main (instantiate $main))
  (func $touch (param "a" u32) (param "b" u32) (result u32)
    (canon lift (core func $main "touch")))
  (func $count (param "n" u64) (result u64) (canon lift (core func $main "count")))
  (export "touch" (func $touch))
  (export "count" (func $count)))
"#;

/// Calls of one batch; batches of the compared sides alternate, so that both see the same machine.
const BATCH: usize = 500;
const BATCHES: usize = 40;
/// Iterations of the hot loop, and how often it is run.
const LOOP: u64 = 50_000_000;
const LOOP_RUNS: usize = 7;

/// Keeps the cpu time of the last call.
#[derive(Default)]
struct Watch(AtomicU64);

impl Observer for Watch {
    fn log(&self, _: LogStream, _: &[u8]) {}
    fn breach(&self, _: Breach) {}
    fn denied(&self, _: Denial) {}
    fn call(&self, record: CallRecord) {
        let nanos = u64::try_from(record.cpu.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Relaxed);
    }
}

struct Ours {
    replica: Replica,
    watch: Arc<Watch>,
}

impl Ours {
    async fn start(runtime: &Runtime, bytes: &[u8], limits: Limits) -> Result<Self, Failure> {
        let artifact = Digest::of(bytes);
        let spec = ComponentSpec {
            limits,
            restart: RestartPolicy::Never,
            ..ComponentSpec::new(Name::new("bench")?, ComponentKind::Library, artifact)
        };
        let profile = Profile::of(&spec, &runtime.inspect(bytes)?);
        let compiled = runtime.compile(artifact, bytes.to_vec(), profile).await?;
        let watch = Arc::new(Watch::default());
        let observer: Arc<dyn Observer> = watch.clone();
        let component = Name::new("bench")?;
        let id = ReplicaId {
            workload: component.clone(),
            component,
            index: 0,
        };
        let config = ReplicaConfig {
            id,
            spec,
            compiled,
            preopens: Vec::new(),
            services: runtime::Services::default(),
            observer,
        };
        Ok(Self {
            replica: runtime.replica(config).await?,
            watch,
        })
    }

    async fn count(&self) -> Result<Duration, Failure> {
        self.replica.invoke("count", &[LOOP.to_string()]).await?;
        let nanos = self.watch.0.load(Ordering::Relaxed);
        Ok(Duration::from_nanos(nanos))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let bytes = assemble_text(GUEST.as_bytes())?;
    let runtime = Runtime::new(RuntimeConfig::default())?;
    instantiate_call(&runtime, &bytes).await?;
    hot_loop(&runtime, &bytes).await
}

/// From nothing to a result and back. Ours takes text, so the bare side stands there twice: with
/// values, and with the same text.
async fn instantiate_call(runtime: &Runtime, bytes: &[u8]) -> Result<(), Failure> {
    let ours = Ours::start(runtime, bytes, Limits::default()).await?;
    let bare = Bare::new(bytes, true)?;
    let args = ["1".to_owned(), "2".to_owned()];
    let (mut our_times, mut bare_times, mut text_times) = (Vec::new(), Vec::new(), Vec::new());
    for batch in 0..=BATCHES {
        for _ in 0..BATCH {
            let begun = Instant::now();
            bare.touch().await?;
            bare_times.push(begun.elapsed());
        }
        for _ in 0..BATCH {
            let begun = Instant::now();
            bare.touch_text(&args).await?;
            text_times.push(begun.elapsed());
        }
        for _ in 0..BATCH {
            let begun = Instant::now();
            ours.replica.invoke("touch", &args).await?;
            our_times.push(begun.elapsed());
        }
        if batch == 0 {
            // Warm-up.
            (our_times, bare_times, text_times) = (Vec::new(), Vec::new(), Vec::new());
        }
    }
    for (quantile_name, part) in [("p50", 0.50), ("p99", 0.99)] {
        let row = |name: &str, times: &mut [Duration]| {
            let name = format!("runtime::instantiate_call/impl={name} {quantile_name}");
            Row::new(name, quantile(times, part))
        };
        print(&[
            row("bare", &mut bare_times),
            row("bare+text", &mut text_times),
            row("ours", &mut our_times),
        ]);
    }
    Ok(())
}

/// Cpu time of a loop without any limit, then with each; the best of several runs.
async fn hot_loop(runtime: &Runtime, bytes: &[u8]) -> Result<(), Failure> {
    let wall_time = Millis::seconds(600);
    let limits = Limits {
        wall_time,
        ..Limits::default()
    };
    let fuel = NonZeroU64::new(u64::MAX / 2);
    let epochs = Ours::start(runtime, bytes, limits.clone()).await?;
    let share = Ours::start(
        runtime,
        bytes,
        Limits {
            cpu_percent: 50,
            ..limits.clone()
        },
    )
    .await?;
    let metered = Ours::start(runtime, bytes, Limits { fuel, ..limits }).await?;
    let bare = Bare::new(bytes, false)?;
    let mut best = [Duration::MAX; 4];
    for _ in 0..LOOP_RUNS {
        let begun = Instant::now();
        bare.count(LOOP).await?;
        let times = [
            begun.elapsed(),
            epochs.count().await?,
            share.count().await?,
            metered.count().await?,
        ];
        for (best, time) in best.iter_mut().zip(times) {
            *best = time.min(*best);
        }
    }
    let names = ["none", "epochs", "epochs+share", "epochs+fuel"];
    let row =
        |(name, time): (&str, Duration)| Row::new(format!("runtime::hot_loop/limit={name}"), time);
    let rows: Vec<Row> = names.into_iter().zip(best).map(row).collect();
    print(&rows);
    Ok(())
}
