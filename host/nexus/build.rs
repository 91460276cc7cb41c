//! Assembles the demo component, so that `nexus up --demo` needs no guest toolchain.

use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo/demo.wat");
    println!("cargo::rerun-if-changed={}", text.display());
    let binary = wat::parse_file(&text)?;
    let folder = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?;
    fs::write(Path::new(&folder).join("demo.wasm"), binary)?;
    Ok(())
}
