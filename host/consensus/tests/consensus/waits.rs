//! How long a node waits before it is where its peers are, on a simulated clock: it stands still
//! while anybody has something to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hypermesh_consensus::simulated::{self, Machine, NodeConfig, Plug, Powered, SimWorld};
use hypermesh_consensus::{
    Carrier, Channel, Finalized, Inbound, Ledger, Outgoing, Retention, SecretKey,
};
use ledger::Genesis;
use tokio::sync::{mpsc, watch};
use types::NodeId;

use crate::support::{Principal, genesis_with_epochs_at, key_of};

/// Announcements are repeated less often than that: what takes less time needed no repeat.
const NO_REPEAT_MS: u64 = 1_000;
/// How far behind a node may be that takes the state over.
const BEYOND: u64 = 12;

type Ends = Arc<Mutex<BTreeMap<NodeId, (Inbound, watch::Sender<BTreeSet<NodeId>>)>>>;

/// Machines that stand still, and what waits for them and from them.
#[derive(Default)]
struct Halted {
    nodes: BTreeSet<NodeId>,
    /// With their senders.
    messages: Vec<(NodeId, Outgoing)>,
    /// How many votes went from one to another, while the second of each pair is lost.
    second_votes: Option<BTreeMap<(NodeId, NodeId), usize>>,
}

/// A node with its power on.
pub(crate) struct Up {
    pub(crate) ledger: Ledger,
    stream: mpsc::Receiver<Finalized>,
    pub(crate) plug: Plug,
    /// Where the stream is.
    pub(crate) height: u64,
}

/// Nodes that are all connected with each other.
pub(crate) struct Fabric {
    pub(crate) world: SimWorld,
    pub(crate) genesis: Genesis,
    /// What its nodes keep of the past.
    pub(crate) retention: Retention,
    ends: Ends,
    /// Whether every message is lost.
    loses: Arc<AtomicBool>,
    halted: Arc<Mutex<Halted>>,
}

impl Fabric {
    pub(crate) fn new(world: SimWorld, validators: u8) -> Self {
        let genesis = genesis_with_epochs_at(world.now_ms(), validators, validators + 2, 8);
        Self {
            world,
            genesis,
            retention: Retention::USUAL,
            ends: Ends::default(),
            loses: Arc::default(),
            halted: Arc::default(),
        }
    }

    /// Keeps every message to and from a node back, as a machine does that stands still.
    pub(crate) fn halt(&self, key: u8) {
        let mut halted = self.halted.lock().expect("no panic");
        halted.nodes.insert(key_of(key));
    }

    /// Delivers what was kept back, in its order.
    pub(crate) fn go_on(&self, key: u8) {
        let mut halted = self.halted.lock().expect("no panic");
        halted.nodes.remove(&key_of(key));
        for (from, message) in std::mem::take(&mut halted.messages) {
            pass(&self.ends, &mut halted, from, message);
        }
    }

    /// From now on the second vote that each node sends to each other is lost: with that of the first
    /// block, which makes it final.
    pub(crate) fn lose_second_votes(&self) {
        let mut halted = self.halted.lock().expect("no panic");
        halted.second_votes = Some(BTreeMap::new());
    }

    pub(crate) async fn boot(&self, key: u8, machine: &Machine, sync_beyond_blocks: u64) -> Up {
        let config = NodeConfig {
            secret_key: SecretKey::from([key; 32]),
            genesis: self.genesis.clone(),
            heartbeat: Duration::from_secs(900),
            sync_beyond_blocks,
            retention: self.retention,
        };
        let Powered {
            ledger,
            stream,
            carrier,
            started,
            plug,
        } = self.world.boot(machine, config).expect("a good config");
        let Carrier {
            mut outbound,
            inbound,
            members,
            ..
        } = carrier;
        let (me, ends) = (key_of(key), self.ends.clone());
        ends.lock()
            .expect("no panic")
            .insert(me, (inbound, members));
        connect_all(&ends);
        let (loses, halted) = (self.loses.clone(), self.halted.clone());
        self.world.spawn(move |_| async move {
            while let Some(message) = outbound.next().await {
                if loses.load(Ordering::Relaxed) {
                    continue;
                }
                pass(&ends, &mut halted.lock().expect("no panic"), me, message);
            }
        });
        let start = started.await.expect("a start").expect("a good start");
        Up {
            ledger,
            stream,
            plug,
            height: start.height,
        }
    }
}

