//! Replicas that orders run in: made for the first order of a generation, kept for the next ones.
//! An idle one holds compiled code and no instance. Decides nothing about who may run what.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use monitor::{CallMetrics, CallSample};
use orchestrator::ReplicaKey;
use runtime::{
    Breach, CallKind, CallRecord, Denial, LogStream, Observer, Replica, ReplicaConfig, ReplicaId,
    Services, StartReplicaError,
};
use tokio::sync::OnceCell;
use types::{ComponentSpec, Name};

use crate::artifact::compiled;
use crate::executions::refusal::{OrderRefusal, Text};
use crate::observer::{call_end, labels};
use crate::shared::Shared;

/// Replicas that are kept: each holds the code of its component in memory, as a placed one does.
const PREPARED_MAX: usize = 32;

/// Which deployment a replica was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    workload: Name,
    component: Name,
    generation: u64,
}

type Cell = Arc<OnceCell<Replica>>;

/// The replicas, those that were used last in front.
#[derive(Default)]
pub(crate) struct Prepared(Mutex<VecDeque<(Key, Cell)>>);

impl Prepared {
    /// The replica of a component, in this generation of its workload: whoever comes second waits for whoever makes it.
    pub(crate) async fn of(
        &self,
        shared: &Arc<Shared>,
        (workload, generation): (&Name, u64),
        spec: &ComponentSpec,
    ) -> Result<Replica, OrderRefusal> {
        let cell = self.cell(Key {
            workload: workload.clone(),
            component: spec.name.clone(),
            generation,
        });
        let make = || make(shared, workload, spec);
        cell.get_or_try_init(make).await.cloned()
    }

    /// The place of a replica. Calls that run in one that is forgotten go on to their end.
    fn cell(&self, key: Key) -> Cell {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(known, _)| *known == key);
        let cell = found.and_then(|at| kept.remove(at));
        let cell = cell.map_or_else(Cell::default, |(_, cell)| cell);
        // What a deployment was before is not ordered any more.
        kept.retain(|(known, _)| {
            known.workload != key.workload || known.generation == key.generation
        });
        kept.truncate(PREPARED_MAX - 1);
        kept.push_front((key, Arc::clone(&cell)));
        cell
    }
}

async fn make(
    shared: &Arc<Shared>,
    workload: &Name,
    spec: &ComponentSpec,
) -> Result<Replica, OrderRefusal> {
    let compiled = compiled(shared, spec).await;
    let compiled = compiled.map_err(|error| OrderRefusal::Prepare(Text::of(error)))?;
    let key = ReplicaKey {
        workload: workload.clone(),
        component: spec.name.clone(),
        index: 0,
    };
    let observer = OrderObserver(shared.metrics.calls_of(&labels(&key)));
    let config = ReplicaConfig {
        id: ReplicaId {
            workload: key.workload,
            component: key.component,
            index: key.index,
        },
        spec: spec.clone(),
        compiled,
        preopens: Vec::new(),
        // A deterministic component has no grants, and one with state has no place for it here.
        services: Services::default(),
        observer: Arc::new(observer),
    };
    let made = shared.runtime.replica(config).await;
    made.map_err(|error| match error {
        StartReplicaError::State(_) => OrderRefusal::Stateful,
        error => OrderRefusal::Prepare(Text::of(error)),
    })
}

/// Counts calls. What a guest writes is in the log where it is placed; a run of an order is not one of
/// those calls, and who asked for it hears how it ended.
struct OrderObserver(CallMetrics);

impl Observer for OrderObserver {
    fn log(&self, _: LogStream, _: &[u8]) {}

    fn breach(&self, breach: Breach) {
        tracing::debug!("an order reached a limit: {breach}");
    }

    fn call(&self, record: CallRecord) {
        if record.kind == CallKind::Trial {
            return;
        }
        self.0.count(&CallSample {
            end: call_end(&record.outcome),
            wall: record.wall,
            cpu: record.cpu,
            memory_peak_bytes: record.memory_peak_bytes,
        });
    }

    fn denied(&self, what: Denial) {
        tracing::debug!("an order was denied something: {what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize, generation: u64) -> Key {
        Key {
            workload: Name::new(format!("w{number}")).unwrap(),
            component: Name::new("main").unwrap(),
            generation,
        }
    }

    #[test]
    fn the_least_recently_used_and_older_generations_are_forgotten() {
        let prepared = Prepared::default();
        let first = prepared.cell(key(0, 1));
        for number in 1..PREPARED_MAX {
            prepared.cell(key(number, 1));
        }
        assert!(Arc::ptr_eq(&first, &prepared.cell(key(0, 1))));
        prepared.cell(key(PREPARED_MAX, 1));
        assert!(Arc::ptr_eq(&first, &prepared.cell(key(0, 1))));
        prepared.cell(key(0, 2));
        let kept: Vec<Key> = prepared
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|(k, _)| k.clone())
            .collect();
        assert_eq!(kept.len(), PREPARED_MAX);
        assert!(kept.contains(&key(0, 2)) && !kept.contains(&key(0, 1)));
        assert!(!kept.contains(&key(1, 1)));
    }
}
