//! Measures what this node has at the moment that somebody asks, sessions and replicas included. Knows
//! neither what it had before nor what the ledger says.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use admin::ContainerName;
use assets::{MeasureError, NVML, SessionReading, System, measure_network};
use trust::Standing;
use types::{AssetFacts, AssetType, ContainerFacts};

use crate::peers::standing;
use crate::shared::Shared;

/// What can be measured here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Measurable {
    /// What a machine has.
    Machine(MachineAsset),
    /// Transport to other members.
    Network,
    /// The replicas of a component that run here.
    Container(ContainerName),
}

/// What a machine has without any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineAsset {
    Cpu,
    Memory,
    Storage,
    Gpu,
}

/// A type of asset that does not go with what is to be counted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MeasurableError {
    /// Nobody can tell which replicas.
    #[error("a container is of one component: name its workload and the component")]
    Nameless,
    /// Only containers are of components.
    #[error("{0} is not of a component: only a container is")]
    Named(AssetType),
}

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureHereError {
    /// It is not there, or nothing says what it is.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// The node ends before it is measured.
    #[error("the node is stopping")]
    Stopping,
}

impl Measurable {
    /// What somebody asks for by its type, and of containers by their component.
    pub(crate) fn new(
        asset_type: AssetType,
        container: Option<ContainerName>,
    ) -> Result<Self, MeasurableError> {
        let machine = match (asset_type, container) {
            (AssetType::Container, Some(container)) => return Ok(Self::Container(container)),
            (AssetType::Container, None) => return Err(MeasurableError::Nameless),
            (other, Some(_)) => return Err(MeasurableError::Named(other)),
            (AssetType::Network, None) => return Ok(Self::Network),
            (AssetType::Cpu, None) => MachineAsset::Cpu,
            (AssetType::Memory, None) => MachineAsset::Memory,
            (AssetType::Storage, None) => MachineAsset::Storage,
            (AssetType::Gpu, None) => MachineAsset::Gpu,
        };
        Ok(Self::Machine(machine))
    }

    /// Its type.
    pub(crate) const fn asset_type(&self) -> AssetType {
        match self {
            Self::Machine(MachineAsset::Cpu) => AssetType::Cpu,
            Self::Machine(MachineAsset::Memory) => AssetType::Memory,
            Self::Machine(MachineAsset::Storage) => AssetType::Storage,
            Self::Machine(MachineAsset::Gpu) => AssetType::Gpu,
            Self::Network => AssetType::Network,
            Self::Container(_) => AssetType::Container,
        }
    }

    /// What these facts are said of.
    pub(crate) fn of(facts: &AssetFacts) -> Self {
        Self::Machine(match facts {
            AssetFacts::Network(_) => return Self::Network,
            AssetFacts::Container(facts) => {
                return Self::Container(ContainerName {
                    workload: facts.workload.clone(),
                    component: facts.component.clone(),
                });
            }
            AssetFacts::Cpu(_) => MachineAsset::Cpu,
            AssetFacts::Memory(_) => MachineAsset::Memory,
            AssetFacts::Storage(_) => MachineAsset::Storage,
            AssetFacts::Gpu(_) => MachineAsset::Gpu,
        })
    }
}

/// What this node has of one thing now. May take a second.
pub(crate) async fn measure(
    shared: &Shared,
    thing: Measurable,
) -> Result<AssetFacts, MeasureHereError> {
    match thing {
        Measurable::Machine(asset) => machine(shared, asset).await,
        Measurable::Network => Ok(network(&readings(shared))?),
        Measurable::Container(container) => Ok(instances(shared, &container)?),
    }
}

/// What the sessions with other members showed, as far as they showed anything.
pub(crate) fn readings(shared: &Shared) -> Vec<SessionReading> {
    let sessions = shared.peers.get().map(|peers| peers.sessions());
    let sessions = sessions.unwrap_or_default().into_iter();
    // Whoever is no member leases nothing, and may come over any path.
    let members = sessions.filter(|session| {
        !session.is_retired && matches!(standing(&session.peer), Standing::Member(_))
    });
    let measured = members.filter_map(|session| session.measured);
    let reading = measured.map(|measured| SessionReading {
        goodput_bytes_per_s: measured.goodput_bits / 8,
        rtt_us: u64::try_from(measured.rtt.as_micros()).unwrap_or(u64::MAX),
        loss_ppm: measured.loss_ppm,
    });
    reading.collect()
}

