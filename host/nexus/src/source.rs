//! What the user wants deployed, read from local files. Knows no node.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use types::{Digest, Manifest, ManifestComponent, Name, Route};

use crate::exit::{Exit, Failure, Outcome};
use crate::place::{ManifestText, Step};

/// The name of the component that a bare binary becomes.
const BARE_COMPONENT: &str = "main";

/// A workload as the user wrote it, with every file that it names.
pub(crate) struct Source {
    pub(crate) name: Name,
    pub(crate) components: Vec<ComponentSource>,
    /// Where it is written; none for a bare binary.
    pub(crate) manifest: Option<ManifestText>,
}

/// One component with its binary and its files.
pub(crate) struct ComponentSource {
    pub(crate) declared: ManifestComponent,
    pub(crate) binary: Content,
    pub(crate) files: Vec<Content>,
}

/// Bytes with their name among artifacts and their name for people.
pub(crate) struct Content {
    pub(crate) label: String,
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
}

impl Source {
    /// Reads `file`, which is a manifest or a component, by its extension.
    ///
    /// # Errors
    /// [`Failure`] with the file and, in a manifest, the place.
    pub(crate) fn read(file: &Path, name: Option<Name>, route: Option<Route>) -> Outcome<Self> {
        let label = file.display();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("toml") if route.is_some() => Err(Failure::new(
                Exit::Usage,
                format!("--route is for a component alone: write the route into {label}"),
            )),
            Some("toml") => Self::read_manifest(file, name),
            Some("wasm" | "wat") => Self::read_component(file, name, route),
            _ if file.is_dir() => Err(Failure::new(
                Exit::Usage,
                format!("{label} is a directory: name the manifest or the component in it"),
            )),
            _ => Err(Failure::new(
                Exit::Usage,
                format!("{label} is neither a component (.wasm, .wat) nor a manifest (.toml)"),
            )),
        }
    }

    /// A workload of one component and nothing else.
    pub(crate) fn bare(name: Name, binary: Content, route: Option<Route>) -> Outcome<Self> {
        let component = Name::new(BARE_COMPONENT).map_err(|e| Failure::new(Exit::Failed, e))?;
        let mut declared = ManifestComponent::bare(component, PathBuf::new());
        declared.routes.extend(route);
        let components = vec![ComponentSource {
            declared,
            binary,
            files: Vec::new(),
        }];
        Ok(Self {
            name,
            components,
            manifest: None,
        })
    }

    fn read_component(file: &Path, name: Option<Name>, route: Option<Route>) -> Outcome<Self> {
        let name = match name {
            Some(name) => name,
            None => {
                let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                Name::derive(&stem).map_err(|error| {
                    Failure::new(Exit::Usage, error).hint("Give the workload one with --name.")
                })?
            }
        };
        let binary = read_binary(file).map_err(|problem| Failure::new(Exit::Failed, problem))?;
        Self::bare(name, binary, route)
    }

    fn read_manifest(file: &Path, name: Option<Name>) -> Outcome<Self> {
        let failed = |problem| Failure::new(Exit::Failed, problem);
        let bytes = read_bounded(file, Manifest::BYTES_MAX).map_err(failed)?;
        let label = file.display().to_string();
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::new(
                Exit::Refused,
                format!("{label} is not UTF-8 text from byte {at} on"),
            )
        })?;
        let text = ManifestText { file: label, text };
        let manifest = Manifest::parse(&text.file, &text.text);
        let manifest = manifest.map_err(|error| text.malformed(&error))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut components = Vec::with_capacity(manifest.components.len());
        for (index, declared) in manifest.components.into_iter().enumerate() {
            components.push(read_declared(folder, &text, index, declared)?);
        }
        Ok(Self {
            name: name.unwrap_or(manifest.name),
            components,
            manifest: Some(text),
        })
    }
}

impl Content {
    /// Names `bytes`.
    pub(crate) fn new(label: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            label: label.into(),
            digest: Digest::of(&bytes),
            bytes,
        }
    }
}

/// Reads what one `[[component]]` table names, relative to the manifest.
fn read_declared(
    folder: &Path,
    manifest: &ManifestText,
    index: usize,
    declared: ManifestComponent,
) -> Outcome<ComponentSource> {
    let component = [Step::Key("component"), Step::Index(index)];
    let refused = |steps: &[Step<'_>], problem: &str| {
        manifest.refused(&[&component[..], steps].concat(), problem)
    };
    let binary = read_binary(&folder.join(&declared.source));
    let binary = binary.map_err(|problem| refused(&[Step::Key("source")], &problem))?;
    let mut files = Vec::with_capacity(declared.files.len());
    for (number, file) in declared.files.iter().enumerate() {
        let path = folder.join(&file.source);
        let bytes = read_bounded(&path, admin::ARTIFACT_BYTES_MAX as u64).map_err(|problem| {
            refused(
                &[Step::Key("file"), Step::Index(number), Step::Key("source")],
                &problem,
            )
        })?;
        files.push(Content::new(path.display().to_string(), bytes));
    }
    Ok(ComponentSource {
        declared,
        binary,
        files,
    })
}

/// Reads a component; its text form is assembled here, so that a node gets binaries only.
fn read_binary(path: &Path) -> Result<Content, String> {
    let bytes = read_bounded(path, admin::ARTIFACT_BYTES_MAX as u64)?;
    let label = path.display().to_string();
    if path.extension().is_none_or(|extension| extension != "wat") {
        return Ok(Content::new(label, bytes));
    }
    let assembled = wat::Parser::new()
        .parse_bytes(Some(path), &bytes)
        .map(|bytes| bytes.into_owned());
    match assembled {
        Ok(binary) => Ok(Content::new(label, binary)),
        Err(error) => Err(format!("{label} is not valid component text: {error}")),
    }
}

/// Reads a regular file of at most `bytes_max` bytes.
fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let label = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("{label} does not exist"),
        io::ErrorKind::IsADirectory => format!("{label} is a directory, not a file"),
        _ => format!("cannot read {label}: {error}"),
    };
    if fs::metadata(path).map_err(failed)?.is_dir() {
        return Err(format!("{label} is a directory, not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("{label} is larger than {bytes_max} bytes"));
    }
    Ok(bytes)
}
