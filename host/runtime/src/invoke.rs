//! Typed calls by people: WAVE text in, WAVE text out. Knows nothing of how instances are made.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use types::{ComponentKind, Millis};
use wasmtime::Store;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{ComponentExportIndex, Instance, Val};

use crate::background;
use crate::bounds::{WAVE_BYTES_MAX, WAVE_DEPTH_MAX};
use crate::call::Call;
use crate::compile::Compiled;
use crate::cpu_share::CpuShare;
use crate::deterministic::Input;
use crate::errors::{CallError, clipped};
use crate::host::Host;
use crate::lifecycle;
use crate::observer::{CallKind, CallOutcome};
use crate::replica::Replica;

/// An exported function that can be called.
pub(crate) struct Export {
    /// `add` or `demo:greeter/greet@0.1.0#hello`.
    name: Arc<str>,
    signature: String,
    index: ComponentExportIndex,
    ty: ComponentFunc,
}

/// What an invocation gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The result in WAVE; empty if the function has none.
    pub result: String,
    /// Fuel that the guest used, if the component has a budget.
    pub fuel_used: Option<u64>,
    /// Most bytes of linear memory at once, all memories together.
    pub memory_peak_bytes: u64,
    /// The full name of the export.
    pub export: String,
    /// The arguments; in canonical form if fuel is counted.
    pub arguments: Vec<String>,
}

/// What a call used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) fuel: Option<u64>,
    pub(crate) cpu: Duration,
    pub(crate) memory_peak_bytes: u64,
}

/// What a call may take at most, beside the limits of its component.
#[derive(Debug, Clone)]
pub struct Within {
    /// Fuel; only where it is counted.
    pub fuel_max: NonZeroU64,
    /// Wall time.
    pub wall_max: Millis,
    /// Cpu time, together with other calls.
    pub share: Arc<CpuShare>,
}

/// An invocation that gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// No such export.
    #[error("no export `{name}`: the component exports {}", list(exports))]
    UnknownExport {
        /// What was asked for.
        name: String,
        /// Every export with its signature.
        exports: Vec<String>,
    },
    /// Several exports of that name.
    #[error("`{name}` is exported several times: say which of {}", list(exports))]
    AmbiguousExport {
        /// What was asked for.
        name: String,
        /// The full names that fit.
        exports: Vec<String>,
    },
    /// Too few or too many arguments.
    #[error("{given} arguments given: `{name}` is {signature}")]
    ArgumentCount {
        /// The export.
        name: String,
        /// Its WIT type.
        signature: String,
        /// How many there were.
        given: usize,
    },
    /// An argument that does not have its parameter's type.
    #[error("argument {position} `{text}` is not valid: {reason}; `{name}` is {signature}")]
    Argument {
        /// Counted from 1.
        position: usize,
        /// The argument.
        text: String,
        /// What is wrong with it.
        reason: String,
        /// The export.
        name: String,
        /// Its WIT type.
        signature: String,
    },
    /// A result that has no text form, such as a resource. The call has been made.
    #[error("the call of `{name}` returned, but its result cannot be written as text: {reason}")]
    Result {
        /// The export.
        name: String,
        /// Why.
        reason: String,
    },
    /// A call within bounds of its own, of a component whose calls are not alone.
    #[error("a library that keeps state is not called within bounds of one call")]
    Stateful,
    /// The call failed.
    #[error("{0}")]
    Call(#[from] CallError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join("; ")
    }
}

impl Export {
    /// Everything that `compiled` exports, less what is the host's to call.
    pub(crate) fn all(compiled: &Compiled) -> Vec<Arc<Self>> {
        let component = &compiled.component;
        let find = |name: &str| match name.split_once('#') {
            None => component.get_export(None, name),
            Some((interface, function)) => {
                let interface = component.get_export_index(None, interface)?;
                component.get_export(Some(&interface), function)
            }
        };
        let exports = compiled.inspection.exports.iter();
        exports
            .filter(|export| !lifecycle::owns(&export.name))
            .filter_map(|export| match find(&export.name)? {
                (ComponentItem::ComponentFunc(ty), index) => Some(Arc::new(Self {
                    name: export.name.as_str().into(),
                    signature: export.signature.clone(),
                    index,
                    ty,
                })),
                _ => None,
            })
            .collect()
    }

    /// Whether `name` can mean this: the function alone, or with its interface, versioned or not.
    fn answers_to(&self, name: &str) -> bool {
        let Some((interface, function)) = self.name.split_once('#') else {
            return *self.name == *name;
        };
        let unversioned = interface
            .split_once('@')
            .map_or(interface, |(interface, _)| interface);
        let short = unversioned
            .rsplit_once('/')
            .map_or(unversioned, |(_, short)| short);
        match name.split_once('#') {
            None => name == function,
            Some((wanted, wanted_function)) => {
                wanted_function == function && [interface, unversioned, short].contains(&wanted)
            }
        }
    }

