//! Assembles the demo component, and collects the guest SDK, so that neither `nexus up --demo` nor
//! `nexus new` needs anything but the program itself.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What `nexus new` copies into a project, below `guest-sdk/rust`.
const SDK: [&str; 3] = ["Cargo.toml", "src", "wit"];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts")?;
    let folder = Path::new(&folder);
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo/demo.wat");
    println!("cargo::rerun-if-changed={}", text.display());
    fs::write(folder.join("demo.wasm"), wat::parse_file(&text)?)?;
    fs::write(folder.join("sdk.rs"), sdk_table()?)?;
    Ok(())
}

/// The files of the SDK as an expression: pairs of path and content.
fn sdk_table() -> Result<String, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../guest-sdk/rust")
        .canonicalize()?;
    let mut files = Vec::new();
    for part in SDK {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
        collect(&root, Path::new(part), &mut files)?;
    }
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let path = root.join(&file);
        println!("cargo::rerun-if-changed={}", path.display());
        let name = file
            .to_str()
            .ok_or("the SDK has a file name that is no text")?;
        writeln!(table, "({name:?}, include_str!({path:?})),")?;
    }
    table.push_str("]\n");
    Ok(table)
}

fn collect(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if !root.join(below).is_dir() {
        files.push(below.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(root.join(below))? {
        collect(root, &below.join(entry?.file_name()), files)?;
    }
    Ok(())
}
