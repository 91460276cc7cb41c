//! Start of a 20 MB component from the code cache beside compiling it, in one run.
//!
//! `cargo bench -p hypermesh-benches --bench compile`

#[path = "runtime_table.rs"]
#[expect(
    dead_code,
    reason = "shared with the bench of calls, which uses the rest"
)]
mod runtime_table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime::{
    Breach, CallRecord, CodeCache, CodeStore, Denial, LogStream, Observer, Profile, ReplicaConfig,
    ReplicaId, Runtime, RuntimeConfig,
};
use runtime_table::{Row, print};
use storage::FileCache;
use types::{ComponentKind, ComponentSpec, Digest, Name};

type Failure = Box<dyn std::error::Error>;

/// Size of the component, and of each of its functions.
const COMPONENT_BYTES: usize = 20_000_000;
const FUNCTION_BYTES: usize = 1_000;
/// Starts of each kind; the middle one counts.
const COMPILES: usize = 3;
const LOADS: usize = 9;
/// Largest cache: everything fits.
const CACHE_BYTES_MAX: u64 = 1 << 30;

struct Silent;

impl Observer for Silent {
    fn log(&self, _: LogStream, _: &[u8]) {}
    fn breach(&self, _: Breach) {}
    fn denied(&self, _: Denial) {}
    fn call(&self, _: CallRecord) {}
}

/// The cache of a node, which counts what is stored.
struct Files {
    cache: FileCache,
    stored: AtomicUsize,
}

