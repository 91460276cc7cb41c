//! A command: counts lines, words and bytes of files or of standard input.
//!
//! It uses nothing but Rust's std, so the same source also runs without a node.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::process::ExitCode;

/// Words shorter than this many characters are not counted; unset means 1.
const MIN_LENGTH: &str = "MIN_LENGTH";

#[derive(Default)]
struct Count {
    lines: u64,
    words: u64,
    bytes: u64,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("count-words: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Counts every input and prints one line each. `false` if some input could not be read.
fn run() -> Result<bool, String> {
    let min_length = min_length()?;
    let files: Vec<String> = env::args().skip(1).collect();
    if files.is_empty() {
        let count = count(io::stdin().lock(), min_length)
            .map_err(|error| format!("standard input: {error}"))?;
        print(&count, "")?;
        return Ok(true);
    }
    let mut all_read = true;
    for file in &files {
        match File::open(file).and_then(|opened| count(BufReader::new(opened), min_length)) {
            Ok(count) => print(&count, file)?,
            Err(error) => {
                eprintln!("count-words: {file}: {error}");
                all_read = false;
            }
        }
    }
    Ok(all_read)
}

fn min_length() -> Result<usize, String> {
    match env::var(MIN_LENGTH) {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{MIN_LENGTH}={text} is not a number")),
        Err(env::VarError::NotPresent) => Ok(1),
        Err(error) => Err(format!("{MIN_LENGTH}: {error}")),
    }
}

fn count(mut input: impl BufRead, min_length: usize) -> io::Result<Count> {
    let mut total = Count::default();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        let words = text
            .split_whitespace()
            .filter(|word| word.chars().count() >= min_length);
        total.words += words.count() as u64;
        total.bytes += line.len() as u64;
        total.lines += u64::from(line.ends_with(b"\n"));
        line.clear();
    }
    Ok(total)
}

fn print(count: &Count, name: &str) -> Result<(), String> {
    let Count {
        lines,
        words,
        bytes,
    } = count;
    let line = format!("{lines} {words} {bytes} {name}");
    writeln!(io::stdout(), "{}", line.trim_end()).map_err(|error| format!("output: {error}"))
}
