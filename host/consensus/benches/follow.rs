//! How soon a node that joins late is there: one that executes every block, beside one that takes the
//! state over, after a short and a long history and with larger and larger states; and how soon each
//! starts again. Then what submitting through a follower costs. Prints and asserts nothing.
//!
//! `cargo bench -p hypermesh-consensus --bench follow -- [--dir DIR] [--blocks N] [--entries N,N]`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_consensus::{
    Carrier, Config, Finality, Finalized, Inbound, Ledger, Links, Retention, SecretKey, links,
    start,
};
use ledger::{Genesis, Operation, Refusal, Transaction, TransactionOutcome};
use tokio::sync::{mpsc, watch};
use types::{
    ComponentKind, ComponentSpec, Digest, Name, NodeId, PublicKey, Signature, WorkloadSpec,
};

/// Blocks to catch up on, unless asked otherwise.
const BLOCKS: u64 = 5_000;
/// Transactions measured one after the other on each node.
const ROUNDS: u64 = 200;
/// Entries that the state has in the end, unless asked otherwise.
const ENTRIES: &str = "10000,100000,1000000";
/// Entries of one transaction: replicas of a deployment, as many as it may have.
const ENTRIES_PER_DEPLOYMENT: u16 = ComponentSpec::REPLICAS_MAX;
/// Who signs, in turns: one alone signs no more than `TRANSACTIONS_PER_WINDOW_MAX` in a while. As
/// many as a genesis takes.
const OPERATORS: u8 = 64;
/// How far behind a node may be that takes the state over.
const BEYOND: u64 = 64;
/// The keys of the validator and of the first node that joins late.
const VALIDATOR: u8 = 1;
const FOLLOWERS: u8 = 2;
/// The key of the node that submits.
const SUBMITTER: u8 = 99;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let dir = argument("--dir").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let blocks = argument("--blocks").map_or(Ok(BLOCKS), |text| text.parse())?;
    let entries = argument("--entries").unwrap_or_else(|| ENTRIES.to_owned());
    let entries = entries.split(',').map(str::parse);
    let entries = entries.collect::<Result<Vec<u64>, _>>()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(&dir, blocks, &entries, &mut io::stdout()))
}

async fn measure(
    dir: &Path,
    blocks: u64,
    entries: &[u64],
    output: &mut impl Write,
) -> Result<(), Failure> {
    let cable = Cable::default();
    let signer = Operators::new()?;
    let (validator, _, stream) = {
        let config = signer.config(&dir.join("v"), VALIDATOR, &cable, u64::MAX)?;
        start(config).await?
    };
    drain(stream);
    let mut number = 0;
    // The same state after a short and after a long history, then a large state.
    for (index, until) in [blocks / 4, blocks].into_iter().enumerate() {
        let began = Instant::now();
        let first = validator.status().height;
        while validator.status().height < until {
            counted(validator.submit(signer.sign(number, stop()?)?).await?)?;
            number += 1;
        }
        let height = validator.status().height;
        report(output, "validator::make", height - first, began.elapsed())?;
        let seed = FOLLOWERS + 2 * u8::try_from(index)?;
        late(output, &signer, dir, seed, &cable, height).await?;
    }
    let mut deployed = 0;
    let mut height = validator.status().height;
    for (seed, entries) in (FOLLOWERS + 4..).step_by(2).zip(entries) {
        while deployed * u64::from(ENTRIES_PER_DEPLOYMENT) < *entries {
            let bytes = signer.sign(number, deploy(deployed)?)?;
            (number, deployed) = (number + 1, deployed + 1);
            accepted(validator.submit(bytes).await?)?;
        }
        height = validator.status().height;
        late(output, &signer, dir, seed, &cable, height).await?;
    }

    let config = signer.config(&dir.join("submitter"), SUBMITTER, &cable, BEYOND)?;
    let (follower, _, mut stream) = start(config).await?;
    cable.connect();
    reach(&mut stream, height).await?;
    drain(stream);
    for (name, ledger) in [("validator", &validator), ("follower", &follower)] {
        let times = submit(ledger, &signer, number).await?;
        number += ROUNDS;
        writeln!(output, "{name}::submit_to_final   {}", summary(times))?;
    }
    follower.shutdown().await?;
    validator.shutdown().await?;
    Ok(())
}

/// A node that joins late: it executes every block, and then another one takes the state over.
async fn late(
    output: &mut impl Write,
    signer: &Operators,
    dir: &Path,
    seed: u8,
    cable: &Cable,
    height: u64,
) -> Result<(), Failure> {
    let ways = [("executes", u64::MAX), ("takes_over", BEYOND)];
    for (seed, (name, beyond)) in (seed..).zip(ways) {
        let dir = dir.join(format!("late-{seed}"));
        let (ledger, _, mut stream) = start(signer.config(&dir, seed, cable, beyond)?).await?;
        let began = Instant::now();
        cable.connect();
        reach(&mut stream, height).await?;
        let took = began.elapsed();
        drain(stream);
        ledger.shutdown().await?;
        let began = Instant::now();
        let (ledger, state, stream) = start(signer.config(&dir, seed, cable, beyond)?).await?;
        let restarted = began.elapsed();
        drain(stream);
        ledger.shutdown().await?;
        cable.leave(&SecretKey::from([seed; 32]).public_key());
        writeln!(
            output,
            "late::{name}/blocks={height}/entries={}   {took:.2?}, started again in {restarted:.2?}",
            state.entries.len()
        )?;
    }
    Ok(())
}

/// Reads the stream until it is at `height`.
async fn reach(stream: &mut mpsc::Receiver<Finalized>, height: u64) -> Result<(), Failure> {
    loop {
        let at = match stream.recv().await.ok_or("the follower ended")? {
            Finalized::Block(block) => block.height,
            Finalized::State(state) => state.height,
        };
        if at >= height {
            return Ok(());
        }
    }
}

