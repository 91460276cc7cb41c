//! One replica's life on this node: prepare, start, serve or run, pause and resume, stop. Reports to
//! the follower.

use std::sync::Arc;
use std::time::Duration;

use orchestrator::{Event, ReplicaKey};
use runtime::{CallError, ExitStatus, Replica, ReplicaConfig, ReplicaId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use types::{ComponentKind, ComponentSpec};

use crate::artifact::{compiled, files_folder, preopens};
use crate::cpu;
use crate::guest_ledger;
use crate::memory;
use crate::network;
use crate::observer::ReplicaObserver;
use crate::replicas::LiveReplica;
use crate::shared::Shared;
use crate::volumes;

/// A command counts as running once it has lived this long: one that fails at once is never
/// reported as deployed.
const COMMAND_SETTLES_AFTER: Duration = Duration::from_millis(200);

/// How long the calls of a replica may go on after it was asked to stop.
const DRAIN_GRACE: Duration = Duration::from_secs(4);

/// What the follower hears.
#[derive(Debug)]
pub(crate) struct InstanceEvent {
    pub(crate) key: ReplicaKey,
    pub(crate) generation: u64,
    pub(crate) event: Event,
}

/// One start of one replica.
pub(crate) struct Instance {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: ReplicaKey,
    pub(crate) generation: u64,
    pub(crate) spec: Arc<ComponentSpec>,
    /// Whether it should be paused, as it was told last.
    pub(crate) paused: watch::Receiver<bool>,
    pub(crate) stop: CancellationToken,
    pub(crate) events: mpsc::Sender<InstanceEvent>,
}

impl Instance {
    /// Lives until the replica ends or is told to stop.
    pub(crate) async fn live(mut self) {
        let observer = Arc::new(ReplicaObserver::new(
            Arc::clone(&self.shared),
            self.key.clone(),
        ));
        let event = tokio::select! {
            biased;
            () = self.stop.cancelled() => Event::Stopped,
            started = self.start(&observer) => match started {
                Ok((replica, exports)) => self.serve(replica, exports, &observer).await,
                Err(failure) => {
                    observer.note(format!("did not start: {failure}"));
                    Event::Ended { failure: Some(failure) }
                }
            },
        };
        let folder = files_folder(&self.shared, &self.key, self.generation);
        // Gone already, or never made; the next start of the node clears what stays.
        let _ = tokio::fs::remove_dir_all(folder).await;
        self.report(event).await;
    }

    /// The replica, and the signatures of its exports.
    async fn start(
        &self,
        observer: &Arc<ReplicaObserver>,
    ) -> Result<(Replica, Arc<[String]>), String> {
        let Self {
            shared,
            key,
            generation,
            spec,
            ..
        } = self;
        let missing = shared.secrets.missing(&spec.secrets);
        if !missing.is_empty() {
            return Err(missing.join("; "));
        }
        // What a removed workload of this name left must be gone first.
        let stores = Arc::clone(&shared.stores);
        tokio::task::spawn_blocking(move || stores.remove_marked())
            .await
            .map_err(|error| error.to_string())?;
        let compiled = compiled(shared, spec)
            .await
            .map_err(|error| error.to_string())?;
        let exports = compiled
            .inspection()
            .exports
            .iter()
            .map(ToString::to_string)
            .collect();
        let folder = files_folder(shared, key, *generation);
        let preopens = preopens(shared, &spec.files, folder).await;
        let preopens = preopens.map_err(|error| error.to_string())?;
        let ReplicaKey {
            workload,
            component,
            index,
        } = key.clone();
        let mut services = shared.stores.services(&workload, spec);
        services.secrets = shared.secrets.values(&spec.secrets);
        services.publisher = Some(Arc::clone(&shared.bus) as Arc<dyn runtime::Publisher>);
        services.consensus = guest_ledger::of(shared, key, spec);
        services.memory = memory::of(shared, key, spec);
        services.cpu = cpu::of(shared, key, spec);
        services.network = network::of(shared, key, spec);
        services.volumes = volumes::of(shared, key, spec);
        services.state = Some(shared.states.of(&self.key));
        let config = ReplicaConfig {
            id: ReplicaId {
                workload,
                component,
                index,
            },
            spec: ComponentSpec::clone(spec),
            compiled,
            preopens,
            services,
            observer: Arc::clone(observer) as Arc<dyn runtime::Observer>,
        };
        let replica = shared
            .runtime
            .replica(config)
            .await
            .map_err(|error| error.to_string())?;
        Ok((replica, exports))
    }

    async fn serve(
        &mut self,
        replica: Replica,
        exports: Arc<[String]>,
        observer: &ReplicaObserver,
    ) -> Event {
        let (key, generation) = (self.key.clone(), self.generation);
        if self.spec.kind == ComponentKind::Command {
            return self.run(replica, observer).await;
        }
        observer.note(format!("started generation {generation}"));
        let live = LiveReplica {
            key: key.clone(),
            generation,
            replica: replica.clone(),
            exports,
        };
        // Closed before the first call can reach it.
        let halted = self.turn(&replica);
        self.shared.replicas.publish(live);
        let up = if halted {
            observer.note("came up paused".to_owned());
            Event::Paused
        } else {
            Event::Started
        };
        self.report(up).await;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Ok(()) = self.paused.changed() => self.obey(&replica, observer).await,
                else => self.stop.cancelled().await,
            }
        }
        self.shared.replicas.withdraw(&key, generation);
        replica.drain(DRAIN_GRACE).await;
        observer.note(format!("stopped generation {generation}"));
        Event::Stopped
    }

    async fn run(&mut self, replica: Replica, observer: &ReplicaObserver) -> Event {
        let text = format!("started generation {}", self.generation);
        // Before a paused one begins, it says that it is there.
        let mut known = self.turn(&replica);
        if known {
            observer.note(format!("{text}, paused"));
            self.report(Event::Paused).await;
        } else {
            observer.note(text);
        }
        let mut run = std::pin::pin!(replica.run());
        let mut settled = std::pin::pin!(tokio::time::sleep(COMMAND_SETTLES_AFTER));
        let end = loop {
            tokio::select! {
                biased;
                end = &mut run => break end,
                () = self.stop.cancelled() => {
                    replica.stop();
                    let _ = run.await;
                    observer.note("stopped on request".to_owned());
                    return Event::Stopped;
                }
                Ok(()) = self.paused.changed() => {
                    self.obey(&replica, observer).await;
                    known |= replica.is_paused();
                }
                () = &mut settled, if !known => {
                    known = true;
                    self.report(Event::Started).await;
                }
            }
        };
        let failure = failure(end);
        observer.note(match &failure {
            None => "ended well".to_owned(),
            Some(failure) => format!("ended: {failure}"),
        });
        Event::Ended { failure }
    }

    /// Does what it was told last, and reports that if it is a change.
    async fn obey(&mut self, replica: &Replica, observer: &ReplicaObserver) {
        let before = replica.is_paused();
        let (event, text) = match self.turn(replica) {
            paused if paused == before => return,
            true => (Event::Paused, "paused on request"),
            false => (Event::Resumed, "resumed on request"),
        };
        observer.note(text.to_owned());
        self.report(event).await;
    }

    /// Pauses or resumes the replica as it was told last. Whether it is paused now.
    fn turn(&mut self, replica: &Replica) -> bool {
        let paused = *self.paused.borrow_and_update();
        if paused {
            replica.pause();
        } else {
            replica.resume();
        }
        paused
    }

    async fn report(&self, event: Event) {
        let (key, generation) = (self.key.clone(), self.generation);
        // The follower outlives its instances, but for the very end of the node.
        let _ = self
            .events
            .send(InstanceEvent {
                key,
                generation,
                event,
            })
            .await;
    }
}

fn failure(end: Result<ExitStatus, CallError>) -> Option<String> {
    match end {
        Ok(ExitStatus(0)) => None,
        Ok(ExitStatus(status)) => Some(format!("exit status {status}")),
        Err(error) => Some(error.to_string()),
    }
}
