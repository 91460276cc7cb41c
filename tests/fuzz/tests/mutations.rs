//! Every target with its seeds and with changed ones, on any toolchain, without an engine. The seed of
//! the changes is printed; `FUZZ_SEED` sets it and `FUZZ_ROUNDS` how many there are.

#![allow(
    clippy::print_stdout,
    reason = "a failure is repeated with what is printed"
)]

use hypermesh_fuzz::{Chance, TARGETS};

/// Changed inputs per target: with all targets a few seconds without optimisation.
const ROUNDS: u64 = 10_000;

fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn no_target_breaks_a_rule() {
    let (seed, rounds) = (setting("FUZZ_SEED", 1), setting("FUZZ_ROUNDS", ROUNDS));
    for target in TARGETS.iter().flat_map(|targets| targets.iter()) {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} begins with nothing", target.name);
        for input in &seeds {
            (target.run)(input);
        }
        (target.run)(&[]);
        let mut chance = Chance::new(seed);
        println!("{}: FUZZ_SEED={seed} FUZZ_ROUNDS={rounds}", target.name);
        for _ in 0..rounds {
            let mut input = seeds
                .get(chance.below(seeds.len()))
                .cloned()
                .unwrap_or_default();
            chance.mutate(&mut input);
            (target.run)(&input);
        }
    }
}

#[test]
fn names_are_unique() {
    let names = TARGETS.iter().flat_map(|targets| targets.iter());
    let mut names: Vec<_> = names.map(|target| target.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
