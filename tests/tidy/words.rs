//! Words that must be there and words that must not. Code is read as tokens, so that strings and
//! comments do not count as code.

use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::offence::Offence;
use crate::repository::SourceFile;

/// Where `unsafe` may stand; each place also needs its safety comment.
const UNSAFE_FOLDERS: &[&str] = &[
    "host/runtime/",
    "host/monitor/",
    // Start files of guests: compiled into guests, never into the node.
    "xtask/guest-toolchain/",
];

/// Macros that say that code is not finished. Split, so that this file passes its own rule.
const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented"];
const UNFINISHED_WORDS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X")];

/// Paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/main"),
    concat!("/wo", "rk/shared"),
];

/// A Rust file must begin with `//!`, or with a `#!` line and then that.
pub(crate) fn missing_header(file: &SourceFile) -> Option<Offence> {
    let first = file.text.lines().find(|line| !line.starts_with("#!/"));
    let opens = first.and_then(|line| line.strip_prefix("//!"));
    let says_something = opens.is_some_and(|words| !words.trim().is_empty());
    (!says_something).then(|| {
        let advice = "open it with one `//!` sentence: what it owns, what it refuses to know";
        Offence::new(&file.path, 1, advice)
    })
}

/// Unfinished macros, `unsafe` in the wrong place and exceptions from lints without a reason.
pub(crate) fn in_code(file: &SourceFile) -> Vec<Offence> {
    let Ok(tokens) = TokenStream::from_str(&file.text) else {
        return vec![Offence::new(&file.path, 1, "this is not Rust: make it lex")];
    };
    let may_be_unsafe = UNSAFE_FOLDERS
        .iter()
        .any(|folder| file.path.starts_with(folder));
    let mut code = Code {
        path: &file.path,
        may_be_unsafe,
        offences: Vec::new(),
    };
    code.read(tokens);
    code.offences
}

struct Code<'a> {
    path: &'a str,
    may_be_unsafe: bool,
    offences: Vec<Offence>,
}

impl Code<'_> {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            let line = token.span().start().line;
            let next = tokens.get(index + 1);
            match token {
                TokenTree::Ident(word) if word == "unsafe" && !self.may_be_unsafe => {
                    let folders = UNSAFE_FOLDERS.join(", ");
                    self.add(line, format!("`unsafe` is for {folders}: find a safe way"));
                }
                TokenTree::Ident(word)
                    if is_punctuation(next, '!')
                        && UNFINISHED_MACROS.iter().any(|name| word == name) =>
                {
                    self.add(
                        line,
                        format!("`{word}!` is not finished: write it or leave it out"),
                    );
                }
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    // `#[..]` or `#![..]`.
                    let inner = usize::from(is_punctuation(next, '!'));
                    if let Some(TokenTree::Group(attribute)) = tokens.get(index + 1 + inner)
                        && attribute.delimiter() == Delimiter::Bracket
                    {
                        self.read_attribute(attribute.stream());
                    }
                }
                TokenTree::Group(group) => self.read(group.stream()),
                _ => {}
            }
        }
    }

    /// `allow(..)` and `expect(..)`, alone or within `cfg_attr`, must say why.
    fn read_attribute(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            let TokenTree::Group(group) = token else {
                continue;
            };
            let name = index.checked_sub(1).and_then(|before| tokens.get(before));
            let Some(TokenTree::Ident(name)) = name else {
                continue;
            };
            if name == "cfg_attr" {
                self.read_attribute(group.stream());
            } else if (name == "allow" || name == "expect") && !gives_reason(group.stream()) {
                let advice = format!("`{name}` without a reason: add `reason = \"..\"`");
                self.add(name.span().start().line, advice);
            }
        }
    }

    fn add(&mut self, line: usize, advice: String) {
        self.offences.push(Offence::new(self.path, line, advice));
    }
}

fn gives_reason(tokens: TokenStream) -> bool {
    tokens
        .into_iter()
        .any(|token| matches!(token, TokenTree::Ident(word) if word == "reason"))
}

fn is_punctuation(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == mark)
}