    fn parse(&self, args: &[String]) -> Result<Vec<Val>, InvokeError> {
        let params = self.ty.params();
        if params.len() != args.len() {
            return Err(InvokeError::ArgumentCount {
                name: self.name.to_string(),
                signature: self.signature.clone(),
                given: args.len(),
            });
        }
        let parse = |(at, ((_, ty), text)): (usize, ((&str, _), &String))| {
            parse_wave(&ty, text).map_err(|reason| InvokeError::Argument {
                position: at + 1,
                text: text.chars().take(80).collect(),
                reason: clipped(&reason),
                name: self.name.to_string(),
                signature: self.signature.clone(),
            })
        };
        params.zip(args).enumerate().map(parse).collect()
    }

    /// `values` as text in the one form that each has.
    fn canonical(&self, values: &[Val]) -> Result<Vec<String>, InvokeError> {
        let write = |(at, value): (usize, &Val)| {
            value.to_wave().map_err(|error| InvokeError::Argument {
                position: at + 1,
                text: String::new(),
                reason: clipped(&format!("it has no text form: {error:#}")),
                name: self.name.to_string(),
                signature: self.signature.clone(),
            })
        };
        values.iter().enumerate().map(write).collect()
    }

    fn print(&self, result: Option<&Val>) -> Result<String, InvokeError> {
        let Some(result) = result else {
            return Ok(String::new());
        };
        result.to_wave().map_err(|error| InvokeError::Result {
            name: self.name.to_string(),
            reason: clipped(&format!("{error:#}")),
        })
    }
}

pub(crate) fn parse_wave(ty: &wasmtime::component::Type, text: &str) -> Result<Val, String> {
    if text.len() > WAVE_BYTES_MAX {
        return Err(format!(
            "{} bytes are more than {WAVE_BYTES_MAX}",
            text.len()
        ));
    }
    // Brackets within strings count too: too strict for strange strings, safe for all.
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > WAVE_DEPTH_MAX {
        return Err(format!(
            "{deepest} nested brackets are more than {WAVE_DEPTH_MAX}"
        ));
    }
    Val::from_wave(ty, text).map_err(|error| format!("{error:#}"))
}

/// One function, and what it is to be called with.
pub(crate) struct Asked<'a> {
    export: Arc<Export>,
    values: Vec<Val>,
    /// The arguments: of a component whose fuel is counted in canonical form, so that how they were
    /// typed changes nothing; else as written.
    texts: Cow<'a, [String]>,
}

impl Asked<'_> {
    pub(crate) fn kind(&self) -> CallKind {
        CallKind::Invoke(Arc::clone(&self.export.name))
    }

    pub(crate) fn input(&self, sequence: u64) -> Input<'_> {
        Input {
            sequence,
            export: &self.export.name,
            arguments: &self.texts,
        }
    }

    fn invocation(self, result: Option<&Val>, used: Used) -> Result<Invocation, InvokeError> {
        Ok(Invocation {
            result: self.export.print(result)?,
            fuel_used: used.fuel,
            memory_peak_bytes: used.memory_peak_bytes,
            export: self.export.name.to_string(),
            arguments: self.texts.into_owned(),
        })
    }

    pub(crate) async fn run(
        &self,
        store: &mut Store<Host>,
        instance: &Instance,
    ) -> wasmtime::Result<Option<Val>> {
        let function = instance
            .get_func(&mut *store, self.export.index)
            .ok_or_else(|| wasmtime::format_err!("`{}` is gone", self.export.name))?;
        // A function has one result or none.
        if self.export.ty.results().len() == 0 {
            function.call_async(store, &self.values, &mut []).await?;
            return Ok(None);
        }
        let mut result = [Val::Bool(false)];
        function
            .call_async(store, &self.values, &mut result)
            .await?;
        let [result] = result;
        Ok(Some(result))
    }
}

impl Replica {
    /// Calls an export in a fresh instance; of a stateful library, in the one that has its state.
    ///
    /// `export` is a function's name where only one function has it, else `interface#function`.
    /// Arguments and result are in WAVE, the text form of component values; a function without a
    /// result gives the empty text. Dropping the future stops the guest.
    ///
    /// # Errors
    /// [`InvokeError`] names the exports or the expected signature, or holds the [`CallError`].
    pub async fn invoke(&self, export: &str, args: &[String]) -> Result<String, InvokeError> {
        let invocation = self.invoke_counted(export, args).await?;
        Ok(invocation.result)
    }

    /// As [`Self::invoke`], and says what fuel the guest used.
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub async fn invoke_counted(
        &self,
        export: &str,
        args: &[String],
    ) -> Result<Invocation, InvokeError> {
        let asked = self.asked(export, Cow::Borrowed(args))?;
        let (result, used) = match &self.shared.lifecycle {
            None => {
                let call = self.begin_call(&asked).await?;
                self.call_to_end(call, &asked).await?
            }
            Some(lifecycle) => self.call_with_state(lifecycle, &asked).await?,
        };
        asked.invocation(result.as_ref(), used)
    }

