//! The nodes of a run: boots them, cuts their power, reads what they say and shows it to the
//! checkers. Decides neither what befalls them nor what is right.

mod following;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consensus::simulated::{Forger, Machine, NodeConfig, Plug, Powered, SimWorld, Task};
use consensus::{Blame, Carrier, Closed, Ledger, Outbound, Retention, SecretKey};
use ledger::{Genesis, View};
use tokio::sync::watch;
use types::{AssetId, LeaseId, NodeId};

use crate::checks::Watch;
use crate::event::Event;
use crate::gossip::Gossip;
use crate::holder::Holder;
use crate::network::Net;
use crate::rogue::Rogue;
use crate::scenario::{Scenario, Vice};

/// All nodes of a run.
pub(crate) struct Fleet {
    pub(crate) scenario: Scenario,
    pub(crate) net: Arc<Net>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) genesis: Genesis,
    pub(crate) gossip: Gossip,
    /// Times that an honest validator said that a node is gone.
    pub(crate) reports: AtomicU64,
    world: SimWorld,
    nodes: Vec<Mutex<Node>>,
    pulled: AtomicU64,
    taken_over: AtomicU64,
    handovers: AtomicU64,
    /// Who held what last, of what one at a time may hold.
    holders: Mutex<BTreeMap<AssetId, usize>>,
}

struct Node {
    machine: Machine,
    key: SecretKey,
    disk_bad: bool,
    /// Kept on its disk: which leases it gave back, whatever its ledger showed of that by then.
    given_back: BTreeSet<LeaseId>,
    boots: u64,
    up: Option<Up>,
}

struct Up {
    /// Which of the node's processes this is.
    boot: u64,
    ledger: Ledger,
    /// The state that its stream led to; none before it started.
    view: Option<View>,
    holder: Holder,
    plug: Plug,
    pump: Task,
    blamed: watch::Receiver<BTreeMap<NodeId, Blame>>,
}

/// The key of a node.
pub(crate) fn node_key(node: usize) -> SecretKey {
    SecretKey::from_seed(&node_seed(node))
}

/// The seed of that key.
pub(crate) fn node_seed(node: usize) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(node as u64).to_be_bytes());
    seed
}

impl Fleet {
    pub(crate) fn new(
        world: SimWorld,
        scenario: Scenario,
        genesis: Genesis,
        net: Arc<Net>,
        watch: Arc<Watch>,
    ) -> Self {
        let node = |(number, key)| {
            Mutex::new(Node {
                machine: Machine::new(number, scenario.seed ^ ((number as u64 + 1) << 32)),
                key: node_key(key),
                disk_bad: false,
                given_back: BTreeSet::new(),
                boots: 0,
                up: None,
            })
        };
        let keys = (0..scenario.nodes()).chain(scenario.twins());
        let nodes = keys.enumerate().map(node).collect();
        Self {
            scenario,
            net,
            watch,
            genesis,
            gossip: Gossip::default(),
            reports: AtomicU64::new(0),
            world,
            nodes,
            pulled: AtomicU64::new(0),
            taken_over: AtomicU64::new(0),
            handovers: AtomicU64::new(0),
            holders: Mutex::default(),
        }
    }

    /// All machines: those of nodes that run twice count twice.
    pub(crate) fn machines(&self) -> usize {
        self.nodes.len()
    }

    /// Times that a node's stream went on from a state of its peers.
    pub(crate) fn taken_over(&self) -> u64 {
        self.taken_over.load(Ordering::Relaxed)
    }

    /// Losses of power until now.
    pub(crate) fn pulled(&self) -> u64 {
        self.pulled.load(Ordering::Relaxed)
    }

    /// The ledger of a node that has power.
    pub(crate) fn ledger(&self, node: usize) -> Option<Ledger> {
        let node = self.lock(node)?;
        node.up.as_ref().map(|up| up.ledger.clone())
    }

    /// Honest nodes.
    pub(crate) fn honest(&self) -> impl Iterator<Item = usize> {
        (0..self.scenario.nodes()).filter(|node| self.scenario.is_honest(*node))
    }

    /// What a node is started with.
    fn config(&self, secret_key: SecretKey) -> NodeConfig {
        NodeConfig {
            secret_key,
            genesis: self.genesis.clone(),
            heartbeat: Duration::from_secs(self.scenario.heartbeat_seconds),
            sync_beyond_blocks: self.scenario.sync_beyond_blocks,
            retention: Retention::USUAL,
        }
    }