/// Whether a transaction spent its nonce, without which none of its signer follows.
fn counted(finality: Finality) -> Result<(), Failure> {
    match finality.outcome {
        TransactionOutcome::Refused(refusal @ Refusal::Rate { .. }) => Err(refusal.into()),
        _ => Ok(()),
    }
}

/// Whether a transaction did what it asks for.
fn accepted(finality: Finality) -> Result<(), Failure> {
    match finality.outcome {
        TransactionOutcome::Refused(refusal) => Err(refusal.into()),
        TransactionOutcome::Applied => Ok(()),
    }
}

fn stop() -> Result<Operation, Failure> {
    // The smallest transaction: it spends a nonce and is refused for the rest.
    Ok(Operation::Stop {
        workload: Name::new("shop")?,
    })
}

/// So many entries more in the state, and one for the deployment.
fn deploy(number: u64) -> Result<Operation, Failure> {
    let component = ComponentSpec {
        replicas: ENTRIES_PER_DEPLOYMENT,
        ..ComponentSpec::new(
            Name::new("web")?,
            ComponentKind::Library,
            Digest::of(b"web"),
        )
    };
    Ok(Operation::Deploy {
        spec: WorkloadSpec {
            name: Name::new(format!("w{number}"))?,
            components: vec![component],
        },
        replaces: None,
    })
}

fn report(output: &mut impl Write, what: &str, height: u64, took: Duration) -> io::Result<()> {
    let rate = f64::from(u32::try_from(height).unwrap_or(u32::MAX)) / took.as_secs_f64();
    writeln!(
        output,
        "{what}/blocks={height}   {took:.2?}, {rate:.0} blocks/s"
    )
}

async fn submit(ledger: &Ledger, signer: &Operators, first: u64) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    for number in first..first + ROUNDS {
        let transaction = signer.sign(number, stop()?)?;
        let handed_in = Instant::now();
        ledger.submit(transaction).await?;
        times.push(handed_in.elapsed());
    }
    Ok(times)
}

fn drain(mut stream: mpsc::Receiver<Finalized>) {
    tokio::spawn(async move { while stream.recv().await.is_some() {} });
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len().saturating_sub(1)) * share / 100);
    let ms = |share| at(share).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    format!("p50 {:.2} ms   p99 {:.2} ms", ms(50), ms(99))
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().to_bytes())
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

type Ports = BTreeMap<NodeId, (Inbound, watch::Sender<std::collections::BTreeSet<NodeId>>)>;

/// Links in memory between all nodes that joined.
#[derive(Clone, Default)]
struct Cable(Arc<Mutex<Ports>>);

impl Cable {
    fn join(&self, me: NodeId) -> Links {
        let (ledger_end, carrier) = links();
        let Carrier {
            mut outbound,
            inbound,
            members,
            ..
        } = carrier;
        self.ports().insert(me, (inbound, members));
        let cable = self.clone();
        tokio::spawn(async move {
            while let Some(message) = outbound.next().await {
                if let Some((inbound, _)) = cable.ports().get(&message.peer) {
                    // What does not fit is lost, as on a network.
                    let _ = inbound.deliver(me, message.channel, message.bytes);
                }
            }
        });
        ledger_end
    }

    fn connect(&self) {
        let ports = self.ports();
        for (me, (_, members)) in ports.iter() {
            members.send_replace(ports.keys().filter(|peer| *peer != me).copied().collect());
        }
    }

    /// Nobody asks a node that is gone.
    fn leave(&self, me: &NodeId) {
        self.ports().remove(me);
        self.connect();
    }

    fn ports(&self) -> std::sync::MutexGuard<'_, Ports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fabric's operators, who sign in turns.
struct Operators {
    keys: Vec<SigningKey>,
    genesis: Genesis,
}

impl Operators {
    fn new() -> Result<Self, Failure> {
        let keys = (0..OPERATORS).map(|index| SigningKey::from_bytes(&[100 + index; 32]));
        let keys: Vec<_> = keys.collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let node = SecretKey::from([VALIDATOR; 32]).public_key();
        let operators = keys.iter().map(public).collect();
        let genesis = Genesis::new(now.try_into()?, [0; 16], vec![node], vec![node], operators)?;
        Ok(Self { keys, genesis })
    }

    fn config(
        &self,
        dir: &Path,
        seed: u8,
        cable: &Cable,
        sync_beyond_blocks: u64,
    ) -> Result<Config, Failure> {
        let secret_key = SecretKey::from([seed; 32]);
        let links = Some(cable.join(secret_key.public_key()));
        Ok(Config {
            data_dir: dir.to_owned(),
            secret_key,
            genesis: self.genesis.clone(),
            rules: ledger::KnownRules::RELEASED,
            heartbeat: Config::HEARTBEAT,
            sync_beyond_blocks,
            retention: Retention::USUAL,
            links,
        })
    }

    /// The fabric's transaction of that number.
    fn sign(&self, number: u64, operation: Operation) -> Result<Vec<u8>, Failure> {
        let turn = usize::try_from(number % u64::from(OPERATORS))?;
        let key = self.keys.get(turn).ok_or("no such operator")?;
        let transaction = Transaction {
            fabric: self.genesis.fabric_id(),
            principal: public(key),
            nonce: number / u64::from(OPERATORS),
            expires_at: u64::MAX,
            operation,
        };
        let signature = key.sign(&transaction.signing_bytes()).to_bytes();
        Ok(transaction.encode_signed(&Signature::from_bytes(signature)))
    }
}
