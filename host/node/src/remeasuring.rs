//! Measures what this node registered again, now and then, and says on the ledger what became less.
//! What is as it was costs no block. Registers nothing, and leaves what is more to the owner.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use admin::ContainerName;
use assets::{
    Adapter, Capacity, ContainerAdapter, CpuAdapter, EnforceError, Enforcement, GpuAdapter, Health,
    HealthError, MeasureError, MemoryAdapter, NVML, NetworkAdapter, Reservation, SessionReading,
    System, Tolerances, room,
};
use ledger::{AssetOperation, AssetRecord, DecodeRecordError};
use tokio_util::sync::CancellationToken;
use types::{Amount, AssetFacts, AssetId, AssetType, MemoryFacts, NodeId, StorageFacts};

use crate::measuring::{self, Measurable};
use crate::proving::{self, Subject};
use crate::shared::Shared;

/// Pause between two looks: what is lost stays promised meanwhile, and a look takes a second of one
/// core.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Runs until `stop`.
pub(crate) async fn remeasure(shared: Arc<Shared>, stop: CancellationToken) {
    let pause = INTERVAL + offset(&shared.node);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&shared) => {}
        }
    }
}

/// A minute at most, of each node another part, so that nodes that began together do not all sign at
/// once.
fn offset(node: &NodeId) -> Duration {
    let [low, high, ..] = node.as_bytes();
    Duration::from_millis(u16::from_le_bytes([*low, *high]).into())
}

async fn look(shared: &Arc<Shared>) {
    // State that cannot be read ends the node elsewhere.
    for (asset, record, leased) in registered(shared).unwrap_or_default() {
        let Some(here) = here(shared, &record.facts) else {
            continue;
        };
        let facts = record.facts.clone();
        let judged = tokio::task::spawn_blocking(move || compare(&here, &facts, leased));
        let found = match judged.await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::info!(%asset, %error, "not measured again");
                continue;
            }
            // The process ends.
            Err(_) => return,
        };
        let Some(operation) = consequence(asset, &record, found) else {
            continue;
        };
        let words = operation.to_string();
        let subject = |_| match operation {
            AssetOperation::Remeasure { .. } => Subject::measured(shared, asset),
            _ => Subject::own(shared, asset),
        };
        let signed = proving::sign(shared, &operation, subject);
        match signed.await {
            Ok(signed) => tracing::warn!(height = signed.height, "{words}"),
            Err(error) => tracing::info!(%error, "not done: {words}"),
        }
    }
}

/// What this node has on the ledger, and how much of each is leased.
fn registered(shared: &Shared) -> Result<Vec<(AssetId, AssetRecord, Amount)>, DecodeRecordError> {
    let state = shared.state();
    let view = &state.view;
    let mut registered = Vec::new();
    for asset in view.assets_of(&shared.node)? {
        let leased = view.leases_of(&asset)?.leased(view.time_ms());
        registered.extend(view.asset(&asset)?.map(|record| (asset, record, leased)));
    }
    Ok(registered)
}

/// Where something is measured again.
struct Here {
    system: System,
    directory: PathBuf,
    /// What sessions showed.
    readings: Vec<SessionReading>,
    /// Replicas that run of what is to be measured, if it is a container.
    running: u32,
}

/// What can be seen of something now; none if that cannot tell whether it is gone.
fn here(shared: &Shared, facts: &AssetFacts) -> Option<Here> {
    let mut here = Here {
        system: System::host(),
        directory: shared.data_dir.clone(),
        readings: Vec::new(),
        running: 0,
    };
    match Measurable::of(facts) {
        Measurable::Machine(_) => {}
        Measurable::Network => {
            here.readings = measuring::readings(shared);
            // Silence shows nothing: sessions that began anew have not carried anything yet.
            if here.readings.is_empty() {
                return None;
            }
        }
        Measurable::Container(container) => {
            here.running = measuring::running(shared, &container);
            // Nor do replicas that are about to start again.
            if here.running == 0 && is_placed(shared, &container) {
                return None;
            }
        }
    }
    Some(here)
}

/// Whether the ledger places replicas of a component here. State that cannot be read ends the node
/// elsewhere.
fn is_placed(shared: &Shared, container: &ContainerName) -> bool {
    let placements = shared.state().view.placements_of(&container.workload);
    placements.is_ok_and(|placements| {
        placements.iter().any(|placement| {
            placement.node == shared.node && placement.component == container.component
        })
    })
}

