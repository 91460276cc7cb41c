//! The example guests: every folder below [`GUEST_FOLDERS`] with a Cargo.toml, built to `<name>.wasm`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::TARGET;
use super::toolchain::Toolchain;
use crate::failure::Failure;
use crate::fingerprint::Fingerprint;
use crate::process;
use crate::project::Project;

/// Folders whose sub-folders are guests.
const GUEST_FOLDERS: &[&str] = &["examples", "examples/chat"];

/// Files of a guest that its component does not depend on.
const NOT_INPUTS: &[&str] = &["README.md", "app.toml", "target"];

/// Where cargo works, below the folder of the components. One folder per toolchain: cargo does not
/// notice when a rebuilt compiler takes the place of another.
const BUILD: &str = "build";

/// Builds what changed and returns how many guests there are.
pub(super) fn build(project: &Project, toolchain: &Toolchain) -> Result<usize, Failure> {
    let output = project.guests();
    fs::create_dir_all(&output).map_err(|error| Failure::file("create", &output, &error))?;
    forget_other_builds(&output.join(BUILD), toolchain.identity());
    let sources = sources(project.root())?;
    let sdk = sdk_fingerprint(project.root())?;
    for source in &sources {
        build_one(source, &sdk, &output, toolchain)?;
    }
    Ok(sources.len())
}

/// Deletes what former toolchains compiled: it will not be used again.
fn forget_other_builds(folder: &Path, identity: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name() != identity {
            // Only space is at stake: what cannot be deleted stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Folders of all guests that are cargo projects.
pub(crate) fn folders(project: &Project) -> Result<Vec<PathBuf>, Failure> {
    let sources = sources(project.root())?;
    Ok(sources.into_iter().map(|source| source.folder).collect())
}

/// What guests are built with besides their own files: the SDK and the contracts.
fn sdk_fingerprint(root: &Path) -> Result<String, Failure> {
    // A link to `wit/`, which is added by itself.
    fn is_sdk_input(path: &Path) -> bool {
        is_input(path) && path != Path::new("wit")
    }
    let mut inputs = Fingerprint::new();
    inputs.add_folder(&root.join("guest-sdk/rust"), is_sdk_input)?;
    inputs.add_folder(&root.join("wit"), is_input)?;
    Ok(inputs.finish())
}

/// One guest: its name and its folder.
struct Source {
    name: String,
    folder: PathBuf,
}

fn sources(root: &Path) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for folder in GUEST_FOLDERS.iter().map(|below| root.join(below)) {
        // cargo reports real paths, whatever links led here.
        let entries = folder
            .canonicalize()
            .and_then(fs::read_dir)
            .map_err(|error| Failure::file("list", &folder, &error))?;
        for entry in entries.flatten() {
            if entry.path().join("Cargo.toml").is_file() {
                let name = entry.file_name().to_string_lossy().into_owned();
                sources.push(Source {
                    name,
                    folder: entry.path(),
                });
            }
        }
    }
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sources)
}

fn build_one(
    source: &Source,
    sdk: &str,
    output: &Path,
    toolchain: &Toolchain,
) -> Result<(), Failure> {
    let wasm = output.join(format!("{}.wasm", source.name));
    let inputs_file = output.join(format!("{}.inputs", source.name));
    let mut inputs = Fingerprint::new();
    inputs.add("toolchain", toolchain.identity().as_bytes());
    inputs.add("sdk", sdk.as_bytes());
    inputs.add_folder(&source.folder, is_input)?;
    let inputs = inputs.finish();
    let known = fs::read_to_string(&inputs_file).unwrap_or_default();
    if known == inputs && wasm.is_file() {
        return report(&wasm, "unchanged");
    }

    let mut cargo = toolchain.cargo();
    cargo
        .current_dir(&source.folder)
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            TARGET,
        ])
        .arg("--message-format=json-render-diagnostics")
        .env(
            "CARGO_TARGET_DIR",
            output.join(BUILD).join(toolchain.identity()),
        );
    let messages = process::read(&mut cargo).map_err(|failure| {
        failure.advise(&format!("the guest is in {}", source.folder.display()))
    })?;
    let built = component(&messages, &source.folder).ok_or_else(|| {
        Failure::new(format!(
            "{} built no .wasm file; its Cargo.toml needs a binary or a `cdylib`",
            source.folder.display()
        ))
    })?;
    replace(&built, &wasm)?;
    fs::write(&inputs_file, inputs)
        .map_err(|error| Failure::file("write", &inputs_file, &error))?;
    report(&wasm, "built")
}

fn is_input(path: &Path) -> bool {
    !NOT_INPUTS.iter().any(|name| path == Path::new(name))
}

/// The `.wasm` file that cargo says it made from the package in `folder`.
fn component(messages: &str, folder: &Path) -> Option<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| {
            message.get("reason").and_then(Value::as_str) == Some("compiler-artifact")
                && message
                    .get("manifest_path")
                    .and_then(Value::as_str)
                    .map(Path::new)
                    == Some(&manifest)
        })
        .filter_map(|message| message.get("filenames").and_then(Value::as_array).cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|end| end == "wasm"))
}

/// Copies aside and renames: a test that reads the file meanwhile sees the old or the new one.
fn replace(from: &Path, to: &Path) -> Result<(), Failure> {
    let aside = to.with_extension("wasm.new");
    fs::copy(from, &aside).map_err(|error| Failure::file("write", &aside, &error))?;
    fs::rename(&aside, to).map_err(|error| Failure::file("rename to", to, &error))
}

fn report(wasm: &Path, how: &str) -> Result<(), Failure> {
    let file = fs::metadata(wasm).map_err(|error| Failure::file("look at", wasm, &error))?;
    println!(
        "xtask: guest {} {} bytes, {how}",
        wasm.display(),
        file.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_is_the_artifact_of_the_guest_itself() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/dep/Cargo.toml","filenames":["/d.wasm"]}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/me/Cargo.toml","filenames":["/m.d","/m.wasm"]}"#,
            "\nnot json\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(
            component(messages, Path::new("/me")),
            Some(PathBuf::from("/m.wasm"))
        );
        assert_eq!(component(messages, Path::new("/other")), None);
    }

    #[test]
    fn documents_are_no_inputs() {
        assert!(is_input(Path::new("src/main.rs")));
        assert!(is_input(Path::new("src/target")));
        assert!(!is_input(Path::new("README.md")));
        assert!(!is_input(Path::new("target")));
    }
}