/// Marks of unfinished work and paths of one machine, in any text.
pub(crate) fn in_text(file: &SourceFile) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in UNFINISHED_WORDS.iter().filter(|word| has_word(line, word)) {
            let advice = format!("`{word}`: do it now or file an issue");
            offences.push(Offence::new(&file.path, index + 1, advice));
        }
        for path in MACHINE_PATHS.iter().filter(|path| has_path(line, path)) {
            let advice = format!("`{path}` exists on one machine only: use a relative path");
            offences.push(Offence::new(&file.path, index + 1, advice));
        }
    }
    offences
}

/// Whether `word` stands in `line` with no letter or digit on either side.
fn has_word(line: &str, word: &str) -> bool {
    let borders = |at: usize| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line
            .get(at + word.len()..)
            .and_then(|text| text.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    };
    line.match_indices(word).any(|(at, _)| borders(at))
}

/// Whether an absolute `path` begins in `line`: `a/b/` within a longer path is none.
fn has_path(line: &str, path: &str) -> bool {
    let begins = |at: usize| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|found| found.is_alphanumeric() || "._-~}/".contains(found))
    };
    line.match_indices(path).any(|(at, _)| begins(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    fn code(path: &str, text: &str) -> Vec<String> {
        in_code(&file(path, text))
            .iter()
            .map(Offence::to_string)
            .collect()
    }

    #[test]
    fn file_without_header_is_an_offence() {
        for text in ["", "use a;\n", "// A\n", "//!\n", "\n//! A\n"] {
            assert!(missing_header(&file("a.rs", text)).is_some(), "{text:?}");
        }
        assert!(missing_header(&file("a.rs", "//! A.\nuse a;\n")).is_none());
        assert!(missing_header(&file("a.rs", "#!/usr/bin/env x\n//! A.\n")).is_none());
    }

    #[test]
    fn unfinished_macros_are_offences_and_their_names_in_strings_are_not() {
        for name in UNFINISHED_MACROS {
            let said = code("a.rs", &format!("fn a() {{\n    {name}!()\n}}"));
            assert!(said[0].starts_with("a.rs:2: "), "{said:?}");
            assert!(
                code(
                    "a.rs",
                    &format!("// {name}!()\nconst A: &str = \"{name}!()\";")
                )
                .is_empty()
            );
        }
    }

    #[test]
    fn unsafe_is_an_offence_outside_its_folders() {
        for text in [
            "unsafe fn a() {}",
            "fn a() { unsafe {} }",
            "m! { unsafe {} }",
        ] {
            assert_eq!(code("host/node/src/a.rs", text).len(), 1, "{text}");
            assert!(code("host/runtime/src/a.rs", text).is_empty(), "{text}");
        }
        assert!(code("host/node/src/a.rs", "//! unsafe\n#![forbid(unsafe_code)]").is_empty());
    }

    #[test]
    fn exception_without_reason_is_an_offence() {
        for text in [
            "#[allow(dead_code)] fn a() {}",
            "#![allow(dead_code)]",
            "#[expect(dead_code)] fn a() {}",
            "fn a() { #[allow(dead_code)] let b = 1; }",
            "#[cfg_attr(test, allow(dead_code))] fn a() {}",
        ] {
            assert!(code("a.rs", text)[0].contains("without a reason"), "{text}");
        }
        assert!(code("a.rs", "#[allow(dead_code, reason = \"why\")] fn a() {}").is_empty());
        assert!(code("a.rs", "fn a() { b.expect(\"c\"); allow(d); }").is_empty());
    }

    #[test]
    fn unfinished_words_and_machine_paths_are_offences_in_any_text() {
        for word in UNFINISHED_WORDS {
            let said = in_text(&file("a.md", &format!("fine\n# {word}: later\n")));
            assert_eq!(said.len(), 1, "{word}");
            assert!(said[0].to_string().starts_with("a.md:2: "), "{said:?}");
            assert!(in_text(&file("a.md", &format!("mktemp a.{word}{word}"))).is_empty());
        }
        for path in MACHINE_PATHS {
            assert_eq!(
                in_text(&file("a.sh", &format!("cd {path}x"))).len(),
                1,
                "{path}"
            );
            assert!(
                in_text(&file("a.sh", &format!("cd a{path}x"))).is_empty(),
                "{path}"
            );
        }
    }
}