/// Delivers a message, or keeps it back.
fn pass(ends: &Ends, halted: &mut Halted, from: NodeId, message: Outgoing) {
    if halted.nodes.contains(&from) || halted.nodes.contains(&message.peer) {
        halted.messages.push((from, message));
        return;
    }
    if let Some(votes) = &mut halted.second_votes
        && message.channel == Channel::Votes
    {
        let sent = votes.entry((from, message.peer)).or_default();
        *sent += 1;
        if *sent == 2 {
            return;
        }
    }
    let ends = ends.lock().expect("no panic");
    if let Some((inbound, _)) = ends.get(&message.peer) {
        // What is refused is lost, as on a network.
        let _ = inbound.deliver(from, message.channel, message.bytes);
    }
}

fn connect_all(ends: &Ends) {
    let ends = ends.lock().expect("no panic");
    let names: BTreeSet<_> = ends.keys().copied().collect();
    for (me, (_, members)) in ends.iter() {
        let mut others = names.clone();
        others.remove(me);
        members.send_replace(others);
    }
}

impl Up {
    /// Reads the stream until it is at `height`, and says how often a state came over it.
    pub(crate) async fn reach(&mut self, height: u64) -> u64 {
        let mut taken_over = 0;
        while self.height < height {
            self.height = match self.stream.recv().await.expect("an open stream") {
                Finalized::Block(block) => block.height,
                Finalized::State(state) => {
                    taken_over += 1;
                    state.height
                }
            };
        }
        taken_over
    }
}

/// What happens to the newcomer before it is there.
#[derive(PartialEq)]
enum Newcomer {
    Stays,
    /// It heard nothing, its power is cut, and it comes back before anybody notices.
    BeginsAnew,
}

/// Milliseconds until a newcomer is where a fabric of some epochs is, and the states it took over.
fn newcomer_takes(sync_beyond_blocks: u64, newcomer: Newcomer) -> (u64, u64) {
    simulated::run(1, |world| async move {
        let fabric = Fabric::new(world, 1);
        let machines = [1, 2].map(|key| Machine::new(key, 7));
        let mut first = fabric.boot(1, &machines[0], u64::MAX).await;
        let operator = Principal::operator_in(&fabric.genesis, 0);
        let mut height = 0;
        for index in 0.. {
            // In the middle of an epoch, where only its tip says what the last block is.
            if height > 60 && height % 8 == 3 {
                break;
            }
            let deployed = operator.deploy(&format!("shop-{index}"));
            height = first.ledger.submit(deployed).await.expect("final").height;
            first.reach(height).await;
        }
        if newcomer == Newcomer::BeginsAnew {
            fabric.loses.store(true, Ordering::Relaxed);
            let late = fabric.boot(2, &machines[1], sync_beyond_blocks).await;
            fabric.world.sleep(Duration::from_millis(100)).await;
            fabric.loses.store(false, Ordering::Relaxed);
            late.plug.pull();
        }
        let began = fabric.world.now_ms();
        let mut late = fabric.boot(2, &machines[1], sync_beyond_blocks).await;
        let taken_over = late.reach(height).await;
        (fabric.world.now_ms() - began, taken_over)
    })
}

#[test]
fn a_newcomer_that_executes_every_epoch_waits_for_no_repeated_announcement() {
    let (took_ms, taken_over) = newcomer_takes(u64::MAX, Newcomer::Stays);
    assert_eq!(taken_over, 0);
    assert!(took_ms < NO_REPEAT_MS, "{took_ms} ms");
}

#[test]
fn a_newcomer_that_takes_the_state_over_waits_for_no_repeated_announcement() {
    let (took_ms, taken_over) = newcomer_takes(BEYOND, Newcomer::Stays);
    assert_eq!(taken_over, 1);
    assert!(took_ms < NO_REPEAT_MS, "{took_ms} ms");
}

/// It has no block to announce, so nobody can see by that how little it has.
#[test]
fn a_newcomer_that_begins_anew_is_told_the_tip_again() {
    for beyond in [u64::MAX, BEYOND] {
        let (took_ms, _) = newcomer_takes(beyond, Newcomer::BeginsAnew);
        assert!(took_ms < NO_REPEAT_MS, "{took_ms} ms");
    }
}
