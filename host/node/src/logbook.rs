//! What guests printed, and what the node has to say about them: a bounded ring per workload.
//! In memory only: a restarted node begins with empty books.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use admin::{LogLine, LogStream};
use tokio::sync::broadcast;
use types::Name;

use crate::clock::unix_ms;

/// Most bytes of text that one workload's ring keeps.
const RING_BYTES_MAX: usize = 512 * 1024;
/// Most lines that one workload's ring keeps: bounds the cost of empty lines.
const RING_LINES_MAX: usize = 10_000;
/// Longest line; a longer one is split.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1024;
/// Lines that a slow follower may lag behind before it misses some.
const FOLLOWER_LINES_MAX: usize = 1_024;

/// All books of a node.
#[derive(Debug, Default)]
pub(crate) struct Logbooks {
    books: Mutex<BTreeMap<Name, Arc<Logbook>>>,
}

/// One workload's log.
#[derive(Debug)]
pub(crate) struct Logbook {
    ring: Mutex<Ring>,
    live: broadcast::Sender<LogLine>,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Logbooks {
    /// The book of a workload, opened if need be.
    pub(crate) fn book(&self, workload: &Name) -> Arc<Logbook> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(books.entry(workload.clone()).or_default())
    }

    /// The book of a workload, if one was opened.
    pub(crate) fn find(&self, workload: &Name) -> Option<Arc<Logbook>> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.get(workload).cloned()
    }

    /// Closes the books of workloads that are gone; their followers see the end.
    pub(crate) fn retain(&self, keep: impl Fn(&Name) -> bool) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.retain(|workload, _| keep(workload));
    }
}

impl Default for Logbook {
    fn default() -> Self {
        let (live, _) = broadcast::channel(FOLLOWER_LINES_MAX);
        Self {
            ring: Mutex::default(),
            live,
        }
    }
}

impl Logbook {
    /// Adds one line.
    pub(crate) fn write(&self, component: &Name, replica: u16, stream: LogStream, text: String) {
        let line = LogLine {
            time_ms: unix_ms(),
            component: component.clone(),
            replica,
            stream,
            text,
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.bytes += line.text.len();
        ring.lines.push_back(line.clone());
        while ring.bytes > RING_BYTES_MAX || ring.lines.len() > RING_LINES_MAX {
            let Some(oldest) = ring.lines.pop_front() else {
                break;
            };
            ring.bytes -= oldest.text.len();
        }
        // Under the lock, so that a new follower sees each line exactly once.
        let _ = self.live.send(line);
    }

    /// The newest `tail` lines that pass `wanted`, and a receiver of those that follow.
    pub(crate) fn read(
        &self,
        tail: usize,
        wanted: impl Fn(&LogLine) -> bool,
    ) -> (Vec<LogLine>, broadcast::Receiver<LogLine>) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines: Vec<LogLine> = ring
            .lines
            .iter()
            .rev()
            .filter(|line| wanted(line))
            .take(tail)
            .cloned()
            .collect();
        lines.reverse();
        (lines, self.live.subscribe())
    }
}

/// Cuts a guest's bytes into lines, holding back an unfinished one.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    pending: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes and hands every finished line to `emit`.
    pub(crate) fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(piece);
            if self.pending.ends_with(b"\n") {
                self.pending.pop();
                emit(self.take());
            }
            while self.pending.len() > LINE_BYTES_MAX {
                let rest = self.pending.split_off(LINE_BYTES_MAX);
                let line = std::mem::replace(&mut self.pending, rest);
                emit(text(&line));
            }
        }
    }

    /// Hands over what is left when nothing more comes.
    pub(crate) fn finish(&mut self, emit: impl FnOnce(String)) {
        if !self.pending.is_empty() {
            emit(self.take());
        }
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.pending);
        text(line.strip_suffix(b"\r").unwrap_or(&line))
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_joined_and_bounded() {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        splitter.push(b"one\ntw", |line| lines.push(line));
        splitter.push(b"o\r\n\nrest", |line| lines.push(line));
        splitter.finish(|line| lines.push(line));
        assert_eq!(lines, ["one", "two", "", "rest"]);
        lines.clear();
        splitter.push(&vec![b'x'; LINE_BYTES_MAX * 2 + 1], |line| lines.push(line));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn the_ring_forgets_the_oldest_first() {
        let book = Logbook::default();
        let name = Name::new("web").unwrap();
        let long = "x".repeat(LINE_BYTES_MAX);
        for number in 0..200 {
            book.write(&name, 0, LogStream::Stdout, format!("{number} {long}"));
        }
        let (lines, _) = book.read(usize::MAX, |_| true);
        assert!(lines.len() * LINE_BYTES_MAX <= RING_BYTES_MAX);
        assert!(lines.last().unwrap().text.starts_with("199 "));
        let (tail, _) = book.read(1, |_| true);
        assert_eq!(tail.len(), 1);
    }
}
