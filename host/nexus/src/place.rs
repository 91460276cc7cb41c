//! Where in a manifest a value stands, so that errors found after parsing have their line too.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use types::{ManifestError, Name, WorkloadError, WorkloadSpec};

use crate::excerpt::{excerpt, position};
use crate::exit::{Exit, Failure};

/// A manifest's text and the name by which the user knows it.
pub(crate) struct ManifestText {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// One step from a table or list to a value in it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl ManifestText {
    /// The refusal that a parser gave, with the line shown.
    pub(crate) fn malformed(&self, error: &ManifestError) -> Failure {
        self.refused_at(&error.span, &error.message)
    }

    /// A refusal of the value at `steps`, or of the nearest table around it.
    pub(crate) fn refused(&self, steps: &[Step<'_>], message: &str) -> Failure {
        self.refused_at(&place(&self.text, steps), message)
    }

    /// A refusal of a workload, at the value that breaks the rule.
    pub(crate) fn invalid(&self, spec: &WorkloadSpec, error: &WorkloadError) -> Failure {
        let index = |name: &Name| {
            spec.components
                .iter()
                .rposition(|component| component.name == *name)
                .unwrap_or(0)
        };
        let within = |name: &Name, keys: &[&'static str]| {
            let mut steps = vec![Step::Key("component"), Step::Index(index(name))];
            steps.extend(keys.iter().map(|key| Step::Key(key)));
            steps
        };
        let steps = match error {
            WorkloadError::ComponentCount { .. } => vec![Step::Key("component")],
            WorkloadError::DuplicateComponent(name) => within(name, &["name"]),
            WorkloadError::TooManyReplicas { component, .. } => within(component, &["replicas"]),
            WorkloadError::Limits { component, error } => {
                within(component, &["limits", error.field])
            }
            WorkloadError::RouteWithoutHttp { component, .. } => within(component, &["route"]),
            WorkloadError::DuplicateRoute { component, route } => {
                let mut steps = within(component, &["route"]);
                let routes = spec.components.get(index(component)).map(|c| &c.routes);
                let last = routes.and_then(|routes| routes.iter().rposition(|r| r == route));
                steps.extend(last.map(Step::Index));
                steps
            }
            WorkloadError::Field {
                component, field, ..
            } => match *field {
                "files" => within(component, &["file"]),
                "routes" => within(component, &["route"]),
                "capabilities.http_outgoing" => {
                    within(component, &["capabilities", "http_outgoing"])
                }
                field => within(component, &[field]),
            },
        };
        self.refused(&steps, &error.to_string())
    }

    fn refused_at(&self, span: &Range<usize>, message: &str) -> Failure {
        let (line, column) = position(&self.text, span.start);
        let failure = Failure::new(
            Exit::Refused,
            format!("{}:{line}:{column}: {message}", self.file),
        );
        match excerpt(&self.text, span) {
            shown if shown.is_empty() => failure,
            shown => failure.hint(shown),
        }
    }
}

/// The bytes of the value at `steps`; of the last thing on the way if the value itself is a default.
fn place(text: &str, steps: &[Step<'_>]) -> Range<usize> {
    let Ok(table) = DeTable::parse(text) else {
        return 0..0;
    };
    let mut span = 0..0;
    let mut value = &DeValue::Table(table.into_inner());
    for step in steps {
        let next = match step {
            Step::Key(key) => value.get(*key),
            Step::Index(index) => value.get(*index),
        };
        let Some(next) = next else { break };
        span = next.span();
        value = next.get_ref();
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"a\"\n\n[[component]]\nname = \"c\"\nsource = \"c.wasm\"\n\n[component.limits]\ncpu_percent = 0\n";

    fn place_text(steps: &[Step<'_>]) -> &'static str {
        &TEXT[place(TEXT, steps)]
    }

    #[test]
    fn values_are_found_and_defaults_point_to_their_table() {
        let component = [Step::Key("component"), Step::Index(0)];
        let below = |keys: &[&'static str]| {
            place_text(
                &[
                    &component[..],
                    &keys.iter().map(|k| Step::Key(k)).collect::<Vec<_>>(),
                ]
                .concat(),
            )
        };
        assert_eq!(below(&["source"]), "\"c.wasm\"");
        assert_eq!(below(&["limits", "cpu_percent"]), "0");
        assert_eq!(below(&["limits", "memory"]), "[component.limits]");
        assert_eq!(below(&["replicas"]), "[[component]]");
        assert_eq!(place_text(&[Step::Key("nothing")]), "");
    }
}
