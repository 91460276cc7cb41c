//! Reads a component without compiling it: is it valid, what is it, what does it import and export.
//! Knows nothing of engines, limits or grants.

use std::fmt;

use types::ComponentKind;
use wasmparser::component_types::{ComponentEntityType, ComponentFuncType};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    CanonicalFunction, CanonicalOption, Encoding, FuncValidatorAllocations, Parser, Payload,
    ValidPayload, Validator, WasmFeatures,
};

use crate::bounds::{COMPONENT_BYTES_MAX, INTERFACE_ITEMS_MAX};
use crate::errors::clipped;
use crate::wit_text;

/// What a component says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// How it is driven.
    pub kind: ComponentKind,
    /// Everything it needs, in its own order.
    pub imports: Vec<ImportName>,
    /// Every function it offers, in its own order.
    pub exports: Vec<ExportSignature>,
    /// Whether it uses component-model concurrency: WASI 0.3, async functions, streams, futures.
    pub concurrent: bool,
}

impl Inspection {
    /// Whether it exports functions of `interface` in a version that begins like this.
    pub(crate) fn exports_interface(&self, interface: &str, version: &str) -> bool {
        self.exports.iter().any(|export| {
            let name = export.name.split_once('#').map(|(name, _)| name);
            let found = name.and_then(|name| name.split_once('@'));
            found.is_some_and(|(name, found)| name == interface && found.starts_with(version))
        })
    }
}

/// An import as the binary writes it: `wasi:http/outgoing-handler@0.2.3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportName(pub(crate) String);

/// An exported function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSignature {
    /// `add`, or with its interface `demo:greeter/greet@0.1.0#hello`.
    pub name: String,
    /// Its WIT type: `func(name: string) -> string`.
    pub signature: String,
}

/// Bytes that are no component this node can look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Something else altogether.
    #[error(
        "not WebAssembly: expected a binary component, which begins with `\\0asm`, but found {found}"
    )]
    NotWasm {
        /// What it looks like.
        found: &'static str,
    },
    /// A core module.
    #[error(
        "a core module, not a component: build for `wasm32-wasip2`, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Too large to look at.
    #[error("a component of {bytes} bytes: at most {max} are accepted")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`COMPONENT_BYTES_MAX`].
        max: usize,
    },
    /// More names than an inspection lists.
    #[error("{count} {what}: at most {max} are accepted")]
    TooManyItems {
        /// `imports` or `exported functions`.
        what: &'static str,
        /// How many.
        count: usize,
        /// [`INTERFACE_ITEMS_MAX`].
        max: usize,
    },
    /// Begins like a component and is none, or uses a feature that this node does not run.
    #[error("invalid component at byte {offset}: {reason}")]
    Invalid {
        /// Where.
        offset: u64,
        /// What the validator found.
        reason: String,
    },
}

/// A text that is no component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// Too large to look at.
    #[error("a component text of {bytes} bytes: at most {max} are accepted")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`COMPONENT_BYTES_MAX`].
        max: usize,
    },
    /// Not text, or not in the text format.
    #[error("{0}")]
    Syntax(String),
}

impl ImportName {
    /// The name as the binary writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `wasi:http/outgoing-handler`.
    #[must_use]
    pub fn interface(&self) -> &str {
        self.0
            .split_once('@')
            .map_or(self.0.as_str(), |(interface, _)| interface)
    }

    /// `0.2.3`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, version)| version)
    }
}

impl fmt::Display for ImportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for ExportSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.signature)
    }
}

/// Converts the text form (`.wat`) to the binary that is stored and run. Binaries pass unchanged.
///
/// # Errors
/// [`AssembleError`] with line and column.
pub fn assemble_text(text: &[u8]) -> Result<Vec<u8>, AssembleError> {
    if text.len() > COMPONENT_BYTES_MAX {
        return Err(AssembleError::TooLarge {
            bytes: text.len(),
            max: COMPONENT_BYTES_MAX,
        });
    }
    wat::parse_bytes(text)
        .map(std::borrow::Cow::into_owned)
        .map_err(|error| AssembleError::Syntax(clipped(&error.to_string())))
}

/// Validates `bytes` and lists what they import and export.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    inspect_with(bytes, true)
}

/// The same for bytes whose functions were found valid before, or will be before they are compiled:
/// looks at types only.
pub(crate) fn inspect_known(bytes: &[u8]) -> Result<Inspection, InspectError> {
    inspect_with(bytes, false)
}

fn inspect_with(bytes: &[u8], functions_too: bool) -> Result<Inspection, InspectError> {
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(InspectError::TooLarge {
            bytes: bytes.len(),
            max: COMPONENT_BYTES_MAX,
        });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(InspectError::NotWasm {
            found: guess(bytes),
        });
    }
    let (types, names) = validate(bytes, functions_too)?;
    let types = types.as_ref();
    let imports: Vec<_> = names.imports.into_iter().map(ImportName).collect();
    let mut exports = Vec::new();
    let mut concurrent = names.concurrent;
    for name in &names.exports {
        concurrent |= list_functions(types, name, &mut exports)?;
    }
    // Types alone do not show it: an interface of 0.3 can be used without its async functions.
    concurrent |= imports.iter().any(|import| {
        let version = import.version().unwrap_or_default();
        import.interface().starts_with("wasi:") && version.starts_with("0.3.")
    });
    Ok(Inspection {
        kind: kind(&names.exports),
        imports,
        exports,
        concurrent,
    })
}

