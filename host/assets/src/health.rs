//! Whether an asset is still what was registered. Knows no way to measure.

use types::{Amount, AssetFacts};

/// How much less than registered still counts as unchanged, in thousandths.
///
/// What is counted, not measured (cores, devices, instances), has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerances {
    /// Of memory: other processes come and go.
    pub memory_permille: u64,
    /// Of room on a disk: logs grow.
    pub storage_permille: u64,
    /// Of a core's speed: clocks follow heat, and neighbours share caches.
    pub speed_permille: u64,
    /// Of transport: goodput follows what happens to be sent.
    pub network_permille: u64,
}

impl Tolerances {
    /// What is used unless a test says otherwise.
    pub const DEFAULT: Self = Self {
        memory_permille: 50,
        storage_permille: 50,
        speed_permille: 250,
        network_permille: 500,
    };
}

impl Default for Tolerances {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What became of a registered asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It is there, within tolerance or more than it was.
    Unchanged,
    /// There is less of it.
    Shrunk {
        /// What was registered.
        registered: Amount,
        /// What there is.
        found: Amount,
    },
    /// There is none of it, or another thing in its place.
    Gone {
        /// How that is known.
        why: String,
    },
}

/// Compares what was `registered` with what was `found`, of which `reserved` does not show because
/// leases hold it, though never more than `ceiling`: what is leased and untouched is free as well, and
/// would count twice. `None` if they are of different types.
pub(crate) fn judge(
    registered: &AssetFacts,
    found: &AssetFacts,
    reserved: Amount,
    ceiling: Option<Amount>,
    tolerances: &Tolerances,
) -> Option<Health> {
    let capacity = registered.capacity();
    let most = ceiling.map_or(u64::MAX, |ceiling| ceiling.0);
    let with_leases = |bytes: u64| bytes.saturating_add(reserved.0).min(most);
    let (found, permille) = match (registered, found) {
        (AssetFacts::Cpu(was), AssetFacts::Cpu(is)) => {
            if was.architecture != is.architecture {
                let why = format!("the processor is {} now", is.architecture);
                return Some(Health::Gone { why });
            }
            let tolerated = is.calibrated >= least(was.calibrated, tolerances.speed_permille);
            if tolerated {
                (is.cores_milli, 0)
            } else {
                // As many of the registered cores as these do the work of.
                let work = u128::from(is.cores_milli) * u128::from(is.calibrated);
                let cores = work / u128::from(was.calibrated.max(1));
                (u64::try_from(cores).unwrap_or(u64::MAX), 0)
            }
        }
        (AssetFacts::Memory(_), AssetFacts::Memory(is)) => {
            (with_leases(is.bytes), tolerances.memory_permille)
        }
        (AssetFacts::Storage(_), AssetFacts::Storage(is)) => {
            (with_leases(is.bytes), tolerances.storage_permille)
        }
        (AssetFacts::Network(_), AssetFacts::Network(is)) => {
            (is.bytes_per_s, tolerances.network_permille)
        }
        (AssetFacts::Gpu(was), AssetFacts::Gpu(is)) => {
            if was.uuid != is.uuid {
                let why = format!("device {} is there in place of {}", is.uuid, was.uuid);
                return Some(Health::Gone { why });
            }
            let share = u128::from(is.memory_bytes) * u128::from(capacity.0);
            let share = share / u128::from(was.memory_bytes.max(1));
            (u64::try_from(share).unwrap_or(u64::MAX), 0)
        }
        (AssetFacts::Container(was), AssetFacts::Container(is)) => {
            if (&was.workload, &was.component) != (&is.workload, &is.component) {
                let why = format!("{}/{} is there instead", is.workload, is.component);
                return Some(Health::Gone { why });
            }
            (is.instances.into(), 0)
        }
        _ => return None,
    };
    Some(if found == 0 && capacity != Amount::ZERO {
        Health::Gone {
            why: "nothing of it is left".to_owned(),
        }
    } else if found >= least(capacity.0, permille) {
        Health::Unchanged
    } else {
        Health::Shrunk {
            registered: capacity,
            found: Amount(found),
        }
    })
}

