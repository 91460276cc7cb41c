//! What README and ARCHITECTURE must say. Whether their commands and links exist is checked by
//! `cargo xtask readme`, which can ask the program.

use crate::offence::Offence;

/// The two commands of a newcomer, each once, in this order, before all other shell lines.
const HEADLINES: [&str; 2] = ["cargo run --release -- up --demo", "cargo xtask test"];

/// Checks the README; `None` if there is none.
pub(crate) fn readme(text: Option<&str>) -> Vec<Offence> {
    let Some(text) = text else {
        let advice = format!(
            "is missing: write it, with the commands `{}`",
            HEADLINES.join("`, `")
        );
        return vec![Offence::new("README.md", 0, advice)];
    };
    let commands = shell_lines(text);
    let mut offences = Vec::new();
    for headline in HEADLINES {
        let lines: Vec<usize> = commands
            .iter()
            .filter(|(_, said)| *said == headline)
            .map(|(line, _)| *line)
            .collect();
        if lines.len() != 1 {
            let advice = format!(
                "`{headline}` stands {} times in `sh` blocks: write it once, on a line of its own",
                lines.len()
            );
            offences.push(Offence::new(
                "README.md",
                lines.last().copied().unwrap_or(0),
                advice,
            ));
        }
    }
    let first: Vec<&str> = commands
        .iter()
        .take(HEADLINES.len())
        .map(|(_, said)| *said)
        .collect();
    if offences.is_empty() && first != HEADLINES {
        let line = commands.first().map_or(0, |(line, _)| *line);
        let advice = format!(
            "the first commands must be `{}`",
            HEADLINES.join("`, then `")
        );
        offences.push(Offence::new("README.md", line, advice));
    }
    offences
}

/// Lines of blocks tagged `sh`, without comments and prompts.
fn shell_lines(text: &str) -> Vec<(usize, &str)> {
    let mut in_shell = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(tag) = trimmed.strip_prefix("```") {
            in_shell = !in_shell && tag.trim() == "sh";
            continue;
        }
        let command = trimmed.split(" #").next().unwrap_or_default().trim_end();
        if in_shell && !command.is_empty() && !command.starts_with('#') {
            lines.push((index + 1, command));
        }
    }
    lines
}

/// Checks that the architecture page names every crate of `host/` as `` `name/` ``, `` `name` ``
/// or `host/name`.
pub(crate) fn architecture(text: Option<&str>, crates: &[String]) -> Vec<Offence> {
    const PATH: &str = "host/ARCHITECTURE.md";
    let Some(text) = text else {
        return vec![Offence::new(
            PATH,
            0,
            "is missing: write the code map of host/",
        )];
    };
    let named = |name: &String| {
        [
            format!("`{name}/`"),
            format!("`{name}`"),
            format!("host/{name}"),
        ]
        .iter()
        .any(|spelled| text.contains(spelled.as_str()))
    };
    crates
        .iter()
        .filter(|name| !named(name))
        .map(|name| Offence::new(PATH, 0, format!("say what `{name}/` owns")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: Option<&str>) -> Vec<String> {
        readme(text).iter().map(Offence::to_string).collect()
    }

    #[test]
    fn missing_readme_is_an_offence() {
        assert!(said(None)[0].starts_with("README.md: is missing"));
    }

    #[test]
    fn readme_needs_each_headline_once_and_first() {
        let good = "```sh\ncargo run --release -- up --demo  # stays up\n```\nthen\n```sh\n\
                    cargo xtask test\nnexus ps\n```\n";
        assert!(said(Some(good)).is_empty());
        let twice = format!("{good}```sh\ncargo xtask test\n```\n");
        assert!(said(Some(&twice))[0].contains("stands 2 times"));
        let untagged = good.replace("```sh", "```");
        assert_eq!(said(Some(&untagged)).len(), 2);
        let late = format!("```sh\nnexus ps\n```\n{good}");
        assert!(said(Some(&late))[0].starts_with("README.md:2: the first commands"));
    }

    #[test]
    fn architecture_must_name_every_crate() {
        let crates = ["types".to_owned(), "node".to_owned()];
        assert!(
            architecture(None, &crates)[0]
                .to_string()
                .contains("is missing")
        );
        assert!(architecture(Some("`types/` and host/node"), &crates).is_empty());
        let found = architecture(Some("`types/` knows no node"), &crates);
        assert_eq!(
            found,
            [Offence::new(
                "host/ARCHITECTURE.md",
                0,
                "say what `node/` owns"
            )]
        );
    }
}
