//! What `nexus new` writes: templates and the guest SDK, both part of this program. Touches no disk.

use std::path::Path;

use types::Name;

use crate::cli::Template;

/// The SDK that this program was built with: paths and contents.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
/// Where a project keeps its copy of the SDK.
const SDK_FOLDER: &str = "sdk";

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../templates/rust/", $path))
    };
}

const CARGO: &str = template!("Cargo.toml.in");
const IGNORED: &str = "/target\n";
const CDYLIB: &str = "\n[lib]\ncrate-type = [\"cdylib\"]\n";

/// One file of a new project: its path and its content.
pub(crate) type File = (String, String);

/// All files of a project, with a copy of the SDK unless `sdk` says where one lies.
pub(crate) fn files(template: Template, name: &Name, sdk: Option<&Path>) -> Vec<File> {
    let filled = |text: &str| text.replace("{name}", name.as_str());
    let (manifest, crate_type, sources): (_, _, &[(&str, &str)]) = match template {
        Template::Http => (
            template!("http/app.toml.in"),
            CDYLIB,
            &[("src/lib.rs", template!("http/src/lib.rs"))],
        ),
        Template::Worker => (
            template!("worker/app.toml.in"),
            CDYLIB,
            &[("src/lib.rs", template!("worker/src/lib.rs"))],
        ),
        Template::Cli => (
            template!("cli/app.toml.in"),
            "",
            &[("src/main.rs", template!("cli/src/main.rs"))],
        ),
        Template::Lib => (
            template!("lib/app.toml.in"),
            CDYLIB,
            &[
                ("src/lib.rs", template!("lib/src/lib.rs")),
                ("wit/greeter.wit", template!("lib/wit/greeter.wit")),
            ],
        ),
    };
    let sdk_path = sdk.map_or_else(|| SDK_FOLDER.to_owned(), |path| path.display().to_string());
    let cargo = filled(CARGO).replace("{crate_type}", crate_type).replace(
        "{sdk}",
        &sdk_path.replace('\\', "\\\\").replace('"', "\\\""),
    );
    let mut files = vec![
        (".gitignore".to_owned(), IGNORED.to_owned()),
        ("Cargo.toml".to_owned(), cargo),
        ("app.toml".to_owned(), filled(manifest)),
    ];
    let owned = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    files.extend(sources.iter().map(owned));
    if sdk.is_none() {
        let copied = SDK.iter().map(owned);
        files.extend(copied.map(|(path, text)| (format!("{SDK_FOLDER}/{path}"), text)));
    }
    files
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn a_project_is_complete_and_nothing_is_left_to_fill_in() {
        let name = Name::new("shop").unwrap();
        for &template in Template::value_variants() {
            let files = files(template, &name, None);
            for (path, text) in files.iter().filter(|(path, _)| !path.starts_with("sdk/")) {
                // Sources have braces of their own.
                let left = ["{name}", "{sdk}", "{crate_type}"];
                let is_filled = left.iter().all(|mark| !text.contains(mark));
                assert!(is_filled || !path.ends_with(".toml"), "{path}");
            }
            for needed in ["Cargo.toml", "app.toml", "sdk/Cargo.toml", "sdk/src/lib.rs"] {
                assert!(files.iter().any(|(path, _)| path == needed), "{needed}");
            }
        }
    }

    #[test]
    fn manifests_of_templates_are_valid() {
        let name = Name::new("shop").unwrap();
        for &template in Template::value_variants() {
            let files = files(template, &name, None);
            let (_, text) = files.iter().find(|(path, _)| path == "app.toml").unwrap();
            types::Manifest::parse("app.toml", text).unwrap();
        }
    }

    #[test]
    fn a_checkout_of_the_sdk_takes_the_place_of_the_copy() {
        let name = Name::new("shop").unwrap();
        let files = files(Template::Http, &name, Some(Path::new("/src/sdk")));
        assert!(files.iter().all(|(path, _)| !path.starts_with("sdk/")));
        assert!(files[1].1.contains("path = \"/src/sdk\""));
    }
}