/// The least that still counts as `registered`.
fn least(registered: u64, permille: u64) -> u64 {
    let kept = u128::from(1_000_u64.saturating_sub(permille));
    u64::try_from((u128::from(registered) * kept).div_ceil(1_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use types::{ContainerFacts, CpuFacts, FactText, GpuFacts, MemoryFacts, Name};

    use super::*;

    fn judged(was: &AssetFacts, is: &AssetFacts, reserved: u64) -> Health {
        judge(was, is, Amount(reserved), None, &Tolerances::DEFAULT).unwrap()
    }

    fn shrunk(registered: u64, found: u64) -> Health {
        Health::Shrunk {
            registered: Amount(registered),
            found: Amount(found),
        }
    }

    #[test]
    fn memory_may_vary_and_leases_are_no_loss() {
        let memory = |bytes| AssetFacts::Memory(MemoryFacts { bytes });
        let was = memory(1_000);
        assert_eq!(judged(&was, &memory(950), 0), Health::Unchanged);
        assert_eq!(judged(&was, &memory(2_000), 0), Health::Unchanged);
        assert_eq!(judged(&was, &memory(949), 0), shrunk(1_000, 949));
        assert_eq!(judged(&was, &memory(350), 600), Health::Unchanged);
        assert_eq!(judged(&was, &memory(300), 600), shrunk(1_000, 900));
        assert!(matches!(judged(&was, &memory(0), 0), Health::Gone { .. }));
        assert_eq!(
            judged(&memory(u64::MAX), &memory(u64::MAX), 1),
            Health::Unchanged
        );
    }

    #[test]
    fn leases_that_nobody_touched_hide_no_lower_limit() {
        let memory = |bytes| AssetFacts::Memory(MemoryFacts { bytes });
        let ceiling = Some(Amount(400));
        let tolerances = Tolerances::DEFAULT;
        let found = judge(
            &memory(800),
            &memory(400),
            Amount(800),
            ceiling,
            &tolerances,
        );
        assert_eq!(found, Some(shrunk(800, 400)));
    }

    #[test]
    fn fewer_or_slower_cores_are_less_cpu() {
        let cpu = |cores_milli, calibrated, architecture| {
            AssetFacts::Cpu(CpuFacts {
                cores_milli,
                calibrated,
                architecture: FactText::new(architecture).unwrap(),
            })
        };
        let was = cpu(2_000, 1_000, "x86_64");
        assert_eq!(
            judged(&was, &cpu(2_000, 750, "x86_64"), 0),
            Health::Unchanged
        );
        assert_eq!(
            judged(&was, &cpu(1_999, 1_000, "x86_64"), 0),
            shrunk(2_000, 1_999)
        );
        assert_eq!(
            judged(&was, &cpu(2_000, 500, "x86_64"), 0),
            shrunk(2_000, 1_000)
        );
        let other = judged(&was, &cpu(2_000, 1_000, "aarch64"), 0);
        assert!(matches!(other, Health::Gone { .. }));
    }

    #[test]
    fn another_device_or_deployment_is_no_replacement() {
        let gpu = |uuid, memory_bytes| {
            let text = |text| FactText::new(text).unwrap();
            AssetFacts::Gpu(GpuFacts {
                vendor: text("NVIDIA"),
                model: text("H100"),
                memory_bytes,
                uuid: text(uuid),
            })
        };
        let was = gpu("GPU-1", 100);
        assert_eq!(judged(&was, &gpu("GPU-1", 100), 0), Health::Unchanged);
        assert_eq!(judged(&was, &gpu("GPU-1", 50), 0), shrunk(1_000, 500));
        assert!(matches!(
            judged(&was, &gpu("GPU-2", 100), 0),
            Health::Gone { .. }
        ));
        let container = |component, instances| {
            AssetFacts::Container(ContainerFacts {
                workload: Name::new("web").unwrap(),
                component: Name::new(component).unwrap(),
                instances,
            })
        };
        let was = container("api", 3);
        assert_eq!(judged(&was, &container("api", 2), 0), shrunk(3, 2));
        assert!(matches!(
            judged(&was, &container("api", 0), 0),
            Health::Gone { .. }
        ));
        assert!(matches!(
            judged(&was, &container("ui", 3), 0),
            Health::Gone { .. }
        ));
        let tolerances = Tolerances::DEFAULT;
        assert_eq!(
            judge(&was, &gpu("GPU-1", 1), Amount(0), None, &tolerances),
            None
        );
    }
}