impl CodeStore for Files {
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.cache.load(name).ok().flatten()
    }

    fn store(&self, name: &str, parts: &[&[u8]]) {
        if self.cache.store(name, parts).is_ok() {
            self.stored.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn remove(&self, name: &str) {
        // What stays is refused again.
        let _ = self.cache.remove(name);
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a bench reports to the terminal")]
async fn main() -> Result<(), Failure> {
    let bytes = component();
    look(&bytes)?;
    let (mut compiled, mut loaded) = (Vec::new(), Vec::new());
    for round in 0..COMPILES {
        let folder = tempfile::tempdir()?;
        let files = || -> Result<Arc<Files>, Failure> {
            Ok(Arc::new(Files {
                cache: FileCache::open(folder.path(), CACHE_BYTES_MAX)?,
                stored: AtomicUsize::new(0),
            }))
        };
        let store = files()?;
        compiled.push(start(&store, &bytes, 0).await?);
        while store.stored.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..LOADS.div_ceil(COMPILES) {
            loaded.push(start(&files()?, &bytes, 1).await?);
        }
        if round == 0 {
            let code = store.cache.bytes() / 1_000_000;
            println!(
                "{} MB of component, {code} MB of machine code\n",
                bytes.len() / 1_000_000
            );
        }
    }
    let [compiled, loaded] = [compiled, loaded].map(middle);
    print(&[
        Row::new("compile::start/code=compiled".to_owned(), compiled),
        Row::new("compile::start/code=cached".to_owned(), loaded),
    ]);
    let ratio = compiled.as_secs_f64() / loaded.as_secs_f64();
    println!("compiling takes {ratio:.0} times as long as loading");
    Ok(())
}

/// What picking a profile takes, beside validating all that is in the component.
fn look(bytes: &[u8]) -> Result<(), Failure> {
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let spec = ComponentSpec::new(
        Name::new("bench")?,
        ComponentKind::Library,
        Digest::of(bytes),
    );
    let (mut whole, mut types) = (Vec::new(), Vec::new());
    for _ in 0..COMPILES {
        let begun = Instant::now();
        runtime.inspect(bytes)?;
        whole.push(begun.elapsed());
        let begun = Instant::now();
        runtime.profile(bytes, &spec)?;
        types.push(begun.elapsed());
    }
    print(&[
        Row::new("compile::look/at=everything".to_owned(), middle(whole)),
        Row::new("compile::look/at=types".to_owned(), middle(types)),
    ]);
    Ok(())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Time from the bytes in memory to a replica that takes calls, in a runtime that never saw them.
async fn start(store: &Arc<Files>, bytes: &[u8], hits: u64) -> Result<Duration, Failure> {
    let code = CodeCache::new(Arc::clone(store) as Arc<dyn CodeStore>, &[7; 32]);
    let runtime = Runtime::with_code_cache(RuntimeConfig::default(), code)?;
    let (artifact, owned) = (Digest::of(bytes), bytes.to_vec());
    let begun = Instant::now();
    let compiled = runtime.compile(artifact, owned, Profile::Fast).await?;
    let name = Name::new("bench")?;
    let config = ReplicaConfig {
        id: ReplicaId {
            workload: name.clone(),
            component: name.clone(),
            index: 0,
        },
        spec: ComponentSpec::new(name, ComponentKind::Library, artifact),
        compiled,
        preopens: Vec::new(),
        services: runtime::Services::default(),
        observer: Arc::new(Silent),
    };
    let replica = runtime.replica(config).await?;
    let time = begun.elapsed();
    drop(replica);
    if runtime.compile_stats().cache_hits != hits {
        return Err("the code cache did not do what is measured".into());
    }
    Ok(time)
}

/// A component around one module of many functions, each some arithmetic, loads, stores, branches
/// and a call. Written as bytes: its text would be larger than the assembler takes.
fn component() -> Vec<u8> {
    let functions = COMPONENT_BYTES / FUNCTION_BYTES;
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type, `(i32 i32) -> i32`; all functions have it; one memory of one page.
    section(&mut module, 1, &[1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f]);
    let mut declared = leb(functions);
    declared.resize(declared.len() + functions, 0);
    section(&mut module, 3, &declared);
    section(&mut module, 5, &[1, 0, 1]);
    let mut code = leb(functions);
    for index in 0..functions {
        let body = function(index);
        code.extend(leb(body.len()));
        code.extend(body);
    }
    section(&mut module, 10, &code);
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(&mut component, 1, &module);
    // One instance of module 0, without arguments.
    section(&mut component, 2, &[1, 0, 0, 0]);
    component
}

/// A body of about [`FUNCTION_BYTES`], other constants in each.
fn function(index: usize) -> Vec<u8> {
    let mut body = vec![0];
    let mut step = index;
    while body.len() < FUNCTION_BYTES - 16 {
        step = step.wrapping_mul(25_173).wrapping_add(13_849) % 65_536;
        let offset = leb(step % 32_768);
        // local0 = (local0 * step) ^ load(local1 & 1023)
        body.extend([0x20, 0, 0x41]);
        body.extend(leb(step % 64));
        body.extend([0x6c, 0x20, 1, 0x41, 63, 0x71, 0x28, 2]);
        body.extend(&offset);
        body.extend([0x73, 0x21, 0]);
        // if local0: store(local1 & 63) = local0, else local1 = local1 + 1
        body.extend([
            0x20, 0, 0x04, 0x40, 0x20, 1, 0x41, 63, 0x71, 0x20, 0, 0x36, 2,
        ]);
        body.extend(&offset);
        body.extend([0x05, 0x20, 1, 0x41, 1, 0x6a, 0x21, 1, 0x0b]);
    }
    // The one before is called, the first calls nobody.
    match index.checked_sub(1) {
        Some(before) => {
            body.extend([0x20, 0, 0x20, 1, 0x10]);
            body.extend(leb(before));
        }
        None => body.extend([0x20, 0]),
    }
    body.push(0x0b);
    body
}

fn section(into: &mut Vec<u8>, id: u8, content: &[u8]) {
    into.push(id);
    into.extend(leb(content.len()));
    into.extend(content);
}

/// Unsigned LEB128. Constants of code that use it are small enough to read the same when signed.
fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