    /// Gives a node power, unless it has it.
    pub(crate) fn boot(self: &Arc<Self>, number: usize) {
        let Some(mut node) = self.lock(number) else {
            return;
        };
        if node.up.is_some() {
            return;
        }
        node.disk_bad = false;
        node.machine.disk.fail(false);
        let config = self.config(node.key.clone());
        let Powered {
            ledger,
            stream,
            carrier,
            started,
            plug,
        } = match self.world.boot(&node.machine, config) {
            Ok(powered) => powered,
            Err(error) => {
                let reason = error.to_string();
                self.watch.see(&Event::NotStarted {
                    node: number,
                    reason,
                });
                return;
            }
        };
        let Carrier {
            outbound,
            inbound,
            members,
            blocked,
        } = carrier;
        self.net.join(number, inbound, members);
        let fleet = self.clone();
        let rogue = self.rogue(number, &node.key);
        let pump = self
            .world
            .spawn(move |_| async move { fleet.pump(number, outbound, rogue).await });
        node.boots += 1;
        let boot = node.boots;
        self.follow_from_start(number, boot, started, stream);
        let at_ms = self.world.now_ms();
        let holder = Holder::new(
            node_key(number).public_key(),
            self.scenario.keeping,
            node.machine.shown_ms(at_ms),
            self.monotonic(number).shown_ms(at_ms),
        );
        node.up = Some(Up {
            boot,
            ledger,
            view: None,
            holder,
            plug,
            pump,
            blamed: blocked,
        });
    }

    /// Takes a node's power away.
    pub(crate) fn pull_plug(&self, number: usize) {
        let up = self.lock(number).and_then(|mut node| node.up.take());
        if let Some(mut up) = up {
            self.tell(number, &up.holder.end());
            self.pulled.fetch_add(1, Ordering::Relaxed);
            self.net.leave(number);
            up.pump.end();
            up.plug.pull();
        }
    }

    /// Takes a node's power away for a while.
    pub(crate) async fn power_cycle(self: &Arc<Self>, number: usize, off: Duration) {
        self.pull_plug(number);
        self.world.sleep(off).await;
        self.boot(number);
    }

    pub(crate) fn fail_disk(&self, number: usize, failing: bool) {
        if let Some(mut node) = self.lock(number) {
            node.disk_bad |= failing;
            node.machine.disk.fail(failing);
        }
    }

    pub(crate) fn let_disk_lie(&self, number: usize, lying: bool) {
        if let Some(node) = self.lock(number) {
            node.machine.disk.lie(lying);
        }
    }

    pub(crate) fn set_clock(&self, number: usize, ahead_ms: i64) {
        if let Some(node) = self.lock(number) {
            node.machine.set_clock(ahead_ms);
        }
    }

    /// Everything works from now on, but for what is Byzantine.
    pub(crate) async fn mend(self: &Arc<Self>) {
        self.net.clear_up();
        for number in 0..self.machines() {
            self.set_clock(number, 0);
            let bad = self.lock(number).is_some_and(|node| node.disk_bad);
            if bad {
                self.power_cycle(number, Duration::from_millis(100)).await;
            }
            self.boot(number);
        }
    }

    /// Looks at every honest node.
    pub(crate) fn look(&self) {
        for number in self.honest() {
            let Some(node) = self.lock(number) else {
                continue;
            };
            let Some(up) = &node.up else { continue };
            let status = up.ledger.status();
            if let Some(reason @ Closed::Failed { .. }) = &status.closed
                && !node.disk_bad
            {
                self.watch.see(&Event::Closed {
                    node: number,
                    reason,
                });
            }
            for (peer, blame) in up.blamed.borrow().iter() {
                let Some(peer) = self.net.number_of(peer) else {
                    continue;
                };
                if self.scenario.is_honest(peer) {
                    self.watch.see(&Event::BlamesHonest {
                        node: number,
                        peer,
                        blame,
                    });
                }
            }
            let disk_bytes = node.machine.disk.bytes();
            self.watch.see(&Event::Looked {
                node: number,
                status: &status,
                disk_bytes,
            });
        }
    }

    /// Shows what an honest node did.
    pub(crate) fn show(&self, event: &Event<'_>) {
        let node = match event {
            Event::Started { node, .. }
            | Event::Block { node, .. }
            | Event::TookOver { node, .. }
            | Event::Acknowledged { node, .. }
            | Event::NotStarted { node, .. } => *node,
            _ => return self.watch.see(event),
        };
        if matches!(event, Event::NotStarted { .. })
            && self.lock(node).is_some_and(|node| node.disk_bad)
        {
            return;
        }
        if self.scenario.is_honest(node) {
            self.watch.see(event);
        }
    }

    async fn pump(&self, node: usize, mut outbound: Outbound, mut rogue: Option<Rogue>) {
        while let Some(message) = outbound.next().await {
            match &mut rogue {
                None => self.net.send(
                    node,
                    message.peer,
                    message.channel,
                    &message.bytes,
                    Duration::ZERO,
                ),
                Some(rogue) => {
                    for out in rogue.alter(message) {
                        self.net
                            .send(node, out.peer, out.channel, &out.bytes, out.pause);
                    }
                }
            }
        }
    }

    fn rogue(&self, number: usize, key: &SecretKey) -> Option<Rogue> {
        let (_, vice) = *self
            .scenario
            .rogues
            .iter()
            .find(|(rogue, vice)| *rogue == number && *vice != Vice::Twins)?;
        let others = (0..self.scenario.nodes()).filter(|other| *other != number);
        let peers = others.filter_map(|other| self.net.name_of(other)).collect();
        let forger = Forger::new(&self.genesis, key)?;
        let seed = self.scenario.seed ^ (number as u64) << 48;
        Some(Rogue::new(vice, forger, seed, peers))
    }

    fn lock(&self, number: usize) -> Option<MutexGuard<'_, Node>> {
        let node = self.nodes.get(number)?;
        Some(node.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
