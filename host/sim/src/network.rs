//! The network between simulated nodes: sessions, delay, loss, doubles, disorder, cuts. Reads no
//! message; what a Byzantine node sends instead of the truth is decided in `rogue`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use consensus::simulated::SimWorld;
use consensus::{Channel, Inbound};
use tokio::sync::watch;
use types::NodeId;

use crate::scenario::Weather;

/// How long a cut lasts until the two nodes notice and close their session.
const NOTICED_MS: u64 = 5_000;
/// Latest a message comes that is much later than others, milliseconds.
const LATE_MS_MAX: u64 = 4_000;
/// Chance in a thousand, at every look, that two nodes that could have a session make one.
const CONNECT_PER_MILLE: u64 = 500;

/// What went over the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages handed to the network.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The network.
pub(crate) struct Net {
    world: SimWorld,
    /// By machine; the second ones of nodes that run twice come last.
    names: Vec<NodeId>,
    /// Both machines of each node that runs twice.
    twins: Vec<[usize; 2]>,
    state: Mutex<State>,
}

struct State {
    weather: Weather,
    ends: BTreeMap<usize, End>,
    /// How many troubles cut this way now.
    cuts: BTreeMap<(usize, usize), usize>,
    /// Since when a session's way is cut.
    cut_since: BTreeMap<(usize, usize), u64>,
    traffic: BTreeMap<u8, Traffic>,
}

/// A powered node's end.
struct End {
    inbound: Inbound,
    members: watch::Sender<BTreeSet<NodeId>>,
}

/// Ways that one trouble cut.
pub(crate) type Cuts = Vec<(usize, usize)>;

impl Net {
    /// `names` of all nodes, of which `twice` run twice.
    pub(crate) fn new(
        world: SimWorld,
        mut names: Vec<NodeId>,
        twice: &[usize],
        weather: Weather,
    ) -> Self {
        let mut twins = Vec::new();
        for node in twice {
            twins.push([*node, names.len()]);
            names.extend(names.get(*node).copied());
        }
        let state = State {
            weather,
            ends: BTreeMap::new(),
            cuts: BTreeMap::new(),
            cut_since: BTreeMap::new(),
            traffic: BTreeMap::new(),
        };
        Self {
            world,
            names,
            twins,
            state: Mutex::new(state),
        }
    }

    /// A node comes up.
    pub(crate) fn join(
        &self,
        node: usize,
        inbound: Inbound,
        members: watch::Sender<BTreeSet<NodeId>>,
    ) {
        self.lock().ends.insert(node, End { inbound, members });
    }

    /// A node goes down; its peers notice when they look.
    pub(crate) fn leave(&self, node: usize) {
        self.lock().ends.remove(&node);
    }

    /// Cuts one way.
    pub(crate) fn cut(&self, from: usize, to: usize) -> Cuts {
        let cuts = vec![(from, to)];
        self.add(&cuts);
        cuts
    }

    /// Cuts all ways between `side` and the rest.
    pub(crate) fn part(&self, side: &BTreeSet<usize>) -> Cuts {
        let nodes = 0..self.names.len();
        let ways = nodes
            .clone()
            .flat_map(|a| nodes.clone().map(move |b| (a, b)));
        let cuts = ways
            .filter(|(a, b)| side.contains(a) != side.contains(b))
            .collect();
        self.add(&cuts);
        cuts
    }

    fn add(&self, cuts: &Cuts) {
        let mut state = self.lock();
        for way in cuts {
            *state.cuts.entry(*way).or_default() += 1;
        }
    }

    /// Opens what [`Net::cut`] or [`Net::part`] cut.
    pub(crate) fn mend(&self, cuts: &Cuts) {
        let mut state = self.lock();
        for way in cuts {
            if let Some(count) = state.cuts.get_mut(way) {
                *count = count.saturating_sub(1);
            }
        }
        state.cuts.retain(|_, count| *count > 0);
    }

    /// Nothing but a short way from now on.
    pub(crate) fn clear_up(&self) {
        let mut state = self.lock();
        state.weather = Weather::FAIR;
        state.cuts.clear();
    }

    /// What went over each channel.
    pub(crate) fn traffic(&self) -> Vec<(Channel, Traffic)> {
        let state = self.lock();
        Channel::ALL
            .into_iter()
            .filter_map(|channel| Some((channel, *state.traffic.get(&channel.number())?)))
            .collect()
    }

    /// Opens sessions that can be and closes those whose cut or dead end was noticed.
    pub(crate) fn look(&self) {
        let now_ms = self.world.now_ms();
        let nodes = self.names.len();
        let mut state = self.lock();
        let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
        for (a, b) in pairs.filter(|(a, b)| self.know(*a, *b)) {
            let up = state.ends.contains_key(&a) && state.ends.contains_key(&b);
            let cut = state.cuts.contains_key(&(a, b)) || state.cuts.contains_key(&(b, a));
            let noticed = if cut {
                let since = *state.cut_since.entry((a, b)).or_insert(now_ms);
                now_ms.saturating_sub(since) >= NOTICED_MS
            } else {
                state.cut_since.remove(&(a, b));
                false
            };
            let both = self.connected(&state, a, b) && self.connected(&state, b, a);
            if !up || noticed {
                self.connect(&state, a, b, false);
            } else if !both && !cut && self.world.roll() % 1000 < CONNECT_PER_MILLE {
                self.connect(&state, a, b, true);
            }
        }
    }

