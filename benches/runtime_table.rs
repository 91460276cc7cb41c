//! Tables of times: each row beside the first, its baseline.

use std::time::Duration;

/// A named time.
pub(crate) struct Row {
    name: String,
    time: Duration,
}

impl Row {
    pub(crate) const fn new(name: String, time: Duration) -> Self {
        Self { name, time }
    }
}

/// The time below which `part` of all are.
pub(crate) fn quantile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let skip = times
        .iter()
        .enumerate()
        .find(|(at, _)| *at as f64 >= last as f64 * part);
    skip.map(|(_, time)| *time).unwrap_or_default()
}

/// Prints `rows`; the ratio is to the first.
#[expect(clippy::print_stdout, reason = "a bench reports to the terminal")]
pub(crate) fn print(rows: &[Row]) {
    let Some(baseline) = rows.first() else { return };
    for row in rows {
        let ratio = row.time.as_secs_f64() / baseline.time.as_secs_f64();
        let micros = row.time.as_secs_f64() * 1e6;
        println!("{:<50} {micros:>12.2} us {ratio:>6.2}x", row.name);
    }
    println!();
}
