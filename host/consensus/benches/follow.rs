//! How fast a node that joins late catches up, beside how fast the validator made the same blocks
//! in the same run; and what submitting through a follower costs. Prints and asserts nothing.
//!
//! `cargo bench -p hypermesh-consensus --bench follow -- [--dir DIR] [--blocks N]`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer as _, SigningKey};
use hypermesh_consensus::{
    Carrier, Config, Finalized, Inbound, Ledger, Links, SecretKey, links, start,
};
use ledger::{Genesis, Operation, Transaction};
use tokio::sync::{mpsc, watch};
use types::{Name, NodeId, PublicKey, Signature};

/// Blocks to catch up on, unless asked otherwise.
const BLOCKS: u64 = 5_000;
/// Transactions measured one after the other on each node.
const ROUNDS: u64 = 200;
/// The keys of the validator and of the follower.
const VALIDATOR: u8 = 1;
const FOLLOWER: u8 = 2;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let dir = argument("--dir").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let blocks = argument("--blocks").map_or(Ok(BLOCKS), |text| text.parse())?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(&dir, blocks, &mut io::stdout()))
}

async fn measure(dir: &Path, blocks: u64, output: &mut impl Write) -> Result<(), Failure> {
    let cable = Cable::default();
    let signer = Operator::new()?;
    let (validator, _, mut stream) =
        start(signer.config(&dir.join("v"), VALIDATOR, &cable)?).await?;
    let began = Instant::now();
    let mut nonce = 0;
    while validator.status().height < blocks {
        validator.submit(signer.sign(nonce)?).await?;
        nonce += 1;
        while stream.try_recv().is_ok() {}
    }
    let height = validator.status().height;
    report(output, "validator::make", height, began.elapsed())?;
    drain(stream);

    let (follower, _, mut stream) = start(signer.config(&dir.join("f"), FOLLOWER, &cable)?).await?;
    let began = Instant::now();
    cable.connect();
    loop {
        match stream.recv().await.ok_or("the follower ended")? {
            Finalized::Block(block) if block.height < height => {}
            _ => break,
        }
    }
    report(output, "follower::catch_up", height, began.elapsed())?;
    drain(stream);

    for (name, ledger) in [("validator", &validator), ("follower", &follower)] {
        let times = submit(ledger, &signer, nonce).await?;
        nonce += ROUNDS;
        writeln!(output, "{name}::submit_to_final   {}", summary(times))?;
    }
    follower.shutdown().await?;
    validator.shutdown().await?;
    Ok(())
}

fn report(output: &mut impl Write, what: &str, height: u64, took: Duration) -> io::Result<()> {
    let rate = f64::from(u32::try_from(height).unwrap_or(u32::MAX)) / took.as_secs_f64();
    writeln!(
        output,
        "{what}/blocks={height}   {took:.2?}, {rate:.0} blocks/s"
    )
}

async fn submit(ledger: &Ledger, signer: &Operator, first: u64) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    for nonce in first..first + ROUNDS {
        let transaction = signer.sign(nonce)?;
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

    fn ports(&self) -> std::sync::MutexGuard<'_, Ports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fabric's one operator.
struct Operator {
    key: SigningKey,
    genesis: Genesis,
}

impl Operator {
    fn new() -> Result<Self, Failure> {
        let key = SigningKey::from_bytes(&[200; 32]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let node = SecretKey::from([VALIDATOR; 32]).public_key();
        let operator = PublicKey::from_bytes(key.verifying_key().to_bytes());
        let genesis = Genesis::new(
            now.try_into()?,
            [0; 16],
            vec![node],
            vec![node],
            vec![operator],
        )?;
        Ok(Self { key, genesis })
    }

    fn config(&self, dir: &Path, seed: u8, cable: &Cable) -> Result<Config, Failure> {
        let secret_key = SecretKey::from([seed; 32]);
        let links = Some(cable.join(secret_key.public_key()));
        Ok(Config {
            data_dir: dir.to_owned(),
            secret_key,
            genesis: self.genesis.clone(),
            rules: ledger::KnownRules::RELEASED,
            heartbeat: Config::HEARTBEAT,
            sync_beyond_blocks: Config::SYNC_BEYOND_BLOCKS,
            links,
        })
    }

    /// The smallest transaction: it spends a nonce and is refused for the rest.
    fn sign(&self, nonce: u64) -> Result<Vec<u8>, Failure> {
        let transaction = Transaction {
            fabric: self.genesis.fabric_id(),
            principal: PublicKey::from_bytes(self.key.verifying_key().to_bytes()),
            nonce,
            expires_at: u64::MAX,
            operation: Operation::Stop {
                workload: Name::new("shop")?,
            },
        };
        let signature = self.key.sign(&transaction.signing_bytes()).to_bytes();
        Ok(transaction.encode_signed(&Signature::from_bytes(signature)))
    }
}