    /// Whether a machine of this node has power.
    pub(crate) fn has_power(&self, node: usize) -> bool {
        let state = self.lock();
        self.machines_of(node)
            .any(|machine| state.ends.contains_key(&machine))
    }

    /// Whether what each of the two nodes sends now would come to the other.
    pub(crate) fn reach(&self, a: usize, b: usize) -> bool {
        let state = self.lock();
        let mut pairs = self
            .machines_of(a)
            .flat_map(|a| self.machines_of(b).map(move |b| (a, b)));
        pairs.any(|(a, b)| {
            let up = state.ends.contains_key(&a) && state.ends.contains_key(&b);
            let cut = state.cuts.contains_key(&(a, b)) || state.cuts.contains_key(&(b, a));
            a != b && self.know(a, b) && up && !cut
        })
    }

    /// The machines that run as this node.
    fn machines_of(&self, node: usize) -> impl Iterator<Item = usize> {
        let name = self.names.get(node);
        let machines = self.names.iter().enumerate();
        machines
            .filter(move |(_, other)| Some(*other) == name)
            .map(|(machine, _)| machine)
    }

    fn connected(&self, state: &State, a: usize, b: usize) -> bool {
        let (Some(end), Some(name)) = (state.ends.get(&a), self.names.get(b)) else {
            return false;
        };
        end.members.borrow().contains(name)
    }

    fn connect(&self, state: &State, a: usize, b: usize, connected: bool) {
        for (here, there) in [(a, b), (b, a)] {
            let (Some(end), Some(name)) = (state.ends.get(&here), self.names.get(there)) else {
                continue;
            };
            end.members.send_if_modified(|members| {
                if connected {
                    members.insert(*name)
                } else {
                    members.remove(name)
                }
            });
        }
    }

    pub(crate) fn number_of(&self, name: &NodeId) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Whether two machines ever have a session: of a node that runs twice, each other machine
    /// knows one, and the two do not know each other.
    fn know(&self, a: usize, b: usize) -> bool {
        let chosen = |of: usize, by: usize| {
            let pair = self.twins.iter().find(|pair| pair.contains(&of));
            pair.is_none_or(|pair| !pair.contains(&by) && pair.get(self.side(by)) == Some(&of))
        };
        chosen(a, b) && chosen(b, a)
    }

    /// Which of the two machines of a node that runs twice this machine knows.
    fn side(&self, machine: usize) -> usize {
        let pair = self.twins.iter().find(|pair| pair.contains(&machine));
        let second = |pair: &[usize; 2]| usize::from(pair.last() == Some(&machine));
        pair.map_or(machine % 2, second)
    }

    pub(crate) fn name_of(&self, node: usize) -> Option<NodeId> {
        self.names.get(node).copied()
    }

    /// Takes a message of `from`, to be sent after `pause`.
    pub(crate) fn send(
        self: &Arc<Self>,
        from: usize,
        to: NodeId,
        channel: Channel,
        bytes: &Bytes,
        pause: Duration,
    ) {
        let machines = self.names.iter().enumerate();
        let mut called = machines.filter(|(_, name)| **name == to);
        let Some((to, _)) = called.find(|(machine, _)| self.know(from, *machine)) else {
            return;
        };
        let weather = {
            let mut state = self.lock();
            let traffic = state.traffic.entry(channel.number()).or_default();
            traffic.messages += 1;
            traffic.bytes += bytes.len() as u64;
            state.weather
        };
        let chance = |per_mille: u64| per_mille > 0 && self.world.roll() % 1000 < per_mille;
        let copies = 1 + usize::from(chance(weather.doubled_per_mille));
        for _ in 0..copies {
            if chance(weather.lost_per_mille) {
                continue;
            }
            let mut way_ms = weather.delay_ms + self.world.roll() % weather.jitter_ms.max(1);
            if chance(weather.late_per_mille) {
                way_ms += self.world.roll() % LATE_MS_MAX;
            }
            let way = pause + Duration::from_millis(way_ms);
            let (net, bytes) = (self.clone(), bytes.clone());
            self.world.spawn(move |world| async move {
                world.sleep(way).await;
                net.arrive(from, to, channel, bytes);
            });
        }
    }

    fn arrive(&self, from: usize, to: usize, channel: Channel, bytes: Bytes) {
        let state = self.lock();
        // What is under way when its sender dies still comes.
        if state.cuts.contains_key(&(from, to)) {
            return;
        }
        if let (Some(end), Some(name)) = (state.ends.get(&to), self.names.get(from)) {
            // A refusal is what a network does too: the message is lost.
            let _ = end.inbound.deliver(*name, channel, bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