/// How many replicas of a component take calls here.
pub(crate) fn running(shared: &Shared, container: &ContainerName) -> u32 {
    let keys = shared
        .replicas
        .keys(&container.workload, &container.component);
    // Two generations of one replica may be alive while it is replaced.
    let replicas: BTreeSet<_> = keys.into_iter().collect();
    u32::try_from(replicas.len()).unwrap_or(u32::MAX)
}

fn network(readings: &[SessionReading]) -> Result<AssetFacts, MeasureError> {
    if readings.is_empty() {
        let why = "no session with another member has carried enough yet to tell what it carries; \
                   deploy a component of some MiB to both nodes, so that one fetches it from the \
                   other, and look for it in nexus stoq sessions";
        return Err(MeasureError::Absent {
            why: why.to_owned(),
        });
    }
    measure_network(readings).map(AssetFacts::Network)
}

fn instances(shared: &Shared, container: &ContainerName) -> Result<AssetFacts, MeasureError> {
    let ContainerName {
        workload,
        component,
    } = container.clone();
    match running(shared, container) {
        0 => Err(MeasureError::Absent {
            why: format!(
                "no replica of component {component} of workload {workload} runs on this node: \
                 nexus describe {workload} says where they run"
            ),
        }),
        instances => Ok(AssetFacts::Container(ContainerFacts {
            workload,
            component,
            instances,
        })),
    }
}

async fn machine(shared: &Shared, asset: MachineAsset) -> Result<AssetFacts, MeasureHereError> {
    let data = shared.data_dir.clone();
    let measured = tokio::task::spawn_blocking(move || match asset {
        MachineAsset::Cpu => assets::measure_cpu(&System::host()).map(AssetFacts::Cpu),
        MachineAsset::Memory => assets::measure_memory(&System::host()).map(AssetFacts::Memory),
        MachineAsset::Storage => assets::measure_storage(&data)
            .map(AssetFacts::Storage)
            .map_err(MeasureError::from),
        MachineAsset::Gpu => {
            let mut devices = assets::measure_gpus(OsStr::new(NVML))?.into_iter();
            let why = || MeasureError::Absent {
                why: "the driver knows no device".to_owned(),
            };
            devices.next().map(AssetFacts::Gpu).ok_or_else(why)
        }
    });
    let measured = measured.await.map_err(|_| MeasureHereError::Stopping)?;
    Ok(measured?)
}

#[cfg(test)]
mod tests {
    use types::Name;

    use super::*;

    fn container() -> ContainerName {
        let name = |text| Name::new(text).unwrap();
        ContainerName {
            workload: name("shop"),
            component: name("cart"),
        }
    }

    #[test]
    fn a_component_goes_with_a_container_and_with_nothing_else() {
        let named = Measurable::new(AssetType::Container, Some(container()));
        assert_eq!(named, Ok(Measurable::Container(container())));
        let nameless = Measurable::new(AssetType::Container, None);
        assert_eq!(nameless, Err(MeasurableError::Nameless));
        let cpu = Measurable::new(AssetType::Cpu, Some(container()));
        assert_eq!(cpu, Err(MeasurableError::Named(AssetType::Cpu)));
        let network = Measurable::new(AssetType::Network, None);
        assert_eq!(network, Ok(Measurable::Network));
    }

    #[test]
    fn what_no_session_showed_is_absent_with_what_to_do() {
        let refused = network(&[]).unwrap_err().to_string();
        assert!(refused.starts_with("absent: "), "{refused}");
        assert!(refused.contains("nexus stoq sessions"), "{refused}");
        let reading = SessionReading {
            goodput_bytes_per_s: 9,
            rtt_us: 8,
            loss_ppm: 7,
        };
        let facts = network(&[reading]).unwrap();
        assert_eq!(facts.capacity().0, 9);
    }
}
