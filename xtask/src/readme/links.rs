//! Relative links of a Markdown text: `[words](path)`.

/// One link, without its `#fragment`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link<'a> {
    pub(super) line: usize,
    pub(super) path: &'a str,
}

/// Every link to a file; links with a scheme and links within the page are left out, and so is
/// code.
pub(super) fn relative(markdown: &str) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (index, line) in markdown.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if in_code {
            continue;
        }
        // Text between backticks is every second part.
        for prose in line.split('`').step_by(2) {
            for after in prose.split("](").skip(1) {
                let target = after.split([')', ' ']).next().unwrap_or_default();
                let path = target.split('#').next().unwrap_or_default();
                if !path.is_empty() && !target.contains(':') {
                    links.push(Link {
                        line: index + 1,
                        path,
                    });
                }
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_and_the_rest_left_out() {
        let text = "See [a](host/A.md#part) and [b](LICENSE \"title\").\n[c](https://x.y/z) [d](#top)\n\
                    ```sh\n[e](no)\n```\n`[f](no)` [g](../up)\n";
        let found: Vec<_> = relative(text)
            .into_iter()
            .map(|link| (link.line, link.path))
            .collect();
        assert_eq!(found, [(1, "host/A.md"), (1, "LICENSE"), (6, "../up")]);
    }

    #[test]
    fn link_text_in_backticks_is_a_link_still() {
        let found: Vec<_> = relative("[`wit/`](wit)")
            .into_iter()
            .map(|link| link.path)
            .collect();
        assert_eq!(found, ["wit"]);
    }
}
