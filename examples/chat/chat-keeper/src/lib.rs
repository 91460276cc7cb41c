//! The keeper of a chat: receives lines as messages and keeps the last ones for the web side.

use hypermesh_guest::{keyvalue, messaging::Message};

/// Lines that are kept: about a screen.
const LINES_KEPT: usize = 20;

hypermesh_guest::message_handler!(handle);

/// Reads, appends and writes back: the manifest lets one message in at a time.
fn handle(message: Message) -> Result<(), keyvalue::Error> {
    let bucket = keyvalue::Bucket::open("default")?;
    let mut lines = bucket.get_text("lines")?.unwrap_or_default();
    lines.push_str(&message.text());
    lines.push('\n');
    let first = lines.lines().count().saturating_sub(LINES_KEPT);
    let kept: String = lines
        .lines()
        .skip(first)
        .map(|line| format!("{line}\n"))
        .collect();
    bucket.set("lines", kept)
}

#[cfg(test)]
mod tests {
    use hypermesh_guest::mock;

    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        for number in 1..=LINES_KEPT + 2 {
            mock::deliver(handle, Message::new("chat", number.to_string())).unwrap();
        }
        let kept = keyvalue::Bucket::open("default").unwrap().get_text("lines");
        let kept = kept.unwrap().unwrap();
        assert_eq!(kept.lines().count(), LINES_KEPT);
        assert!(
            kept.starts_with("3\n4\n") && kept.ends_with("\n22\n"),
            "{kept}"
        );
    }
}
