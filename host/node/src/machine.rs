//! How large this machine is for one node: memory that the kernel will give, instances that fit.
//! Knows nothing of guests.

use std::fs;
use std::path::Path;

use runtime::INSTANCES_MAX;
use types::ByteSize;

/// Memory that one pool slot is counted with. An idle instance takes 30 KiB, one that serves keeps
/// up to 1 MiB resident, and limits bound each: a slot is a place, not a promise of memory.
const MEMORY_PER_SLOT: u64 = 1 << 20;

/// Part of the memory that is for guests, in percent; the rest is for the ledger, compilations and
/// everything else on the machine.
const GUESTS_PERCENT: u64 = 50;

/// Fewest slots that are derived: each costs address space only.
const SLOTS_MIN: u32 = 64;

/// Most slots that are derived. Each engine reserves 4 GiB of address space per slot, a process has
/// 128 TiB, and several engines have to fit; who wants more says so.
const SLOTS_DERIVED_MAX: u32 = 4_000;

/// Memory mappings of one live instance, as measured, rounded up.
const MAPPINGS_PER_SLOT: u64 = 6;

/// Memory mappings for everything that is no instance: code, threads, files of the ledger.
const MAPPINGS_RESERVED: u64 = 5_000;

/// What is known of the machine. What cannot be read is not known, and bounds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Machine {
    /// Least of the machine's memory and the limits of the control groups that the node is in.
    pub(crate) memory: Option<ByteSize>,
    /// `vm.max_map_count`.
    pub(crate) mappings_max: Option<u64>,
}

/// Asked for more instances than the kernel gives memory mappings for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{instances} instances need {needed} memory mappings and vm.max_map_count is {allowed}: run `sysctl -w vm.max_map_count={needed}`, or ask for at most {fit} with --instances"
)]
pub struct TooManyInstances {
    instances: u32,
    needed: u64,
    allowed: u64,
    fit: u32,
}

impl Machine {
    /// Reads `/proc` and `/sys/fs/cgroup`.
    pub(crate) fn look() -> Self {
        Self::look_in(Path::new("/"))
    }

    fn look_in(root: &Path) -> Self {
        let total = fs::read_to_string(root.join("proc/meminfo")).ok();
        let total = total.as_deref().and_then(total_memory);
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let limits = groups.lines().filter_map(|line| group_limit(root, line));
        let mappings = fs::read_to_string(root.join("proc/sys/vm/max_map_count")).ok();
        Self {
            memory: limits.chain(total).min().map(ByteSize::bytes),
            mappings_max: mappings.and_then(|text| text.trim().parse().ok()),
        }
    }

    /// Pool slots for a node of this machine: as many as its memory carries, at most
    /// [`SLOTS_DERIVED_MAX`] and what the kernel maps.
    pub(crate) fn instances(&self) -> u32 {
        let for_guests = self
            .memory
            .map(|memory| memory.as_u64() / 100 * GUESTS_PERCENT / MEMORY_PER_SLOT);
        let by_memory =
            for_guests.map_or(SLOTS_MIN, |slots| u32::try_from(slots).unwrap_or(u32::MAX));
        by_memory
            .clamp(SLOTS_MIN, SLOTS_DERIVED_MAX)
            .min(self.mapped())
    }

    /// Whether the kernel has memory mappings for so many.
    pub(crate) fn check(&self, instances: u32) -> Result<(), TooManyInstances> {
        let fit = self.mapped();
        match self.mappings_max {
            Some(allowed) if instances > fit => Err(TooManyInstances {
                instances,
                needed: u64::from(instances) * MAPPINGS_PER_SLOT + MAPPINGS_RESERVED,
                allowed,
                fit,
            }),
            _ => Ok(()),
        }
    }

    fn mapped(&self) -> u32 {
        self.mappings_max.map_or(INSTANCES_MAX, |mappings| {
            let slots = mappings.saturating_sub(MAPPINGS_RESERVED) / MAPPINGS_PER_SLOT;
            u32::try_from(slots).unwrap_or(u32::MAX).max(1)
        })
    }
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// The least memory limit on the way from the root to the group of one line of `/proc/self/cgroup`:
/// `0::/path` is version 2, `4:memory:/path` version 1. In a container both may show paths of the
/// host that are not there; the limit is then at the mount's own root.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (mount, file) = if controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    let mount = root.join(mount);
    let group = mount.join(path.trim_start_matches('/'));
    let groups = group
        .ancestors()
        .take_while(|group| group.starts_with(&mount));
    // `max`, for no limit, is no number.
    let limit = |group: &Path| {
        fs::read_to_string(group.join(file))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    groups.filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Machine {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Machine::look_in(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:  8388608 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_least_of_machine_and_control_groups_counts() {
        assert_eq!(machine(&[]), Machine::default());
        assert_eq!(machine(&[MEMINFO]).memory, Some(ByteSize::mib(8 << 10)));
        let second = [
            MEMINFO,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ];
        assert_eq!(machine(&second).memory, Some(ByteSize::mib(1 << 10)));
        let first = [
            MEMINFO,
            (
                "proc/self/cgroup",
                "9:name=systemd:/\n4:cpu,memory:/host/path\n0::/\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"),
        ];
        assert_eq!(machine(&first).memory, Some(ByteSize::mib(2 << 10)));
    }

    #[test]
    fn slots_follow_memory_and_stay_within_what_the_kernel_maps() {
        let slots = |gib: u64, mappings_max| {
            let memory = Some(ByteSize::mib(gib << 10));
            Machine {
                memory,
                mappings_max,
            }
            .instances()
        };
        assert_eq!(slots(1, None), 511);
        assert_eq!(slots(4, Some(65_530)), 2_047);
        assert_eq!(slots(1_000, Some(65_530)), SLOTS_DERIVED_MAX);
        assert_eq!(slots(1_000, Some(11_000)), 1_000);
        assert_eq!(slots(0, None), SLOTS_MIN);
        assert_eq!(Machine::default().instances(), SLOTS_MIN);
    }

    #[test]
    fn more_than_the_kernel_maps_is_refused_with_what_to_do() {
        let machine = Machine {
            memory: None,
            mappings_max: Some(65_530),
        };
        machine.check(10_000).unwrap();
        let error = machine.check(10_500).unwrap_err().to_string();
        assert!(
            error.contains("sysctl -w vm.max_map_count=68000"),
            "{error}"
        );
        assert!(error.contains("at most 10088"), "{error}");
    }
}
