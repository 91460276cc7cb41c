//! Commands in the `sh` blocks of a Markdown text. Strict: what it cannot split, it refuses.

/// One command, split into words, and the line it starts on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShellCommand {
    pub(super) line: usize,
    pub(super) words: Vec<String>,
}

/// Every command of every block that is fenced with three backticks and tagged `sh`.
///
/// # Errors
/// `line: reason` for a block that does not end and for quotes that do not close.
pub(super) fn shell_commands(markdown: &str) -> Result<Vec<ShellCommand>, String> {
    let mut commands = Vec::new();
    let mut fence: Option<(usize, bool)> = None;
    let mut joined = String::new();
    let mut first_line = 0;
    for (index, text) in markdown.lines().enumerate() {
        let line = index + 1;
        let Some((_, is_shell)) = fence else {
            if let Some(tag) = text.trim_start().strip_prefix("```") {
                fence = Some((line, tag.trim() == "sh"));
            }
            continue;
        };
        if text.trim() == "```" {
            if !joined.is_empty() {
                return Err(format!("{first_line}: the command ends in a backslash"));
            }
            fence = None;
            continue;
        }
        if !is_shell {
            continue;
        }
        if joined.is_empty() {
            first_line = line;
        }
        if let Some(begun) = text.strip_suffix('\\') {
            joined.push_str(begun);
            continue;
        }
        joined.push_str(text);
        for words in split(&joined).map_err(|reason| format!("{first_line}: {reason}"))? {
            commands.push(ShellCommand {
                line: first_line,
                words,
            });
        }
        joined.clear();
    }
    match fence {
        Some((line, _)) => Err(format!("{line}: the block that starts here does not end")),
        None => Ok(commands),
    }
}

/// Splits a line into commands at `|`, `&` and `;`, and those into words. Redirections and
/// variable assignments in front are dropped.
fn split(line: &str) -> Result<Vec<Vec<String>>, &'static str> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | '&' | ';') if !word.as_deref().is_some_and(|word| word.ends_with('>')) => {
                end_word(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            (None, _) if character.is_whitespace() => end_word(&mut commands, &mut word),
            (None, '>' | '<') => {
                // A number before it belongs to the redirection.
                if !word
                    .as_deref()
                    .is_some_and(|word| word.chars().all(|c| c.is_ascii_digit()))
                {
                    end_word(&mut commands, &mut word);
                }
                word.get_or_insert_default().push(character);
                while characters.next_if(|next| next.is_whitespace()).is_some() {}
            }
            (None, _) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err("a quote does not close");
    }
    end_word(&mut commands, &mut word);
    commands.retain(|words| !words.is_empty());
    Ok(commands)
}

fn end_word(commands: &mut [Vec<String>], word: &mut Option<String>) {
    let (Some(word), Some(words)) = (word.take(), commands.last_mut()) else {
        return;
    };
    let is_redirection = word
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .starts_with(['>', '<']);
    let is_assignment = words.is_empty()
        && word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
    if !is_redirection && !is_assignment {
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<String>> {
        split(line).unwrap()
    }

    #[test]
    fn only_blocks_tagged_sh_hold_commands() {
        let text = "a\n```sh\n# why\nnexus up --demo  # stays up\n```\n```\nnexus down\n```\n";
        let found = shell_commands(text).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 4);
        assert_eq!(found[0].words, ["nexus", "up", "--demo"]);
    }

    #[test]
    fn continued_line_is_one_command() {
        let found = shell_commands("```sh\nnexus deploy \\\n  app.toml\n```\n").unwrap();
        assert_eq!(found[0].line, 2);
        assert_eq!(found[0].words, ["nexus", "deploy", "app.toml"]);
    }

    #[test]
    fn lists_pipes_and_assignments_are_taken_apart() {
        let found =
            words("A_B=1 nexus ps -o json 2>&1 | jq '.[0] | .name' > out.txt && cd x; ls &");
        let expected: [&[&str]; 4] = [
            &["nexus", "ps", "-o", "json"],
            &["jq", ".[0] | .name"],
            &["cd", "x"],
            &["ls"],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn open_ends_are_refused() {
        assert_eq!(
            shell_commands("x\n```sh\nls\n").unwrap_err(),
            "2: the block that starts here does not end"
        );
        assert_eq!(
            shell_commands("```sh\necho 'a\n```\n").unwrap_err(),
            "2: a quote does not close"
        );
        assert!(
            shell_commands("```sh\nls \\\n```\n")
                .unwrap_err()
                .contains("backslash")
        );
    }
}
