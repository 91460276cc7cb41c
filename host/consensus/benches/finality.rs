//! Time from submit to finality, beside the cost of a bare flush on the same disk in the same
//! run; and, when asked, what an idle ledger costs. Prints and asserts nothing.
//!
//! `cargo bench -p hypermesh-consensus -- [--dir DIR] [--idle-seconds N] [--heartbeat-seconds N]`

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer as _, SigningKey};
use futures::future::try_join_all;
use hypermesh_consensus::{Config, Ledger, Retention, SecretKey, start};
use ledger::{Genesis, Operation, Transaction};
use types::{FabricId, Name, PublicKey, Signature};

/// Flushes and transactions measured, one after the other.
const ROUNDS: u64 = 300;
/// Transactions in flight at once in the batched case.
const BATCH: u64 = 256;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let dir = argument("--dir").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let mut output = io::stdout();
    let flushes = bare_flushes(&dir)?;
    writeln!(
        output,
        "disk::fdatasync/bytes=512                  {}",
        summary(flushes)
    )?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(&dir.join("consensus"), &mut output))
}

async fn measure(dir: &Path, output: &mut impl Write) -> Result<(), Failure> {
    let signer = Operator::new()?;
    let began = Instant::now();
    let (ledger, snapshot, mut stream) = start(signer.config(dir)?).await?;
    writeln!(
        output,
        "ledger::start/height={}                     {:?}",
        snapshot.height,
        began.elapsed()
    )?;
    tokio::spawn(async move { while stream.recv().await.is_some() {} });

    let mut times = Vec::new();
    for nonce in 0..ROUNDS {
        let transaction = signer.sign(nonce)?;
        let handed_in = Instant::now();
        ledger.submit(transaction).await?;
        times.push(handed_in.elapsed());
    }
    writeln!(
        output,
        "ledger::submit_to_final/in_flight=1        {}",
        summary(times)
    )?;
    batch(&ledger, &signer, output).await?;

    if let Some(seconds) = argument("--idle-seconds") {
        idle(&ledger, Duration::from_secs(seconds.parse()?), output).await?;
    }
    let asked = Instant::now();
    ledger.shutdown().await?;
    writeln!(
        output,
        "ledger::shutdown                           {:?}",
        asked.elapsed()
    )?;
    let bytes = size_of_dir(dir)?;
    writeln!(
        output,
        "disk used                                  {} kB for {} blocks",
        bytes / 1000,
        ledger.status().height
    )?;
    let began = Instant::now();
    let (ledger, snapshot, _stream) = start(signer.config(dir)?).await?;
    writeln!(
        output,
        "ledger::start/height={}                   {:?}",
        snapshot.height,
        began.elapsed()
    )?;
    ledger.shutdown().await?;
    Ok(())
}

async fn batch(ledger: &Ledger, signer: &Operator, output: &mut impl Write) -> Result<(), Failure> {
    let signed = (0..BATCH)
        .map(|index| signer.sign(ROUNDS + index))
        .collect::<Result<Vec<_>, _>>()?;
    let before = ledger.status().height;
    let handed_in = Instant::now();
    try_join_all(
        signed
            .into_iter()
            .map(|transaction| ledger.submit(transaction)),
    )
    .await?;
    let (took, blocks) = (handed_in.elapsed(), ledger.status().height - before);
    let rate = f64::from(u32::try_from(BATCH)?) / took.as_secs_f64();
    writeln!(
        output,
        "ledger::submit_to_final/in_flight={BATCH}      {took:?} in {blocks} blocks, {rate:.0}/s"
    )?;
    Ok(())
}

/// Processor time and bytes written by this whole process while nothing is submitted.
async fn idle(ledger: &Ledger, time: Duration, output: &mut impl Write) -> Result<(), Failure> {
    // What the work before left to be written is not the idle ledger's.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (cpu, written, height) = (cpu_ticks()?, bytes_written()?, ledger.status().height);
    tokio::time::sleep(time).await;
    let ticks = f64::from(u32::try_from(cpu_ticks()? - cpu)?);
    let written = bytes_written()? - written;
    let (blocks, seconds) = (ledger.status().height - height, time.as_secs());
    let share = ticks / TICKS_PER_SECOND / time.as_secs_f64() * 100.0;
    writeln!(
        output,
        "ledger::idle/seconds={seconds}                      {share:.2} % of a core, {written} bytes \
         written, {blocks} blocks, {} rounds without one",
        ledger.status().nullified
    )?;
    Ok(())
}

fn bare_flushes(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join("flushes");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        file.write_all(&[7; 512])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(path)?;
    Ok(times)
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len().saturating_sub(1)) * share / 100);
    let ms = |share| at(share).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    format!("p50 {:.2} ms   p99 {:.2} ms", ms(50), ms(99))
}

/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of this process, in clock ticks: fields 14 and 15 of proc(5) stat.
fn cpu_ticks() -> Result<u64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat
        .rsplit_once(')')
        .ok_or("an unknown form of /proc/self/stat")?
        .1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let field = |index: usize| fields.get(index).ok_or("a short /proc/self/stat");
    Ok(field(11)?.parse::<u64>()? + field(12)?.parse::<u64>()?)
}

fn bytes_written() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/io")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("no write_bytes in /proc/self/io")?.parse()?)
}

fn size_of_dir(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.metadata()? {
            meta if meta.is_dir() => size_of_dir(&entry.path())?,
            meta => meta.blocks() * 512,
        };
    }
    Ok(bytes)
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

/// The fabric's one operator; its node is the fabric's one validator.
struct Operator {
    key: SigningKey,
    genesis: Genesis,
}

impl Operator {
    fn new() -> Result<Self, Failure> {
        let key = SigningKey::from_bytes(&[2; 32]);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)?
            .as_millis()
            .try_into()?;
        let node = SecretKey::from([1; 32]).public_key();
        let operator = PublicKey::from_bytes(key.verifying_key().to_bytes());
        let genesis = Genesis::new(now, [0; 16], vec![node], vec![node], vec![operator])?;
        Ok(Self { key, genesis })
    }

    fn config(&self, dir: &Path) -> Result<Config, Failure> {
        let heartbeat = argument("--heartbeat-seconds")
            .map(|text| text.parse())
            .transpose()?;
        Ok(Config {
            data_dir: dir.to_owned(),
            secret_key: SecretKey::from([1; 32]),
            genesis: self.genesis.clone(),
            rules: ledger::KnownRules::RELEASED,
            heartbeat: heartbeat.map_or(Config::HEARTBEAT, Duration::from_secs),
            sync_beyond_blocks: Config::SYNC_BEYOND_BLOCKS,
            retention: Retention::USUAL,
            links: None,
        })
    }

    /// The smallest transaction: it spends a nonce and is refused for the rest.
    fn sign(&self, nonce: u64) -> Result<Vec<u8>, Failure> {
        let fabric: FabricId = self.genesis.fabric_id();
        let principal = PublicKey::from_bytes(self.key.verifying_key().to_bytes());
        let operation = Operation::Stop {
            workload: Name::new("shop")?,
        };
        let transaction = Transaction {
            fabric,
            principal,
            nonce,
            expires_at: u64::MAX,
            operation,
        };
        let signature = self.key.sign(&transaction.signing_bytes()).to_bytes();
        Ok(transaction.encode_signed(&Signature::from_bytes(signature)))
    }
}
