//! One broken rule: where, and what to do.

use std::fmt;

/// A place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offence {
    path: String,
    line: usize,
    advice: String,
}

impl Offence {
    /// `line` counts from 1; 0 stands for the file as a whole.
    pub(crate) fn new(path: &str, line: usize, advice: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.path, self.advice),
            line => write!(out, "{}:{line}: {}", self.path, self.advice),
        }
    }
}

/// Ends the test with all offences, sorted by place.
///
/// # Panics
/// If there are any.
pub(crate) fn report(mut offences: Vec<Offence>) {
    offences.sort();
    offences.dedup();
    let lines: Vec<String> = offences.iter().map(Offence::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} places break a rule:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

#[test]
fn report_lists_all_in_order() {
    let offences = vec![Offence::new("b", 0, "two"), Offence::new("a", 3, "one")];
    let panic = std::panic::catch_unwind(|| report(offences)).unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert_eq!(said, "2 places break a rule:\na:3: one\nb: two");
    report(Vec::new());
}
