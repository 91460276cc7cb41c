//! Debug sections of a component: kept while they are small, else hidden from the compiler. Knows
//! nothing of what they say.

use std::borrow::Cow;
use std::ops::Range;

use wasmparser::{Parser, Payload};

/// How DWARF's sections are called in core modules.
const DEBUG_PREFIX: &str = ".debug_";

/// `bytes`, in which debug sections are hidden if they exceed `bytes_max` together: renamed in
/// place, which changes no size and no other offset, so that they are custom sections which nobody
/// knows. The first error ends the search; the validator then names it.
pub(crate) fn bounded(bytes: &[u8], bytes_max: usize) -> Cow<'_, [u8]> {
    let sections = sections(bytes);
    let total: usize = sections.iter().map(|(_, bytes)| bytes).sum();
    if total <= bytes_max {
        return Cow::Borrowed(bytes);
    }
    let mut hidden = bytes.to_owned();
    for (name, _) in sections {
        if let Some(first) = hidden.get_mut(name).and_then(<[u8]>::first_mut) {
            *first = b'_';
        }
    }
    Cow::Owned(hidden)
}

/// Where the names of debug sections are, and how many bytes each section has.
fn sections(bytes: &[u8]) -> Vec<(Range<usize>, usize)> {
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::CustomSection(section)) if section.name().starts_with(DEBUG_PREFIX) => {
                // The name ends where the data begins.
                let end = section.data_offset();
                let start = end.saturating_sub(section.name().len());
                found.push((start..end, section.data().len()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_sections_are_hidden_beyond_the_bound_and_nothing_else_is_touched() {
        let component = wat::parse_str(
            r#"(component (core module
                (@custom ".debug_info" "0123456789")
                (@custom "other" "0123456789")
                (@custom ".debug_line" "01234")))"#,
        )
        .unwrap();
        assert_eq!(sections(&component).len(), 2);
        assert!(matches!(bounded(&component, 15), Cow::Borrowed(_)));
        let hidden = bounded(&component, 14).into_owned();
        assert_eq!(sections(&hidden), []);
        let changed: Vec<_> = component
            .iter()
            .zip(&hidden)
            .filter(|(old, new)| old != new)
            .collect();
        assert_eq!(changed, [(&b'.', &b'_'); 2]);
        assert_eq!(component.len(), hidden.len());
    }
}
