//! What a `--help` page offers, read from the page itself: the program is the only authority.

/// Subcommands and options of one page.
#[derive(Debug, Default)]
pub(super) struct Help {
    subcommands: Vec<String>,
    options: Vec<(String, bool)>,
}

impl Help {
    /// Reads the layout that clap prints: a `Commands:` section and lines that begin with a dash.
    pub(super) fn parse(page: &str) -> Self {
        let mut help = Self::default();
        let mut in_commands = false;
        for line in page.lines() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            if indent == 0 && !text.is_empty() {
                in_commands = text.ends_with("ommands:");
            } else if in_commands && indent == 2 {
                help.subcommands
                    .extend(text.split_whitespace().next().map(str::to_owned));
            } else if text.starts_with('-') {
                help.add_options(text);
            }
        }
        help
    }

    /// `-o, --output <FORMAT>  text`: every name, and whether a value follows.
    fn add_options(&mut self, line: &str) {
        let spelled = line.split("  ").next().unwrap_or(line);
        let takes_value = spelled.contains('<');
        for word in spelled.split([' ', ',', '=']) {
            if word.starts_with('-') {
                let name = word.trim_end_matches(['[', '.']);
                self.options.push((name.to_owned(), takes_value));
            }
        }
    }

    pub(super) fn has_subcommands(&self) -> bool {
        !self.subcommands.is_empty()
    }

    pub(super) fn has_subcommand(&self, name: &str) -> bool {
        self.subcommands.iter().any(|known| known == name)
    }

    pub(super) fn subcommands(&self) -> String {
        self.subcommands.join(", ")
    }

    /// Whether the option takes a value; `None` if the page does not know it.
    pub(super) fn option_takes_value(&self, name: &str) -> Option<bool> {
        self.options
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, takes)| *takes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_read_as_clap_prints_it() {
        let help = Help::parse(
            "Runs workloads\n\nUsage: nexus [OPTIONS] <COMMAND>\n\nCommands:\n  up      Start\n  \
             deploy  Deploy\n          --not-a-command here\n\nOptions:\n  -o, --output <FORMAT>  How\n      \
             --demo             With a demo\n  -h, --help             Print help\n",
        );
        assert!(help.has_subcommand("up") && help.has_subcommand("deploy"));
        assert!(!help.has_subcommand("Start"));
        assert_eq!(help.option_takes_value("--output"), Some(true));
        assert_eq!(help.option_takes_value("-o"), Some(true));
        assert_eq!(help.option_takes_value("--demo"), Some(false));
        assert_eq!(help.option_takes_value("--dem"), None);
    }
}
