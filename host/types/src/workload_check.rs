//! The rules that a workload keeps by itself, whatever else is deployed.

use std::collections::BTreeSet;

use crate::limits::LimitsError;
use crate::name::Name;
use crate::replication::Replication;
use crate::route::Route;
use crate::workload::{ComponentKind, ComponentSpec, WorkloadSpec};

/// A workload that no node can run as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// Too few or too many components.
    #[error("a workload has 1 to {max} components, not {count}", max = WorkloadSpec::COMPONENTS_MAX)]
    ComponentCount {
        /// How many it has.
        count: usize,
    },
    /// Two components share a name.
    #[error("two components are called `{0}`")]
    DuplicateComponent(Name),
    /// Too many replicas.
    #[error(
        "component `{component}`: {replicas} replicas are more than {}",
        ComponentSpec::REPLICAS_MAX
    )]
    TooManyReplicas {
        /// The component.
        component: Name,
        /// How many it wants.
        replicas: u16,
    },
    /// A limit out of range.
    #[error("component `{component}`: {error}")]
    Limits {
        /// The component.
        component: Name,
        /// Which limit.
        error: LimitsError,
    },
    /// A route on a component that serves no HTTP.
    #[error("component `{component}` is a {kind} component: only http components take routes")]
    RouteWithoutHttp {
        /// The component.
        component: Name,
        /// What it is.
        kind: ComponentKind,
    },
    /// One route twice in a workload.
    #[error("component `{component}`: route `{route}` stands twice in this workload")]
    DuplicateRoute {
        /// The component.
        component: Name,
        /// The route.
        route: Route,
    },
    /// An entry of env, config, args, files, capabilities or routes is malformed or one too many.
    #[error("component `{component}`: {field} {problem}")]
    Field {
        /// The component.
        component: Name,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl WorkloadSpec {
    /// Most components of one workload.
    pub const COMPONENTS_MAX: usize = 32;

    /// Checks every rule that needs no other state.
    ///
    /// # Errors
    /// [`WorkloadError`] names the first rule that is broken.
    pub fn check(&self) -> Result<(), WorkloadError> {
        if !(1..=Self::COMPONENTS_MAX).contains(&self.components.len()) {
            return Err(WorkloadError::ComponentCount {
                count: self.components.len(),
            });
        }
        let mut names = BTreeSet::new();
        let mut routes = BTreeSet::new();
        for component in &self.components {
            if !names.insert(&component.name) {
                return Err(WorkloadError::DuplicateComponent(component.name.clone()));
            }
            component.check()?;
            for route in &component.routes {
                if !routes.insert(route) {
                    return Err(WorkloadError::DuplicateRoute {
                        component: component.name.clone(),
                        route: route.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

impl ComponentSpec {
    /// Most replicas of one component.
    pub const REPLICAS_MAX: u16 = 256;
    /// Most entries of each list in a component.
    pub const ENTRIES_MAX: usize = 64;
    /// Longest value of an argument, variable or setting.
    pub const TEXT_BYTES_MAX: usize = 4_096;

    fn check(&self) -> Result<(), WorkloadError> {
        let component = || self.name.clone();
        if self.replicas > Self::REPLICAS_MAX {
            let replicas = self.replicas;
            return Err(WorkloadError::TooManyReplicas {
                component: component(),
                replicas,
            });
        }
        self.limits.check().map_err(|error| WorkloadError::Limits {
            component: component(),
            error,
        })?;
        if self.kind != ComponentKind::Http && !self.routes.is_empty() {
            let kind = self.kind;
            return Err(WorkloadError::RouteWithoutHttp {
                component: component(),
                kind,
            });
        }
        match self.field_problem() {
            None => Ok(()),
            Some((field, problem)) => Err(WorkloadError::Field {
                component: component(),
                field,
                problem,
            }),
        }
    }

    fn field_problem(&self) -> Option<(&'static str, String)> {
        let counts = [
            ("args", self.args.len()),
            ("env", self.env.len()),
            ("config", self.config.len()),
            ("secrets", self.secrets.len()),
            ("files", self.files.len()),
            ("capabilities", self.capabilities.len()),
            ("routes", self.routes.len()),
            ("subscriptions", self.subscriptions.len()),
        ];
        if let Some((field, count)) = counts.into_iter().find(|(_, n)| *n > Self::ENTRIES_MAX) {
            return Some((
                field,
                format!("has {count} entries: at most {}", Self::ENTRIES_MAX),
            ));
        }
        let maps = [("env", &self.env), ("config", &self.config)];
        for (field, map) in maps {
            for (key, value) in map {
                if key.is_empty() || key.contains(['=', '\0']) || key.len() > 256 {
                    return Some((
                        field,
                        format!("key `{key}` is empty, too long or has `=` in it"),
                    ));
                }
                if let Some(problem) = text_problem(value) {
                    return Some((field, format!("`{key}` {problem}")));
                }
            }
        }
        if let Some(problem) = self.args.iter().find_map(|arg| text_problem(arg)) {
            return Some(("args", problem));
        }
        if let Some(problem) = self.file_problem() {
            return Some(("files", problem));
        }
        if let Some(twice) = self
            .secrets
            .iter()
            .find(|name| self.config.contains_key(name.as_str()))
        {
            return Some(("secrets", format!("`{twice}` is also a key of config")));
        }
        if let Err(error) = self.placement.check() {
            return Some(("placement", error.to_string()));
        }
        if let Some(problem) = self.kind_problem() {
            return Some(problem);
        }
        if let Some(problem) = self.deterministic_problem() {
            return Some(("deterministic_seed", problem.to_owned()));
        }
        if self.replicate != Replication::One && self.deterministic_seed.is_none() {
            let problem = "is for deterministic components: set deterministic_seed";
            return Some(("replicate", format!("{} {problem}", self.replicate)));
        }
        self.capability_problem()
    }

    /// What could make two runs of a deterministic component differ.
    fn deterministic_problem(&self) -> Option<&'static str> {
        self.deterministic_seed?;
        if !self.capabilities.is_empty() {
            Some("and capabilities exclude each other: what they reach is not repeatable")
        } else if !self.files.is_empty() {
            Some("and files exclude each other: their times and their order are the machine's")
        } else {
            None
        }
    }

    /// Settings that only one kind of component has a use for.
    fn kind_problem(&self) -> Option<(&'static str, String)> {
        let kind = self.kind;
        let reused = self.requests_per_instance.get() > 1;
        if reused && kind != ComponentKind::Http {
            return Some((
                "requests_per_instance",
                format!("is for http components: this is a {kind} component"),
            ));
        }
        let subscribed = !self.subscriptions.is_empty();
        (subscribed && kind != ComponentKind::Worker).then(|| {
            (
                "subscriptions",
                format!("are for worker components: this is a {kind} component"),
            )
        })
    }

    fn capability_problem(&self) -> Option<(&'static str, String)> {
        let mut granted = BTreeSet::new();
        self.capabilities.iter().find_map(|capability| {
            let field = capability.field();
            let twice = (!granted.insert(field)).then(|| "stands twice".to_owned());
            let problem = twice.or_else(|| capability.problem())?;
            Some(("capabilities", format!("{field} {problem}")))
        })
    }

    /// Two files at one path, or a file where another needs a directory.
    fn file_problem(&self) -> Option<String> {
        let mut paths = BTreeSet::new();
        if let Some(twice) = self
            .files
            .iter()
            .find(|file| !paths.insert(file.path.as_str()))
        {
            return Some(format!("`{}` stands twice", twice.path.as_str()));
        }
        self.files.iter().find_map(|file| {
            let path = file.path.as_str();
            let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
            let clash = parents.find(|parent| paths.contains(parent))?;
            Some(format!(
                "`{clash}` is a file, so `{path}` cannot be below it"
            ))
        })
    }
}

fn text_problem(text: &str) -> Option<String> {
    if text.len() > ComponentSpec::TEXT_BYTES_MAX {
        return Some(format!(
            "has {} bytes: at most {}",
            text.len(),
            ComponentSpec::TEXT_BYTES_MAX
        ));
    }
    text.contains('\0')
        .then(|| "has a NUL byte in it".to_owned())
}
