//! The example guests, built by a real toolchain and deployed by their own manifests.
//!
//! `cargo xtask test` builds them and says where in `HYPERMESH_GUESTS`.

use std::path::{Path, PathBuf};

use crate::harness::{Fabric, eventually};

/// Where manifests of examples say that components are built.
const BUILT: &str = "../../target/guests/";

/// Copies an example's manifest and files to the test's folder, with the built components beside
/// them. None if the guests were not built.
pub(crate) fn example(fabric: &Fabric, name: &str) -> Option<PathBuf> {
    let Some(guests) = std::env::var_os("HYPERMESH_GUESTS") else {
        println!("skipped: HYPERMESH_GUESTS is not set; `cargo xtask test` builds the guests");
        return None;
    };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let folder = fabric.folder.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    for entry in std::fs::read_dir(examples.join(name)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    let manifest = folder.join("app.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let components: Vec<&str> = text
        .split(BUILT)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(
        !components.is_empty(),
        "the manifest names where its components are built"
    );
    for component in components {
        std::fs::copy(Path::new(&guests).join(component), folder.join(component)).unwrap();
    }
    std::fs::write(&manifest, text.replace(BUILT, "")).unwrap();
    Some(manifest)
}

#[test]
fn the_http_example_answers() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "hello-http") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    assert_eq!(
        fabric.get("/"),
        (200, "hello from a component\n".to_owned())
    );
    assert_eq!(fabric.get("/headers").0, 200);
    assert_eq!(fabric.get("/nothing").0, 404);
    fabric.stop();
}

#[test]
fn the_command_example_reads_its_file_and_ends() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "count-words") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    eventually("the command ends well", || {
        (fabric.state("count-words").as_deref() == Some("completed")).then_some(())
    });
    let logs = fabric.nexus(&["logs", "count-words"]).ok();
    assert!(logs.contains("3 13 83 /texts/poem.txt"), "{logs}");
    fabric.stop();
}

#[test]
fn the_library_example_takes_and_returns_typed_values() {
    let fabric = Fabric::start();
    let Some(manifest) = example(&fabric, "greeter") else {
        return;
    };
    fabric.nexus(&["deploy", manifest.to_str().unwrap()]).ok();
    let invoke = |arguments: &[&str]| fabric.nexus(&[&["invoke", "greeter"], arguments].concat());
    assert_eq!(invoke(&["hello", "\"Ada\""]).ok(), "\"Hello, Ada!\"\n");
    let person = "{name: \"Ada\", titles: [\"Dr.\"]}";
    assert_eq!(
        invoke(&["greet", person, "formal"]).ok(),
        "ok({text: \"Good day, Dr. Ada.\", length: 18})\n"
    );
    assert_eq!(
        invoke(&["greet-all", "[\"Ada\", \"\"]"]).ok(),
        "err(nobody)\n"
    );
    fabric.stop();
}