    /// As [`Self::invoke_counted`], for those on whose threads others wait: a call that computes
    /// for long goes on on threads of low priority. Calls of a stateful library do not, as each
    /// waits for the one before.
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub async fn invoke_apart(
        &self,
        export: &str,
        args: Vec<String>,
    ) -> Result<Invocation, InvokeError> {
        if self.shared.lifecycle.is_some() {
            return self.invoke_counted(export, &args).await;
        }
        let asked = self.asked(export, Cow::Owned(args))?;
        let call = self.begin_call(&asked).await?;
        let (invocation, _) = self.drive_apart(call, asked).await?;
        Ok(invocation)
    }

    /// As [`Self::invoke_apart`], within bounds of this call, and says what cpu time it used. Begins
    /// once others have paid for what they used of the share.
    ///
    /// # Errors
    /// As [`Self::invoke`]; [`InvokeError::Stateful`] for a library that keeps state.
    pub async fn invoke_within(
        &self,
        export: &str,
        args: Vec<String>,
        within: Within,
    ) -> Result<(Invocation, Duration), InvokeError> {
        if self.shared.lifecycle.is_some() {
            return Err(InvokeError::Stateful);
        }
        let asked = self.asked(export, Cow::Owned(args))?;
        within.share.rested().await;
        let call = self.begin_call(&asked).await?;
        let call = call
            .with_wall_limit(within.wall_max)
            .with_fuel_limit(within.fuel_max)
            .with_share(within.share);
        self.drive_apart(call, asked).await
    }

    async fn drive_apart(
        &self,
        call: Call,
        asked: Asked<'static>,
    ) -> Result<(Invocation, Duration), InvokeError> {
        let meter = Arc::clone(call.meter());
        let background = Arc::clone(&self.shared.guest.background);
        let replica = self.clone();
        let work = Box::pin(async move {
            let (result, used) = replica.call_to_end(call, &asked).await?;
            Ok::<_, CallError>((asked, result, used))
        });
        let (asked, result, used) = background::drive(work, meter, background).await?;
        Ok((asked.invocation(result.as_ref(), used)?, used.cpu))
    }

    /// The full name of an export and its arguments in their one form, without a call.
    ///
    /// # Errors
    /// [`InvokeError`] if the call could not be made.
    pub fn canonical(
        &self,
        export: &str,
        args: &[String],
    ) -> Result<(String, Vec<String>), InvokeError> {
        let export = self.find(export)?;
        let values = export.parse(args)?;
        Ok((export.name.to_string(), export.canonical(&values)?))
    }

    fn asked<'a>(&self, export: &str, args: Cow<'a, [String]>) -> Result<Asked<'a>, InvokeError> {
        let export = Arc::clone(self.find(export)?);
        let values = export.parse(&args)?;
        let texts = match self.shared.guest.limits.fuel.is_some() {
            true => Cow::Owned(export.canonical(&values)?),
            false => args,
        };
        Ok(Asked {
            export,
            values,
            texts,
        })
    }

    fn find(&self, name: &str) -> Result<&Arc<Export>, InvokeError> {
        let exports = &self.shared.exports;
        if let Some(export) = exports.iter().find(|export| *export.name == *name) {
            return Ok(export);
        }
        let matches: Vec<&Arc<Export>> = exports
            .iter()
            .filter(|export| export.answers_to(name))
            .collect();
        match matches.as_slice() {
            [export] => Ok(export),
            [] => Err(InvokeError::UnknownExport {
                name: clipped(name),
                exports: exports
                    .iter()
                    .map(|e| format!("{}: {}", e.name, e.signature))
                    .collect(),
            }),
            several => Err(InvokeError::AmbiguousExport {
                name: clipped(name),
                exports: several
                    .iter()
                    .map(|export| export.name.to_string())
                    .collect(),
            }),
        }
    }

    async fn begin_call(&self, asked: &Asked<'_>) -> Result<Call, CallError> {
        let place = self.shared.admission.place().await?;
        Ok(Call::begin(&self.shared.guest, asked.kind(), place).with_input(&asked.input(0)))
    }

    async fn call_to_end(
        &self,
        mut call: Call,
        asked: &Asked<'_>,
    ) -> Result<(Option<Val>, Used), CallError> {
        let (store, result) = match call.store() {
            Ok(mut store) => {
                // Pinned here: what drives it would move it, and it is large.
                let work = async {
                    let instance = self.shared.pre.instantiate_async(&mut store).await?;
                    asked.run(&mut store, &instance).await
                };
                let result = call.drive(pin!(work)).await;
                (Some(store), result)
            }
            Err(error) => (None, Err(error)),
        };
        let outcome = match &result {
            Ok(_) => CallOutcome::Completed,
            Err(error) => CallOutcome::Failed(error.clone()),
        };
        let used = Used {
            fuel: store.as_ref().and_then(|store| call.note_fuel(store)),
            cpu: call.meter().cpu(),
            memory_peak_bytes: call.meter().memory(),
        };
        call.end(store, outcome);
        result.map(|result| (result, used))
    }

    pub(crate) fn wrong_kind(&self, needed: ComponentKind) -> CallError {
        CallError::WrongKind {
            found: self.shared.kind,
            needed,
        }
    }
}
