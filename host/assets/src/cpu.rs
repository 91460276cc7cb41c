//! Processors: how many this process may use, and what one of them computes in a second.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};
use types::{CpuFacts, FactText};

use crate::adapter::MeasureError;
use crate::cgroup::{Level, Version, levels};
use crate::system::{System, SystemFileError};

/// Steps of one unit of calibration: some fifty microseconds.
pub const CALIBRATION_UNIT_STEPS: u64 = 16_384;
/// Runs whose median counts: one that the machine disturbed says nothing, nor do three.
pub const CALIBRATION_RUNS: usize = 9;
/// Units of one run: long against the resolution of the clock, short for who waits.
const UNITS_PER_RUN: u64 = 128;

/// How many processors there are for this process, the least of affinity and quotas, and how fast one
/// of them is.
///
/// # Errors
/// [`MeasureError`] if the system does not say.
pub fn measure_cpu(system: &System) -> Result<CpuFacts, MeasureError> {
    let cores = system.cores().map_err(MeasureError::Affinity)?;
    let mut cores_milli = u64::from(cores) * 1_000;
    for level in levels(system, "cpu")? {
        if let Some(quota_milli) = quota_milli(system, &level)? {
            cores_milli = cores_milli.min(quota_milli);
        }
    }
    Ok(CpuFacts {
        cores_milli,
        calibrated: calibrate(),
        architecture: FactText::new(std::env::consts::ARCH)?,
    })
}

/// Units of calibration that the core below this thread computes in a second of its time: the median
/// of [`CALIBRATION_RUNS`].
///
/// A unit is [`CALIBRATION_UNIT_STEPS`] steps, each of which needs the one before:
/// `x = rotl((x ^ i) * (x | 1), 29) + i` in arithmetic modulo 2^64, from `x = 1`. That is integer work
/// of one core in its registers; it says nothing of memory, vectors or floating point. Time is that
/// of the thread, so neither others on the machine nor a quota slow it down.
#[must_use]
pub fn calibrate() -> u64 {
    let mut rates: Vec<u64> = (0..CALIBRATION_RUNS).map(|_| run()).collect();
    rates.sort_unstable();
    rates.get(rates.len() / 2).copied().unwrap_or(0)
}

fn run() -> u64 {
    let before = thread_ns();
    let mut x = 1;
    for _ in 0..UNITS_PER_RUN {
        x = black_box(unit(x));
    }
    let elapsed_ns = thread_ns().saturating_sub(before).max(1);
    let rate = u128::from(UNITS_PER_RUN) * 1_000_000_000 / elapsed_ns;
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn unit(x: u64) -> u64 {
    (0..CALIBRATION_UNIT_STEPS).fold(x, |x, i| {
        (x ^ i).wrapping_mul(x | 1).rotate_left(29).wrapping_add(i)
    })
}

/// What this thread has computed so far.
fn thread_ns() -> u128 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u128::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u128::try_from(time.tv_nsec).unwrap_or(0)
}

/// What one group allows, if it bounds anything.
fn quota_milli(system: &System, level: &Level) -> Result<Option<u64>, SystemFileError> {
    match level.version {
        Version::Two => {
            let Some(file) = system.file(&level.path("cpu.max"))? else {
                return Ok(None);
            };
            let mut words = file.text.split_whitespace();
            let (quota, period) = (words.next(), words.next());
            let expected = "a quota or `max`, and a period, in microseconds";
            let period = period.and_then(|period| period.parse().ok());
            match (quota, period, words.next()) {
                (Some("max"), Some(1..), None) => Ok(None),
                (Some(quota), Some(period @ 1..), None) => {
                    let quota = quota.parse().map_err(|_| file.malformed(expected))?;
                    Ok(Some(share_milli(quota, period)))
                }
                _ => Err(file.malformed(expected)),
            }
        }
        Version::One => {
            let Some(file) = system.file(&level.path("cpu.cfs_quota_us"))? else {
                return Ok(None);
            };
            if file.text.trim() == "-1" {
                return Ok(None);
            }
            let quota = file.number()?;
            let file = system.required(&level.path("cpu.cfs_period_us"))?;
            match file.number()? {
                0 => Err(file.malformed("a period, at least 1")),
                period => Ok(Some(share_milli(quota, period))),
            }
        }
    }
}

/// Thousandths of a core: `quota` of each `period`.
fn share_milli(quota: u64, period: u64) -> u64 {
    let share = u128::from(quota) * 1_000 / u128::from(period.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_same_computation_everywhere() {
        assert_eq!(unit(1), 14_656_277_400_855_515_135);
    }
}
