//! `nexus new`: a folder with a project that builds.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::cli::{Global, Language, NewArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::session::format;
use crate::{template, terminal};

#[derive(Serialize)]
struct Made<'a> {
    folder: &'a Path,
    files: usize,
}

pub(crate) fn run(global: &Global, args: &NewArgs) -> Outcome {
    match args.lang {
        Language::Rust => {}
        lang @ (Language::Python | Language::Javascript | Language::Go | Language::C) => {
            let message = format!("there are no templates for {lang:?} yet: use --lang rust");
            return Err(Failure::new(Exit::Usage, message).hint(
                "A component that other tools made runs as well: `nexus deploy FILE.wasm`.",
            ));
        }
    }
    let name = &args.name;
    if name
        .as_str()
        .starts_with(|first: char| first.is_ascii_digit())
    {
        let message = format!("`{name}` begins with a digit, which cargo does not allow");
        return Err(Failure::new(Exit::Usage, message));
    }
    let sdk = args.sdk.as_deref().map(checkout).transpose()?;
    let folder = Path::new(name.as_str());
    fs::create_dir(folder).map_err(|error| failed("create", folder, &error))?;
    let files = template::files(args.template, name, sdk.as_deref());
    for (path, text) in &files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed("create", parent, &error))?;
        }
        fs::write(&path, text).map_err(|error| failed("write", &path, &error))?;
    }
    let made = Made {
        folder,
        files: files.len(),
    };
    terminal::print(&format(global.output, &made, || next_steps(name.as_str()))?)
}

/// The folder of an SDK, as a path that holds from anywhere.
fn checkout(sdk: &Path) -> Outcome<std::path::PathBuf> {
    let found = sdk.canonicalize().ok();
    let found = found.filter(|path| path.join("Cargo.toml").is_file());
    found.ok_or_else(|| {
        let message = format!(
            "{} is not the folder of a guest SDK: it has no Cargo.toml",
            sdk.display()
        );
        Failure::new(Exit::Usage, message)
    })
}

fn next_steps(name: &str) -> String {
    format!(
        "made {name}/\n  cd {name}\n  cargo test              # native, on a host in memory\n  \
         nexus dev               # build, deploy, and again after each change\n  nexus build && \
         nexus deploy app.toml"
    )
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("cannot {doing} {}: {error}", path.display()),
    )
}
