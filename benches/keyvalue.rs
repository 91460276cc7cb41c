//! `cargo bench -p hypermesh-benches --bench keyvalue`: how long a get and a set take as a guest on
//! a whole node sees them, beside the same operations on a store that is called directly.
//!
//! Both stores are in folders of one file system, and each set is on disk before it returns. The
//! guest takes the time of each call itself; the node's calls into it are not counted. Rounds
//! alternate, and percentiles are over all of them.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::time::{Duration, Instant};

use hypermesh_benches::{Fabric, Failure, guest_component, percentile, table};
use storage::{KeyValues, Stores};
use types::{ByteSize, Capability, ComponentKind, ComponentSpec, Digest, Millis, Name};

const ROUNDS: usize = 5;
/// Keys of one round, each set once and then read once.
const KEYS: u32 = 1_000;
const VALUE_BYTES: [u32; 3] = [100, 4_096, 65_536];
/// Far more than all values together.
const QUOTA: ByteSize = ByteSize::mib(512);
/// Far more than a round takes.
const WALL_TIME: Millis = Millis::seconds(600);
const WORKLOAD: &str = "timed";
const BUCKET: &str = "timed";

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(compare())
}

async fn compare() -> Result<(), Failure> {
    let guest = Guest::start().await?;
    let folder = tempfile::tempdir()?;
    let stores = Stores::open(folder.path())?;
    let mut rows = Vec::new();
    for bytes in VALUE_BYTES {
        // Direct get, direct set, the guest's get, the guest's set.
        let mut times: [Vec<Duration>; 4] = Default::default();
        for _ in 0..ROUNDS {
            let keyvalues = stores.keyvalues().clone();
            let direct = tokio::task::spawn_blocking(move || direct(&keyvalues, bytes));
            let (gets, sets) = direct.await??;
            let written = guest.times("set", &[KEYS, bytes]).await?;
            let read = guest.times("get", &[KEYS]).await?;
            for (all, round) in times.iter_mut().zip([gets, sets, read, written]) {
                all.extend(round);
            }
        }
        let mut baseline = [Duration::ZERO; 2];
        for (at, mut samples) in times.into_iter().enumerate() {
            let operation = ["get", "set"][at % 2];
            let by = ["direct", "guest"][at / 2];
            let p50 = percentile(&mut samples, 500);
            if by == "direct" {
                baseline[at % 2] = p50;
            }
            rows.push(vec![
                format!("keyvalue::{operation}/bytes={bytes}/by={by}"),
                us(p50),
                us(percentile(&mut samples, 990)),
                format!("{:.2}", p50.as_secs_f64() / baseline[at % 2].as_secs_f64()),
            ]);
        }
    }
    let head = ["bench", "p50 us", "p99 us", "p50 of direct"];
    println!("{}", table(&head, &rows));
    Ok(())
}

/// Microseconds with one decimal.
fn us(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e6)
}

/// Each get and each set of one round.
type Round = (Vec<Duration>, Vec<Duration>);

fn direct(keyvalues: &KeyValues, bytes: u32) -> Result<Round, Failure> {
    let value = vec![0; usize::try_from(bytes)?];
    let (mut gets, mut sets) = (Vec::new(), Vec::new());
    for key in 0..KEYS {
        let (key, value) = (format!("{key:05}"), value.clone());
        let begun = Instant::now();
        keyvalues.set(WORKLOAD, BUCKET, &key, value, QUOTA.as_u64())?;
        sets.push(begun.elapsed());
    }
    for key in 0..KEYS {
        let key = format!("{key:05}");
        let begun = Instant::now();
        let found = keyvalues.get(WORKLOAD, BUCKET, &key)?;
        gets.push(begun.elapsed());
        if found.map(|found| found.len()) != Some(value.len()) {
            return Err(format!("{key} is not what was set").into());
        }
    }
    Ok((gets, sets))
}

/// The guest on a node of this process.
struct Guest {
    fabric: Fabric,
    name: Name,
}

impl Guest {
    async fn start() -> Result<Self, Failure> {
        let fabric = Fabric::start().await?;
        let name = Name::new(WORKLOAD)?;
        let component = guest_component(include_str!("keyvalue/timed.wat"));
        let artifact = Digest::of(&component);
        let kind = ComponentKind::Library;
        let mut spec = ComponentSpec::new(name.clone(), kind, artifact);
        spec.capabilities = vec![Capability::Keyvalue { quota: QUOTA }];
        spec.limits.wall_time = WALL_TIME;
        let spec = types::WorkloadSpec {
            name: name.clone(),
            components: vec![spec],
        };
        fabric.deploy(spec, component).await?;
        Ok(Self { fabric, name })
    }

    /// The times that one call of the guest took, one by one.
    async fn times(&self, export: &str, arguments: &[u32]) -> Result<Vec<Duration>, Failure> {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let listed = self.fabric.invoke(&self.name, export, arguments).await?;
        let listed = listed.trim_start_matches('[').trim_end_matches(']');
        let nanoseconds = listed.split(", ").map(str::parse);
        let times: Result<Vec<u64>, _> = nanoseconds.collect();
        Ok(times?.into_iter().map(Duration::from_nanos).collect())
    }
}
