//! Working memory: what the machine has, and what every control group above this process leaves of it.

use types::MemoryFacts;

use crate::adapter::MeasureError;
use crate::cgroup::{Level, Version, levels};
use crate::system::{System, SystemFile, SystemFileError};

/// What memory there is for this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryReading {
    /// What it could have if nothing else took any: the machine's, or the least limit of a group.
    pub ceiling_bytes: u64,
    /// What it can have now.
    pub available_bytes: u64,
}

/// What memory can be given away now.
///
/// # Errors
/// [`MeasureError`] if the system does not say.
pub fn measure_memory(system: &System) -> Result<MemoryFacts, MeasureError> {
    let reading = memory_reading(system)?;
    Ok(MemoryFacts {
        bytes: reading.available_bytes,
    })
}

/// The least of what the machine and each control group from this process's own to the root say.
///
/// What a group holds counts without the cached files that the kernel would drop first, as the
/// machine's own figure does: else whoever read files has no memory left.
///
/// # Errors
/// [`SystemFileError`] if a file says something else than it should.
pub fn memory_reading(system: &System) -> Result<MemoryReading, SystemFileError> {
    let file = system.required("proc/meminfo")?;
    let ceiling_bytes = field(&file, "MemTotal:")?;
    let mut reading = MemoryReading {
        ceiling_bytes,
        available_bytes: field(&file, "MemAvailable:")?.min(ceiling_bytes),
    };
    for level in levels(system, "memory")? {
        if let Some((limit, used)) = bounds(system, &level)? {
            let rest = limit.saturating_sub(used);
            reading.ceiling_bytes = reading.ceiling_bytes.min(limit);
            reading.available_bytes = reading.available_bytes.min(rest);
        }
    }
    Ok(reading)
}

/// A figure of `/proc/meminfo`, in bytes.
fn field(file: &SystemFile, name: &str) -> Result<u64, SystemFileError> {
    let value = file.text.lines().find_map(|line| line.strip_prefix(name));
    let kib = value.and_then(|value| value.trim().strip_suffix("kB"));
    let kib = kib.and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.and_then(|kib| kib.checked_mul(1_024))
        .ok_or_else(|| file.malformed("MemTotal and MemAvailable in kB"))
}

/// Limit and use of one group, if it has a limit.
fn bounds(system: &System, level: &Level) -> Result<Option<(u64, u64)>, SystemFileError> {
    let (max, current, cached) = match level.version {
        Version::One => (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file ",
        ),
        Version::Two => ("memory.max", "memory.current", "inactive_file "),
    };
    let Some(file) = system.file(&level.path(max))? else {
        return Ok(None);
    };
    if file.text.trim() == "max" {
        return Ok(None);
    }
    let limit = file.number()?;
    let used = system.required(&level.path(current))?.number()?;
    let stat = system.file(&level.path("memory.stat"))?;
    let cached = stat.and_then(|stat| {
        let value = stat.text.lines().find_map(|line| line.strip_prefix(cached));
        value.and_then(|value| value.trim().parse::<u64>().ok())
    });
    Ok(Some((limit, used.saturating_sub(cached.unwrap_or(0)))))
}
