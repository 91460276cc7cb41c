//! A simulation whose every ingredient usually differs between two runs: chance, hash maps,
//! clocks, the bits of NaNs. Under the deterministic profile none of them does.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

wit_bindgen::generate!({ world: "monte-carlo", path: "wit" });

use exports::hypermesh::monte_carlo::simulation::{Guest, Report};

struct MonteCarlo;

export!(MonteCarlo);

impl Guest for MonteCarlo {
    fn run(rounds: u32) -> Report {
        let begun = Instant::now();
        // A host that shows its own time would sleep for a minute here.
        if deterministic() {
            thread::sleep(Duration::from_secs(60));
        }
        let mut chance = Chance::new();
        let mut digest = 0_u64;
        let pi = estimate_pi(rounds, &mut chance, &mut digest);
        let walk = walk(rounds, &mut chance, &mut digest);
        let order = order(rounds, &mut digest);
        Report {
            pi,
            walk,
            order,
            wall_seconds: now_seconds(),
            slept_nanos: u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
            digest,
        }
    }
}

fn now_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// Clocks of the deterministic profile begin with the year 2000.
fn deterministic() -> bool {
    now_seconds() < 1_000_000_000
}

fn mix(digest: &mut u64, value: u64) {
    *digest = (digest.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
}

/// SplitMix64 (Steele, Lea, Flood 2014), seeded with the host's random numbers through the only
/// door that std has to them.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        Self(RandomState::new().hash_one(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn estimate_pi(rounds: u32, chance: &mut Chance, digest: &mut u64) -> f64 {
    let mut inside = 0_u32;
    for _ in 0..rounds {
        let (x, y) = (chance.unit(), chance.unit());
        inside += u32::from(x * x + y * y < 1.0);
        mix(digest, (x / y).to_bits());
    }
    4.0 * f64::from(inside) / f64::from(rounds.max(1))
}

/// Runs into NaNs now and then, and goes on from zero.
fn walk(rounds: u32, chance: &mut Chance, digest: &mut u64) -> f64 {
    let mut at = 0.0_f64;
    for _ in 0..rounds {
        at += (chance.unit() * 10.0 - 5.0).sin() * (at.abs() + 1.0).ln();
        let root = (at - 1.0).sqrt();
        mix(digest, root.to_bits());
        if root.is_nan() {
            at = at.abs().powf(0.5).exp().min(100.0);
        }
    }
    at
}

/// Counts words in a hash map and lists them as the map does.
fn order(rounds: u32, digest: &mut u64) -> String {
    let words = [
        "ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "yew",
    ];
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for round in 0..rounds as usize {
        *counts
            .entry(words[(round * round + 7 * round) % words.len()])
            .or_default() += 1;
    }
    for (word, count) in &counts {
        mix(digest, count.wrapping_mul(word.len() as u64));
    }
    counts.into_keys().collect::<Vec<_>>().join(" ")
}