/// What became of something.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It is there, within tolerance or more than it was.
    Same,
    /// There is so much of it now.
    Less(AssetFacts),
    /// There is none of it.
    Gone { why: String },
}

/// What to sign of what was found, if anything.
fn consequence(asset: AssetId, record: &AssetRecord, found: Found) -> Option<AssetOperation> {
    match found {
        Found::Same => None,
        Found::Less(facts) => Some(AssetOperation::Remeasure { asset, facts }),
        Found::Gone { why } if !record.drained => {
            tracing::warn!(%asset, why, "an asset of this node is gone: it is drained");
            Some(AssetOperation::Drain { asset })
        }
        Found::Gone { .. } => None,
    }
}

/// Measures again what was `registered`, of which leases have `leased`. What they have is there,
/// whether guests use it or not.
fn compare(here: &Here, registered: &AssetFacts, leased: Amount) -> Result<Found, HealthError> {
    let total = registered.capacity();
    let adapter: Box<dyn Adapter> = match registered {
        AssetFacts::Cpu(_) => Box::new(CpuAdapter::new(here.system.clone(), total)),
        AssetFacts::Memory(_) => Box::new(MemoryAdapter::new(here.system.clone(), total)),
        AssetFacts::Storage(facts) => Box::new(RoomOf {
            directory: here.directory.clone(),
            registered: facts.clone(),
            capacity: Capacity::new(total),
        }),
        AssetFacts::Gpu(facts) => Box::new(GpuAdapter::new(NVML.into(), facts.uuid.clone(), total)),
        AssetFacts::Network(_) => {
            let network = NetworkAdapter::new(total);
            network.observe(here.readings.clone());
            Box::new(network)
        }
        AssetFacts::Container(facts) => {
            let (workload, component) = (facts.workload.clone(), facts.component.clone());
            let container = ContainerAdapter::new(workload, component, total);
            container.observe(here.running);
            Box::new(container)
        }
    };
    // Nothing is refused as too much: a measurement may have taken away what is leased still.
    let _leased = adapter.reserve(leased.min(total));
    Ok(match adapter.health(registered, &Tolerances::DEFAULT)? {
        Health::Unchanged => Found::Same,
        Health::Gone { why } => Found::Gone { why },
        Health::Shrunk { found, .. } => Found::Less(match registered {
            AssetFacts::Memory(_) => AssetFacts::Memory(MemoryFacts { bytes: found.0 }),
            AssetFacts::Storage(facts) => AssetFacts::Storage(StorageFacts {
                bytes: found.0,
                ..facts.clone()
            }),
            _ => adapter.measure()?,
        }),
    })
}

/// Room of a directory without a test of its speed, which would write 16 MiB at each look.
struct RoomOf {
    directory: PathBuf,
    registered: StorageFacts,
    capacity: Capacity,
}

impl Adapter for RoomOf {
    fn asset_type(&self) -> AssetType {
        AssetType::Storage
    }

    fn measure(&self) -> Result<AssetFacts, MeasureError> {
        Ok(AssetFacts::Storage(StorageFacts {
            bytes: room(&self.directory)?.free_bytes,
            ..self.registered.clone()
        }))
    }

    fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    fn enforce(&self, _: &Reservation) -> Result<Enforcement, EnforceError> {
        Err(EnforceError::Unsupported {
            asset_type: AssetType::Storage,
            by: "whoever leases it enforces it",
        })
    }

