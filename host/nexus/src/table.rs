//! Aligned columns and aligned fields, as tables for people. Knows nothing of what it prints.

use unicode_width::UnicodeWidthStr as _;

use crate::terminal::printable;

/// Two spaces part columns: readable, and easy to cut.
const GAP: usize = 2;

/// Rows under headings, every column as wide as its widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![
                headings
                    .iter()
                    .map(|heading| (*heading).to_owned())
                    .collect(),
            ],
        }
    }

    /// Adds a row. An empty cell shows as `-`, so that columns can be counted.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let cell = |cell: String| {
            let cell = printable(&cell).replace(['\n', '\t'], " ");
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell
            }
        };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// The table as lines, without a line end after the last.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let padded = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| pad(cell, width + GAP));
            padded.collect::<String>().trim_end().to_owned()
        };
        self.rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// `label: value` lines, values aligned; further lines of a value stand below its first.
#[derive(Default)]
pub(crate) struct Fields {
    lines: Vec<(String, String)>,
}

impl Fields {
    /// Adds a field.
    pub(crate) fn add(&mut self, label: &str, value: impl std::fmt::Display) {
        self.lines
            .push((format!("{label}:"), printable(&value.to_string())));
    }

    /// Adds a field with one line per value; none at all as `none`.
    pub(crate) fn list<T: std::fmt::Display>(
        &mut self,
        label: &str,
        values: impl IntoIterator<Item = T>,
    ) {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        self.add(
            label,
            if values.is_empty() {
                "none".to_owned()
            } else {
                values.join("\n")
            },
        );
    }

    /// The fields as lines, each indented by `indent` spaces.
    pub(crate) fn render(&self, indent: usize) -> String {
        let width = self
            .lines
            .iter()
            .map(|(label, _)| label.width())
            .max()
            .unwrap_or(0)
            + GAP;
        let mut text = Vec::new();
        for (label, value) in &self.lines {
            for (index, line) in value.lines().enumerate() {
                let label = if index == 0 { label.as_str() } else { "" };
                let line = format!("{}{}{line}", " ".repeat(indent), pad(label, width));
                text.push(line.trim_end().to_owned());
            }
        }
        text.join("\n")
    }
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_what_is_seen() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(vec!["größe".to_owned(), "running".to_owned()]);
        table.row(vec!["日本".to_owned(), String::new()]);
        assert_eq!(table.render(), "NAME   STATE\ngröße  running\n日本   -");
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let mut table = Table::new(&["REASON"]);
        table.row(vec!["trap\nat\u{1b}[1m".to_owned()]);
        assert_eq!(table.render(), "REASON\ntrap at\\u{1b}[1m");
    }

    #[test]
    fn fields_align_and_lists_hang() {
        let mut fields = Fields::default();
        fields.add("Name", "web");
        fields.list("Routes", ["*/", "a.example/x"]);
        fields.list("Files", Vec::<String>::new());
        let expected = "  Name:    web\n  Routes:  */\n           a.example/x\n  Files:   none";
        assert_eq!(fields.render(2), expected);
    }
}