/// For the message only.
fn guess(bytes: &[u8]) -> &'static str {
    let start = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    match (bytes, start) {
        ([], _) => "nothing",
        (_, Some(b'(' | b';')) => "what looks like component text, which is assembled first",
        _ => "other bytes",
    }
}

/// The names of the outermost component, and whether any part of it is concurrent.
#[derive(Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
    concurrent: bool,
}

/// What the engines run, component-model concurrency included.
fn features() -> WasmFeatures {
    let mut features = WasmFeatures::WASM3 | WasmFeatures::COMPONENT_MODEL | WasmFeatures::CM_ASYNC;
    features.remove(WasmFeatures::GC_TYPES | WasmFeatures::EXCEPTIONS | WasmFeatures::THREADS);
    features
}

fn validate(bytes: &[u8], functions_too: bool) -> Result<(Types, Names), InspectError> {
    let mut validator = Validator::new_with_features(features());
    let mut scratch = FuncValidatorAllocations::default();
    let mut names = Names::default();
    let mut depth = 0_usize;
    let mut types = None;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        if depth == 0 {
            note_names(&payload, &mut names)?;
        }
        if let Payload::ComponentCanonicalSection(section) = &payload {
            for function in section.clone() {
                names.concurrent |= is_concurrent(&function.map_err(invalid)?);
            }
        }
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        match validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(function, body) if functions_too => {
                let mut function = function.into_validator(scratch);
                function.validate(&body).map_err(invalid)?;
                scratch = function.into_allocations();
            }
            ValidPayload::End(found) => types = Some(found),
            ValidPayload::Func(..) | ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
    }
    let cut = || InspectError::Invalid {
        offset: bytes.len() as u64,
        reason: "it ends too early".to_owned(),
    };
    Ok((types.ok_or_else(cut)?, names))
}

fn note_names(payload: &Payload<'_>, names: &mut Names) -> Result<(), InspectError> {
    match payload {
        Payload::Version {
            encoding: Encoding::Module,
            ..
        } => Err(InspectError::CoreModule),
        Payload::ComponentImportSection(section) => {
            for import in section.clone() {
                names
                    .imports
                    .push(import.map_err(invalid)?.name.name.to_owned());
            }
            bounded("imports", names.imports.len())
        }
        Payload::ComponentExportSection(section) => {
            for export in section.clone() {
                names
                    .exports
                    .push(export.map_err(invalid)?.name.name.to_owned());
            }
            bounded("exports", names.exports.len())
        }
        _ => Ok(()),
    }
}

/// Everything beyond plain calls and resources came with concurrency.
fn is_concurrent(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.contains(&CanonicalOption::Async)
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        _ => true,
    }
}

fn bounded(what: &'static str, count: usize) -> Result<(), InspectError> {
    let max = INTERFACE_ITEMS_MAX;
    if count > max {
        Err(InspectError::TooManyItems { what, count, max })
    } else {
        Ok(())
    }
}

fn invalid(error: wasmparser::BinaryReaderError) -> InspectError {
    InspectError::Invalid {
        offset: error.offset() as u64,
        reason: clipped(error.message()),
    }
}

/// Lists what `name` exports; whether any of it is async.
fn list_functions(
    types: TypesRef<'_>,
    name: &str,
    exports: &mut Vec<ExportSignature>,
) -> Result<bool, InspectError> {
    let is_async = |id| {
        types
            .get(id)
            .is_some_and(|ty: &ComponentFuncType| ty.async_)
    };
    let mut concurrent = false;
    match types.component_item_for_export(name).map(|item| item.ty) {
        Some(ComponentEntityType::Func(id)) => {
            concurrent |= is_async(id);
            exports.push(ExportSignature {
                name: name.to_owned(),
                signature: wit_text::signature(types, id),
            });
        }
        Some(ComponentEntityType::Instance(id)) => {
            let Some(instance) = types.get(id) else {
                return Ok(false);
            };
            for (function, item) in &instance.exports {
                if let ComponentEntityType::Func(id) = item.ty {
                    concurrent |= is_async(id);
                    exports.push(ExportSignature {
                        name: format!("{name}#{function}"),
                        signature: wit_text::signature(types, id),
                    });
                }
                bounded("exported functions", exports.len())?;
            }
        }
        _ => {}
    }
    bounded("exported functions", exports.len())?;
    Ok(concurrent)
}

fn kind(exports: &[String]) -> ComponentKind {
    let has = |interface: &str| {
        exports
            .iter()
            .any(|name| name.split('@').next().is_some_and(|name| name == interface))
    };
    if has("wasi:http/incoming-handler") || has("wasi:http/handler") {
        ComponentKind::Http
    } else if has("wasi:cli/run") {
        ComponentKind::Command
    } else if has("wasi:messaging/incoming-handler") {
        ComponentKind::Worker
    } else {
        ComponentKind::Library
    }
}