    fn ceiling(&self) -> Result<Option<Amount>, MeasureError> {
        Ok(Some(Amount(room(&self.directory)?.total_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use types::{AssetPolicy, ContainerFacts, CpuFacts, FactText, GpuFacts, Name, NetworkFacts};

    use super::*;

    /// A machine of two cores that has 900 of 1000 KiB to give.
    fn machine() -> (tempfile::TempDir, Here) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        let meminfo = "MemTotal: 1000 kB\nMemAvailable: 900 kB\n";
        fs::write(root.path().join("proc/meminfo"), meminfo).unwrap();
        let system = System::at(root.path(), 2);
        let here = Here {
            system,
            directory: root.path().to_owned(),
            readings: Vec::new(),
            running: 0,
        };
        (root, here)
    }

    fn found(registered: &AssetFacts, leased: u64) -> Found {
        let (_root, here) = machine();
        compare(&here, registered, Amount(leased)).unwrap()
    }

    fn memory(kib: u64) -> AssetFacts {
        AssetFacts::Memory(MemoryFacts { bytes: kib << 10 })
    }

    #[test]
    fn memory_that_varies_or_is_leased_is_as_it_was() {
        assert_eq!(found(&memory(900), 0), Found::Same);
        assert_eq!(found(&memory(920), 0), Found::Same);
        assert_eq!(found(&memory(500), 0), Found::Same);
        assert_eq!(found(&memory(1_000), 90 << 10), Found::Same);
        assert_eq!(found(&memory(2_000), 0), Found::Less(memory(900)));
        // More than there is at all cannot be leased.
        assert_eq!(
            found(&memory(2_000), 1_000 << 10),
            Found::Less(memory(1_000))
        );
    }

    #[test]
    fn fewer_cores_are_less_and_another_processor_is_gone() {
        let cpu = |cores_milli, architecture: &str| {
            AssetFacts::Cpu(CpuFacts {
                cores_milli,
                calibrated: 1,
                architecture: FactText::new(architecture).unwrap(),
            })
        };
        let here = std::env::consts::ARCH;
        assert_eq!(found(&cpu(2_000, here), 0), Found::Same);
        let less = found(&cpu(4_000, here), 0);
        assert!(
            matches!(&less, Found::Less(facts) if facts.capacity() == Amount(2_000)),
            "{less:?}"
        );
        assert!(matches!(
            found(&cpu(2_000, "abacus"), 0),
            Found::Gone { .. }
        ));
    }

    #[test]
    fn room_is_looked_at_without_a_test() {
        let storage = |bytes| {
            AssetFacts::Storage(StorageFacts {
                bytes,
                write_bytes_per_s: 1,
                read_bytes_per_s: 2,
                flush_us: 3,
            })
        };
        assert_eq!(found(&storage(1), 0), Found::Same);
        match found(&storage(u64::MAX), 0) {
            Found::Less(AssetFacts::Storage(facts)) => {
                let speed = (
                    facts.write_bytes_per_s,
                    facts.read_bytes_per_s,
                    facts.flush_us,
                );
                assert_eq!(speed, (1, 2, 3));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_path_that_carries_half_as_much_is_as_it_was_and_a_slower_one_is_less() {
        let facts = |bytes_per_s| NetworkFacts {
            bytes_per_s,
            rtt_us: 7,
            loss_ppm: 0,
            sessions: 1,
        };
        let registered = AssetFacts::Network(facts(1_000));
        let (_root, mut here) = machine();
        let mut shows = |goodput_bytes_per_s| {
            here.readings = vec![SessionReading {
                goodput_bytes_per_s,
                rtt_us: 7,
                loss_ppm: 0,
            }];
            compare(&here, &registered, Amount::ZERO).unwrap()
        };
        assert_eq!(shows(2_000), Found::Same);
        assert_eq!(shows(500), Found::Same);
        let less = Found::Less(AssetFacts::Network(facts(499)));
        assert_eq!(shows(499), less);
    }

    #[test]
    fn replicas_are_counted_again() {
        let name = |text| Name::new(text).unwrap();
        let facts = |instances| {
            AssetFacts::Container(ContainerFacts {
                workload: name("shop"),
                component: name("cart"),
                instances,
            })
        };
        let (_root, mut here) = machine();
        let mut run = |running| {
            here.running = running;
            compare(&here, &facts(3), Amount(3)).unwrap()
        };
        assert_eq!(run(4), Found::Same);
        assert_eq!(run(3), Found::Same);
        assert_eq!(run(2), Found::Less(facts(2)));
        assert!(matches!(run(0), Found::Gone { .. }));
    }

    #[test]
    fn what_is_gone_is_drained_once_and_what_is_the_same_costs_nothing() {
        let host = NodeId::from_bytes([1; 32]);
        let facts = AssetFacts::Gpu(GpuFacts {
            vendor: FactText::new("NVIDIA").unwrap(),
            model: FactText::new("H100").unwrap(),
            memory_bytes: 1,
            uuid: FactText::new("GPU-of-no-machine").unwrap(),
        });
        let asset = AssetId::new(&host, &facts, 0);
        let mut record = AssetRecord {
            host,
            owner: host,
            facts,
            policy: AssetPolicy::private(),
            drained: false,
            registered_at: 1,
            measured_ms: 1,
        };
        assert_eq!(consequence(asset, &record, Found::Same), None);
        let gone = || found(&record.facts, 0);
        assert!(matches!(gone(), Found::Gone { .. }), "{:?}", gone());
        let drain = Some(AssetOperation::Drain { asset });
        assert_eq!(consequence(asset, &record, gone()), drain);
        let gone = gone();
        record.drained = true;
        assert_eq!(consequence(asset, &record, gone), None);
    }
}
