//! The place of an error within a text, shown as compilers show it.

use std::ops::Range;

use unicode_width::UnicodeWidthStr as _;

/// Longest part of a line that is shown: a minified file must not fill the screen.
const LINE_CHARS_MAX: usize = 160;

/// Line and column, counted from 1 and in characters, of the byte `at`.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// The line at `span`, with its number, and carets below what is meant. Empty if nothing is there.
pub(crate) fn excerpt(text: &str, span: &Range<usize>) -> String {
    let (number, _) = position(text, span.start);
    let start = text
        .get(..span.start)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |at| at + 1);
    let line = text
        .get(start..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    if line.trim().is_empty() {
        return String::new();
    }
    let line: String = line
        .chars()
        .take(LINE_CHARS_MAX)
        .collect::<String>()
        .replace('\t', " ");
    let from = line.floor_char_boundary(span.start.saturating_sub(start));
    let to = line.floor_char_boundary(span.end.saturating_sub(start).max(from));
    let indent = line[..from].width();
    let carets = line[from..to].trim_end().width().max(1);
    let gutter = " ".repeat(number.to_string().len());
    format!(
        "{gutter} |\n{number} | {line}\n{gutter} | {}{}",
        " ".repeat(indent),
        "^".repeat(carets)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_below_what_is_meant() {
        let text = "name = \"ä\"\nmemory = 64\n";
        let at = text.find("64").unwrap();
        let expected = "  |\n2 | memory = 64\n  |          ^^";
        assert_eq!(excerpt(text, &(at..at + 2)), expected);
        assert_eq!(position(text, at), (2, 10));
    }

    #[test]
    fn any_span_is_survived() {
        let text = "é\n[x\ny";
        for start in 0..=text.len() + 2 {
            for end in 0..=text.len() + 2 {
                excerpt(text, &(start..end));
                position(text, start);
            }
        }
    }
}
