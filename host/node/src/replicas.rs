//! The instances that take calls on this node, and what has been counted of each replica.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use orchestrator::ReplicaKey;
use runtime::Replica;
use types::Name;

/// A replica that takes calls.
#[derive(Clone)]
pub(crate) struct LiveReplica {
    pub(crate) key: ReplicaKey,
    pub(crate) generation: u64,
    pub(crate) replica: Replica,
    /// Signatures of what it exports.
    pub(crate) exports: Arc<[String]>,
}

/// Sums over all calls of one replica since the node started.
#[derive(Debug, Default)]
pub(crate) struct ReplicaStats {
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) cpu_us: AtomicU64,
    pub(crate) memory_peak_bytes: AtomicU64,
    /// The last breach, trap or denial, for `ps`.
    pub(crate) problem: Mutex<Option<String>>,
}

impl ReplicaStats {
    pub(crate) fn set_problem(&self, problem: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }

    pub(crate) fn problem(&self) -> Option<String> {
        self.problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }
}

/// Replicas by workload and component: found without building a key.
type ByComponent = BTreeMap<Name, BTreeMap<Name, Vec<LiveReplica>>>;

/// Replicas by component.
#[derive(Default)]
pub(crate) struct Replicas {
    live: RwLock<ByComponent>,
    stats: Mutex<BTreeMap<ReplicaKey, Arc<ReplicaStats>>>,
}

impl Replicas {
    /// Lets calls reach a replica.
    pub(crate) fn publish(&self, replica: LiveReplica) {
        let ReplicaKey {
            workload,
            component,
            ..
        } = replica.key.clone();
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let components = live.entry(workload).or_default();
        components.entry(component).or_default().push(replica);
    }

    /// Keeps new calls away from a replica.
    pub(crate) fn withdraw(&self, key: &ReplicaKey, generation: u64) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let Some(components) = live.get_mut(&key.workload) else {
            return;
        };
        if let Some(replicas) = components.get_mut(&key.component) {
            replicas.retain(|live| live.key != *key || live.generation != generation);
        }
        components.retain(|_, replicas| !replicas.is_empty());
        live.retain(|_, components| !components.is_empty());
    }

    /// The replica of a component with the fewest calls in flight, of its newest generation.
    pub(crate) fn least_loaded(&self, workload: &Name, component: &Name) -> Option<Replica> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let current = current(&live, workload, component);
        let least = current.min_by_key(|live| live.replica.in_flight());
        least.map(|live| live.replica.clone())
    }

    /// Signatures of what a component exports, as far as a replica runs here to tell.
    pub(crate) fn exports(&self, workload: &Name, component: &Name) -> Arc<[String]> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let mut current = current(&live, workload, component);
        current
            .next()
            .map_or_else(Arc::default, |live| Arc::clone(&live.exports))
    }

    /// Which replicas of a component take calls here; one that is being replaced is there twice.
    pub(crate) fn keys(&self, workload: &Name, component: &Name) -> Vec<ReplicaKey> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let components = live.get(workload);
        let replicas = components.and_then(|components| components.get(component));
        let keys = replicas.into_iter().flatten().map(|live| live.key.clone());
        keys.collect()
    }

    /// Calls that run now in one replica, over its generations.
    pub(crate) fn in_flight(&self, key: &ReplicaKey) -> usize {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let components = live.get(&key.workload);
        let replicas = components.and_then(|components| components.get(&key.component));
        let same = replicas
            .into_iter()
            .flatten()
            .filter(|live| live.key == *key);
        same.map(|live| live.replica.in_flight()).sum()
    }

    /// The counters of a replica, begun if need be.
    pub(crate) fn stats(&self, key: &ReplicaKey) -> Arc<ReplicaStats> {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(stats.entry(key.clone()).or_default())
    }

    /// Forgets the counters of replicas that are gone.
    pub(crate) fn retain_stats(&self, keep: impl Fn(&ReplicaKey) -> bool) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.retain(|key, _| keep(key));
    }
}

/// The replicas of a component's newest generation.
fn current<'a>(
    live: &'a ByComponent,
    workload: &Name,
    component: &Name,
) -> impl Iterator<Item = &'a LiveReplica> {
    let replicas = live
        .get(workload)
        .and_then(|components| components.get(component));
    let replicas = replicas.map(Vec::as_slice).unwrap_or_default();
    let newest = replicas.iter().map(|live| live.generation).max();
    replicas
        .iter()
        .filter(move |live| Some(live.generation) == newest)
}
