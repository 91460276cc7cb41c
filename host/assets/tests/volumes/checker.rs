//! The judge: whether what was read of a block could have been read of one place that holds one value.
//!
//! Writes of a block come one after the other and are numbered from 1; 0 is what was there before. One
//! that failed may have taken effect until the next one ended. So a history is linear exactly if no read
//! returns what was not begun, nothing that an acknowledged write had replaced before the read began, and
//! nothing older than what a read that ended before it returned.

use std::sync::Mutex;

/// What happened to one block, by a clock that only counts.
#[derive(Debug, Default)]
pub(crate) struct History {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    clock: u64,
    writes: Vec<Write>,
    reads: Vec<Read>,
}

#[derive(Debug)]
struct Write {
    began: u64,
    acknowledged: Option<u64>,
}

#[derive(Debug)]
struct Read {
    began: u64,
    ended: u64,
    number: usize,
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl History {
    /// A write begins; its number.
    pub(crate) fn begin_write(&self) -> usize {
        let mut inner = self.inner.lock().unwrap();
        let began = inner.tick();
        inner.writes.push(Write {
            began,
            acknowledged: None,
        });
        inner.writes.len()
    }

    pub(crate) fn acknowledge(&self, number: usize) {
        let mut inner = self.inner.lock().unwrap();
        let now = inner.tick();
        inner.writes[number - 1].acknowledged = Some(now);
    }

    pub(crate) fn begin_read(&self) -> u64 {
        self.inner.lock().unwrap().tick()
    }

    pub(crate) fn end_read(&self, began: u64, number: usize) {
        let mut inner = self.inner.lock().unwrap();
        let ended = inner.tick();
        inner.reads.push(Read {
            began,
            ended,
            number,
        });
    }

    /// The number of the last write that was acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        let inner = self.inner.lock().unwrap();
        let done = |write: &Write| write.acknowledged.is_some();
        inner.writes.iter().rposition(done).map_or(0, |at| at + 1)
    }

    pub(crate) fn reads(&self) -> usize {
        self.inner.lock().unwrap().reads.len()
    }

    /// What cannot be.
    pub(crate) fn objections(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        let mut objections = Vec::new();
        for read in &inner.reads {
            let written = read.number.checked_sub(1).map(|at| inner.writes.get(at));
            if written.is_some_and(|write| write.is_none_or(|write| write.began > read.ended)) {
                objections.push(format!("{read:?} returned what was not begun"));
            }
            let replaced = inner
                .writes
                .iter()
                .skip(read.number)
                .any(|write| write.acknowledged.is_some_and(|ended| ended < read.began));
            if replaced {
                objections.push(format!("{read:?} returned what was replaced"));
            }
            let newer = |other: &&Read| other.ended < read.began && other.number > read.number;
            if let Some(other) = inner.reads.iter().find(newer) {
                objections.push(format!("{read:?} returned less than {other:?} before it"));
            }
        }
        objections
    }
}

#[test]
fn the_judge_objects_to_what_is_old_what_vanishes_and_what_was_not_written() {
    let history = History::default();
    assert_eq!(history.begin_write(), 1);
    let early = history.begin_read();
    history.acknowledge(1);
    history.end_read(early, 0);
    assert_eq!(history.objections(), Vec::<String>::new());
    let old = history.begin_read();
    history.end_read(old, 0);
    assert!(history.objections()[0].contains("replaced"));
    let history = History::default();
    history.begin_write();
    for number in [1, 0] {
        let read = history.begin_read();
        history.end_read(read, number);
    }
    assert!(history.objections()[0].contains("less than"));
    let read = history.begin_read();
    history.end_read(read, 2);
    assert!(history.objections()[1].contains("not begun"));
}
