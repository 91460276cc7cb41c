//! Links between ledgers in one process: who is connected with whom, what is lost, late or
//! altered on the way. Every choice follows from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hypermesh_consensus::{
    Blame, Carrier, Config, DeliverError, Inbound, Links, Outgoing, Snapshot, StartError, links,
};
use ledger::{Genesis, KnownRules};
use tokio::sync::watch;
use types::NodeId;

use crate::support::{Dice, Node, SEED_VARIABLE, config_of, genesis, key_of, seed};

/// What becomes of a message.
type Alter = Box<dyn FnMut(Outgoing) -> Option<Outgoing> + Send>;

/// A network in memory.
#[derive(Clone)]
pub(crate) struct Memory {
    inner: Arc<Mutex<Inner>>,
    pub(crate) seed: u64,
}

struct Inner {
    nodes: BTreeMap<NodeId, Port>,
    edges: BTreeSet<(NodeId, NodeId)>,
    altered: BTreeMap<NodeId, Alter>,
    dice: Dice,
    lost_percent: u64,
    late_percent: u64,
}

struct Port {
    inbound: Inbound,
    members: watch::Sender<BTreeSet<NodeId>>,
    blocked: watch::Receiver<BTreeMap<NodeId, Blame>>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let seed = seed();
        // Shown when a test fails, so that it can be repeated.
        writeln!(std::io::stdout(), "{SEED_VARIABLE}={seed}").ok();
        let inner = Inner {
            nodes: BTreeMap::new(),
            edges: BTreeSet::new(),
            altered: BTreeMap::new(),
            dice: Dice(seed),
            lost_percent: 0,
            late_percent: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            seed,
        }
    }

    /// Links of the node with this key, which replace those that it had before.
    pub(crate) fn join(&self, key: u8) -> Links {
        let (ledger_end, carrier) = links();
        let Carrier {
            mut outbound,
            inbound,
            members,
            blocked,
        } = carrier;
        let me = key_of(key);
        let port = Port {
            inbound,
            members,
            blocked,
        };
        self.lock().nodes.insert(me, port);
        self.lock().tell_members();
        let memory = self.clone();
        tokio::spawn(async move {
            while let Some(message) = outbound.next().await {
                memory.carry(me, message);
            }
        });
        ledger_end
    }

    pub(crate) fn connect(&self, one: u8, other: u8) {
        let mut inner = self.lock();
        let (one, other) = (key_of(one), key_of(other));
        inner.edges.extend([(one, other), (other, one)]);
        inner.tell_members();
    }

    pub(crate) fn disconnect(&self, one: u8, other: u8) {
        let mut inner = self.lock();
        let (one, other) = (key_of(one), key_of(other));
        inner.edges.remove(&(one, other));
        inner.edges.remove(&(other, one));
        inner.tell_members();
    }

    /// Loses and delays that many of a hundred messages from now on.
    pub(crate) fn lose(&self, lost_percent: u64, late_percent: u64) {
        let mut inner = self.lock();
        inner.lost_percent = lost_percent;
        inner.late_percent = late_percent;
    }

    /// Passes everything that the node of this key sends through `alter`.
    pub(crate) fn alter(
        &self,
        key: u8,
        alter: impl FnMut(Outgoing) -> Option<Outgoing> + Send + 'static,
    ) {
        self.lock().altered.insert(key_of(key), Box::new(alter));
    }

    /// Hands `message` in at its receiver as if the node of this key had sent it, if the two are
    /// connected.
    pub(crate) fn forge(&self, from: u8, message: Outgoing) {
        self.lock().hand_in(key_of(from), message);
    }

    /// The same, whoever is connected, with what the receiver says.
    pub(crate) fn hand_over(&self, from: u8, message: Outgoing) -> Result<(), DeliverError> {
        let Outgoing {
            peer,
            channel,
            bytes,
            ..
        } = message;
        let inner = self.lock();
        inner.nodes[&peer]
            .inbound
            .deliver(key_of(from), channel, bytes)
    }

    /// Whom the node of this key blames.
    pub(crate) fn blamed_by(&self, key: u8) -> BTreeMap<NodeId, Blame> {
        self.lock().nodes[&key_of(key)].blocked.borrow().clone()
    }

    fn carry(&self, from: NodeId, message: Outgoing) {
        let mut inner = self.lock();
        let message = match inner.altered.get_mut(&from) {
            Some(alter) => alter(message),
            None => Some(message),
        };
        let Some(message) = message else { return };
        if inner.dice.below(100) < inner.lost_percent {
            return;
        }
        if inner.dice.below(100) < inner.late_percent {
            let late = Duration::from_millis(inner.dice.below(50));
            let memory = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                memory.lock().hand_in(from, message);
            });
            return;
        }
        inner.hand_in(from, message);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while it is held")
    }
}

