//! A ledger in memory: each change is a final block at once, and a proof is a note of what was so.

use std::collections::BTreeMap;

use super::with;
use crate::ledger::{Beacon, Entry, Error, Options, Proven, Reading};

/// What the workload is called in proofs.
const WORKLOAD: &str = "mock";
/// A block a second.
const BLOCK_MS: u64 = 1000;

/// The blocks and records of a thread's host.
#[derive(Default)]
pub(super) struct Ledger {
    height: u64,
    records: BTreeMap<String, Entry>,
    proofs: Vec<Proven>,
}

impl Ledger {
    fn next_block(&mut self) -> u64 {
        self.height += 1;
        let height = self.height;
        self.records
            .retain(|_, entry| entry.expires_at.is_none_or(|at| at > height));
        height
    }
}

/// Goes on by so many blocks without changes, so that records expire.
pub fn pass_blocks(count: u64) {
    with(|state| {
        for _ in 0..count {
            state.ledger.next_block();
        }
    });
}

#[derive(Debug)]
pub(crate) struct Submission(Result<u64, Error>);

impl Submission {
    pub(crate) fn finality(&self) -> Result<u64, Error> {
        self.0.clone()
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
pub(crate) fn submit(key: &str, value: &[u8], options: Options) -> Result<Submission, Error> {
    Ok(Submission(with(|state| {
        let ledger = &mut state.ledger;
        let height = ledger.next_block();
        if options.only_new && ledger.records.contains_key(key) {
            return Err(Error::Exists);
        }
        let entry = Entry {
            value: value.to_owned(),
            height,
            time_ms: height * BLOCK_MS,
            expires_at: options.lifetime.map(|blocks| height + blocks),
        };
        ledger.records.insert(key.to_owned(), entry);
        Ok(height)
    })))
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
pub(crate) fn delete(key: &str) -> Result<Submission, Error> {
    Ok(Submission(with(|state| {
        let height = state.ledger.next_block();
        let found = state.ledger.records.remove(key);
        found.map(|_| height).ok_or(Error::Absent)
    })))
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the real host may fail where this one cannot"
)]
pub(crate) fn read(key: &str) -> Result<Reading, Error> {
    Ok(with(|state| Reading {
        height: state.ledger.height,
        entry: state.ledger.records.get(key).cloned(),
    }))
}

pub(crate) fn prove(key: &str) -> Result<Vec<u8>, Error> {
    let Reading { height, entry } = read(key)?;
    let proven = Proven {
        workload: WORKLOAD.to_owned(),
        key: key.to_owned(),
        height,
        time_ms: height * BLOCK_MS,
        entry,
    };
    Ok(with(|state| {
        state.ledger.proofs.push(proven);
        format!("proof {}", state.ledger.proofs.len()).into_bytes()
    }))
}

pub(crate) fn verify(proof: &[u8]) -> Result<Proven, String> {
    let number = std::str::from_utf8(proof).ok();
    let number = number.and_then(|text| text.strip_prefix("proof ")?.parse::<usize>().ok());
    with(|state| {
        let proven = number.and_then(|number| state.ledger.proofs.get(number.checked_sub(1)?));
        proven.cloned().ok_or_else(|| "this is no proof".to_owned())
    })
}

pub(crate) fn height() -> u64 {
    with(|state| state.ledger.height)
}

pub(crate) fn beacon(height: Option<u64>) -> Result<Beacon, Error> {
    let last = self::height();
    let height = height.unwrap_or(last);
    if height == 0 || height > last {
        return Err(Error::Invalid(format!("there is no block {height}")));
    }
    let value = height.to_be_bytes().repeat(4);
    Ok(Beacon { height, value })
}
