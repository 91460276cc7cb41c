//! Size and checking time of the proof of one entry, present and absent, against the number of
//! entries and of validators; beside bare ed25519 checks of as many signatures in the same run.
//! Prints and asserts only that every proof holds.
//!
//! `cargo bench -p hypermesh-consensus --bench proof -- [--entries N,N]`

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer as _, SigningKey, Verifier as _};
use futures::future::join_all;
use hypermesh_consensus::{
    Carrier, Config, EntryProof, Inbound, Ledger, Links, Retention, SecretKey, links, start,
};
use ledger::{Genesis, Operation, StateKey, Transaction};
use tokio::sync::watch;
use types::{
    ComponentKind, ComponentSpec, Digest, Name, NodeId, PublicKey, Signature, WorkloadSpec,
};

/// Entries of the state, unless asked otherwise.
const ENTRIES: &str = "100,10000";
/// Checks of one proof; the middle one is printed.
const ROUNDS: usize = 101;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--entries");
    let entries = arguments.nth(1).unwrap_or_else(|| ENTRIES.to_owned());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    for validators in [1, 4] {
        for entries in entries.split(',') {
            let folder = tempfile::tempdir()?;
            let run = measure(folder.path(), validators, entries.parse()?);
            runtime.block_on(run)?;
        }
    }
    Ok(())
}

async fn measure(dir: &Path, validators: u8, entries: u16) -> Result<(), Failure> {
    let operator = Operator::new(validators)?;
    let ledgers = operator.start_all(dir).await?;
    let mut at = 0;
    let mut nonce = 0;
    // A deployment is an entry, and so is each of its replicas.
    while at < entries {
        let replicas = (entries - at).clamp(1, ComponentSpec::REPLICAS_MAX);
        let transaction = operator.deploy(nonce, replicas)?;
        let height = ledgers[0].submit(transaction).await?.height;
        nonce += 1;
        at += replicas;
        // It is told before the state is stored, which is what is asked below.
        while ledgers[0].status().height < height {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let mut output = io::stdout();
    for (what, name) in [("present", "w0"), ("absent", "gone")] {
        let key = StateKey::deployment(&Name::new(name)?);
        let proof = ledgers[0].entry_proof(&operator.genesis, &key).await?;
        let bytes = proof.ok_or("no certificate")?.encode();
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let proof = EntryProof::decode(&bytes)?;
            let proven = proof.verify(&operator.genesis.fabric_id())?;
            times.push(began.elapsed());
            assert_eq!(proven.value.is_some(), what == "present");
        }
        writeln!(
            output,
            "proof::verify_{what}/validators={validators},entries={entries}   {} bytes   {:.1?}",
            bytes.len(),
            middle(times)
        )?;
    }
    let signatures = usize::from(validators - (validators - 1) / 3);
    let bare = middle((0..ROUNDS).map(|_| operator.check(signatures)).collect());
    writeln!(
        output,
        "ed25519::verify/signatures={signatures}   {} bytes   {bare:.1?}",
        64 * signatures
    )?;
    join_all(ledgers.iter().map(Ledger::shutdown)).await;
    Ok(())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The fabric's one operator, and its validators.
struct Operator {
    key: SigningKey,
    validators: u8,
    genesis: Genesis,
}

impl Operator {
    fn new(validators: u8) -> Result<Self, Failure> {
        let key = SigningKey::from_bytes(&[200; 32]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let keys = (1..=validators).map(|seed| SecretKey::from([seed; 32]).public_key());
        let keys: Vec<_> = keys.collect();
        let operator = PublicKey::from_bytes(key.verifying_key().to_bytes());
        let genesis = Genesis::new(now.try_into()?, [0; 16], keys.clone(), keys, vec![operator])?;
        Ok(Self {
            key,
            validators,
            genesis,
        })
    }

    /// All validators, connected in memory.
    async fn start_all(&self, dir: &Path) -> Result<Vec<Ledger>, Failure> {
        let seeds: Vec<u8> = (1..=self.validators).collect();
        let mut carriers = Vec::new();
        let mut configs = Vec::new();
        for seed in seeds {
            let secret_key = SecretKey::from([seed; 32]);
            let (ends, carrier): (Links, Carrier) = links();
            carriers.push((secret_key.public_key(), carrier));
            configs.push(Config {
                data_dir: dir.join(seed.to_string()),
                secret_key,
                genesis: self.genesis.clone(),
                rules: ledger::KnownRules::RELEASED,
                heartbeat: Config::HEARTBEAT,
                sync_beyond_blocks: Config::SYNC_BEYOND_BLOCKS,
                retention: Retention::USUAL,
                links: Some(ends),
            });
        }
        connect(carriers);
        let mut ledgers = Vec::new();
        for started in join_all(configs.into_iter().map(start)).await {
            let (ledger, _, mut stream) = started?;
            tokio::spawn(async move { while stream.recv().await.is_some() {} });
            ledgers.push(ledger);
        }
        Ok(ledgers)
    }

    fn deploy(&self, nonce: u64, replicas: u16) -> Result<Vec<u8>, Failure> {
        let component = ComponentSpec {
            replicas,
            ..ComponentSpec::new(
                Name::new("web")?,
                ComponentKind::Library,
                Digest::of(b"web"),
            )
        };
        let transaction = Transaction {
            fabric: self.genesis.fabric_id(),
            principal: PublicKey::from_bytes(self.key.verifying_key().to_bytes()),
            nonce,
            expires_at: u64::MAX,
            operation: Operation::Deploy {
                spec: WorkloadSpec {
                    name: Name::new(format!("w{nonce}"))?,
                    components: vec![component],
                },
                replaces: None,
            },
        };
        let signature = self.key.sign(&transaction.signing_bytes()).to_bytes();
        Ok(transaction.encode_signed(&Signature::from_bytes(signature)))
    }

    /// So many signatures, checked one after the other.
    fn check(&self, signatures: usize) -> Duration {
        let message = [7; 80];
        let signature = self.key.sign(&message);
        let began = Instant::now();
        for _ in 0..signatures {
            let verdict = self.key.verifying_key().verify(&message, &signature);
            assert!(verdict.is_ok());
        }
        began.elapsed()
    }
}

type Port = (NodeId, Inbound, watch::Sender<BTreeSet<NodeId>>);

/// Links in memory between all.
fn connect(carriers: Vec<(NodeId, Carrier)>) {
    let mut ports: Vec<Port> = Vec::new();
    let mut outbounds = Vec::new();
    for (me, carrier) in carriers {
        ports.push((me, carrier.inbound, carrier.members));
        outbounds.push((me, carrier.outbound));
    }
    for (me, _, members) in &ports {
        let others = ports.iter().map(|(id, ..)| *id);
        members.send_replace(others.filter(|id| id != me).collect());
    }
    let ports = Arc::new(ports);
    for (me, mut outbound) in outbounds {
        let ports = Arc::clone(&ports);
        tokio::spawn(async move {
            while let Some(message) = outbound.next().await {
                if let Some((_, inbound, _)) = ports.iter().find(|(id, ..)| *id == message.peer) {
                    // What does not fit is lost, as on a network.
                    let _ = inbound.deliver(me, message.channel, message.bytes);
                }
            }
        });
    }
}