impl Inner {
    fn tell_members(&self) {
        for (id, port) in &self.nodes {
            let connected = self
                .nodes
                .keys()
                .filter(|peer| self.edges.contains(&(*id, **peer)));
            port.members.send_replace(connected.copied().collect());
        }
    }

    fn hand_in(&self, from: NodeId, message: Outgoing) {
        if !self.edges.contains(&(from, message.peer)) {
            return;
        }
        if let Some(port) = self.nodes.get(&message.peer) {
            // What is refused is lost, as on a network.
            let _ = port.inbound.deliver(from, message.channel, message.bytes);
        }
    }
}

/// A ledger on such a network, in a directory that outlives it.
pub(crate) struct Member {
    pub(crate) node: Node,
    pub(crate) dir: Arc<tempfile::TempDir>,
    pub(crate) key: u8,
    pub(crate) genesis: Genesis,
}

impl Member {
    pub(crate) async fn start(memory: &Memory, key: u8) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        Self::start_in(memory, key, dir)
            .await
            .expect("the ledger starts")
    }

    pub(crate) async fn start_in(
        memory: &Memory,
        key: u8,
        dir: Arc<tempfile::TempDir>,
    ) -> Result<Self, StartError> {
        Self::start_at(memory, key, dir, genesis(0)).await
    }

    /// A ledger of another fabric.
    pub(crate) async fn start_of(memory: &Memory, key: u8, genesis: Genesis) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let started = Self::start_at(memory, key, dir, genesis).await;
        started.expect("the ledger starts")
    }

    async fn start_at(
        memory: &Memory,
        key: u8,
        dir: Arc<tempfile::TempDir>,
        genesis: Genesis,
    ) -> Result<Self, StartError> {
        Self::start_knowing(memory, key, dir, genesis, KnownRules::RELEASED).await
    }

    /// The same on a program that executes these rules.
    pub(crate) async fn start_knowing(
        memory: &Memory,
        key: u8,
        dir: Arc<tempfile::TempDir>,
        genesis: Genesis,
        rules: KnownRules,
    ) -> Result<Self, StartError> {
        let mut config = config_of(key, dir.path());
        config.rules = rules;
        Self::start_with(memory, key, dir, genesis, config).await
    }

    /// The same with any choice of the node's own.
    pub(crate) async fn start_with(
        memory: &Memory,
        key: u8,
        dir: Arc<tempfile::TempDir>,
        genesis: Genesis,
        config: Config,
    ) -> Result<Self, StartError> {
        let node = Node::start(Config {
            links: Some(memory.join(key)),
            genesis: genesis.clone(),
            ..config
        });
        Ok(Self {
            node: node.await?,
            dir,
            key,
            genesis,
        })
    }

    /// A node that takes over the state of its peers once it is `beyond` blocks behind.
    pub(crate) async fn start_behind(
        memory: &Memory,
        key: u8,
        genesis: Genesis,
        beyond: u64,
    ) -> Self {
        let dir = Arc::new(tempfile::tempdir().expect("a directory"));
        let killed = Killed { dir, key, genesis };
        killed.start_behind_again(memory, beyond).await
    }

    /// Ends it without asking it to stop, and starts it again.
    pub(crate) async fn restart(self, memory: &Memory) -> Self {
        self.kill().start_again(memory).await
    }

    /// Ends it without asking it to stop.
    pub(crate) fn kill(self) -> Killed {
        let Self {
            node,
            dir,
            key,
            genesis,
        } = self;
        drop(node);
        Killed { dir, key, genesis }
    }

    pub(crate) async fn stop(self) -> Snapshot {
        self.node.stop().await
    }
}

/// What is left of a member that was killed.
pub(crate) struct Killed {
    dir: Arc<tempfile::TempDir>,
    key: u8,
    genesis: Genesis,
}

impl Killed {
    pub(crate) async fn start_again(self, memory: &Memory) -> Member {
        self.start_behind_again(memory, Config::SYNC_BEYOND_BLOCKS)
            .await
    }

    /// The same as a node that takes over the state of its peers once it is `beyond` blocks behind.
    pub(crate) async fn start_behind_again(self, memory: &Memory, beyond: u64) -> Member {
        let Self { dir, key, genesis } = self;
        for _ in 0..100 {
            let mut config = config_of(key, dir.path());
            config.sync_beyond_blocks = beyond;
            let started = Member::start_with(memory, key, dir.clone(), genesis.clone(), config);
            match started.await {
                Ok(member) => return member,
                Err(StartError::InUse { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the directory stays in use");
    }
}
