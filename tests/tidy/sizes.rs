//! Limits on the length of files and functions.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::offence::Offence;
use crate::repository::SourceFile;

/// Longest file: more is more than one subject.
const FILE_LINES_MAX: usize = 500;

/// Longest function, from its signature to its closing brace: more does not fit a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// What is too long in one Rust file.
pub(crate) fn offences(file: &SourceFile) -> Vec<Offence> {
    let mut offences = Vec::new();
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        let advice = format!("{lines} lines, at most {FILE_LINES_MAX}: split it by subject");
        offences.push(Offence::new(&file.path, 0, advice));
    }
    match syn::parse_file(&file.text) {
        Ok(parsed) => Functions {
            path: &file.path,
            offences: &mut offences,
        }
        .visit_file(&parsed),
        Err(error) => {
            let line = error.span().start().line;
            offences.push(Offence::new(
                &file.path,
                line,
                format!("this is not Rust: {error}"),
            ));
        }
    }
    offences
}

struct Functions<'a> {
    path: &'a str,
    offences: &'a mut Vec<Offence>,
}

impl Functions<'_> {
    fn check(&mut self, signature: &syn::Signature, end: Span) {
        let start = signature.span().start().line;
        let lines = end.end().line.saturating_sub(start) + 1;
        if lines > FUNCTION_LINES_MAX {
            let advice = format!(
                "`{}` has {lines} lines, at most {FUNCTION_LINES_MAX}: name its steps",
                signature.ident
            );
            self.offences.push(Offence::new(self.path, start, advice));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check(&item.sig, item.block.span());
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check(&item.sig, item.block.span());
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.check(&item.sig, block.span());
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: String) -> Vec<String> {
        let file = SourceFile {
            path: "a.rs".to_owned(),
            text,
        };
        offences(&file).iter().map(Offence::to_string).collect()
    }

    /// A function of this many lines, preceded by a comment line.
    fn function(lines: usize) -> String {
        format!(
            "/// Long.\nfn long() {{\n{}}}\n",
            "    step();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn longest_file_passes_and_one_more_line_fails() {
        assert!(found("//! A\n".repeat(FILE_LINES_MAX)).is_empty());
        let over = found("//! A\n".repeat(FILE_LINES_MAX + 1));
        assert_eq!(over, ["a.rs: 501 lines, at most 500: split it by subject"]);
    }

    #[test]
    fn longest_function_passes_and_one_more_line_fails() {
        assert!(found(function(FUNCTION_LINES_MAX)).is_empty());
        let over = found(function(FUNCTION_LINES_MAX + 1));
        assert_eq!(
            over,
            ["a.rs:2: `long` has 71 lines, at most 70: name its steps"]
        );
    }

    #[test]
    fn functions_are_found_wherever_they_are() {
        let long = function(FUNCTION_LINES_MAX + 1);
        let method = long.replace("long()", "long(&self)");
        for text in [
            format!("#[test]\n{long}"),
            format!("impl A {{\n{method}}}"),
            format!("trait A {{\n{method}}}"),
            format!("mod inner {{\n{long}}}"),
            format!("impl A {{ fn short() {{\n{long}}} }}"),
        ] {
            assert!(
                found(text.clone())
                    .iter()
                    .any(|said| said.contains("`long`")),
                "{text}"
            );
        }
    }

    #[test]
    fn broken_file_is_an_offence() {
        assert!(found("fn {".to_owned())[0].contains("this is not Rust"));
    }
}
