//! The engine's program: one target of all, chosen by `FUZZ_TARGET`. Without it, the names are printed;
//! with `FUZZ_SEEDS`, that folder is filled with the target's seeds first. `cargo xtask fuzz` runs it.

#![no_main]
#![allow(
    clippy::print_stdout,
    clippy::panic,
    reason = "it talks to the program that started it, and stops where that made a mistake"
)]

use std::path::PathBuf;
use std::sync::OnceLock;

use hypermesh_fuzz::{TARGETS, Target};

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let mut targets = TARGETS.iter().flat_map(|targets| targets.iter());
        let Some(name) = std::env::var("FUZZ_TARGET").ok() else {
            targets.for_each(|target| println!("{}", target.name));
            std::process::exit(0);
        };
        let target = targets.find(|target| target.name == name);
        target.unwrap_or_else(|| panic!("there is no target {name}"))
    })
}

fn begin() {
    let target = chosen();
    let Some(folder) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) else {
        return;
    };
    for (at, seed) in (target.seeds)().iter().enumerate() {
        let path = folder.join(format!("seed-{at}"));
        if let Err(error) = std::fs::write(&path, seed) {
            panic!("cannot write {}: {error}", path.display());
        }
    }
}

libfuzzer_sys::fuzz_target!(init: begin(), |bytes: &[u8]| (chosen().run)(bytes));
