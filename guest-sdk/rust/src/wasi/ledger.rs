//! `hypermesh:consensus/ledger`.

use super::imports::hypermesh::consensus::ledger as wit;
use crate::ledger::{Beacon, Entry, Error, Options, Proven, Reading};

#[derive(Debug)]
pub(crate) struct Submission(wit::Submission);

impl Submission {
    pub(crate) fn finality(&self) -> Result<u64, Error> {
        self.0.finality().map_err(error)
    }
}

pub(crate) fn submit(key: &str, value: &[u8], options: Options) -> Result<Submission, Error> {
    let Options { lifetime, only_new } = options;
    let begun = wit::submit(key, value, lifetime, only_new);
    begun.map(Submission).map_err(error)
}

pub(crate) fn delete(key: &str) -> Result<Submission, Error> {
    wit::delete(key).map(Submission).map_err(error)
}

pub(crate) fn read(key: &str) -> Result<Reading, Error> {
    let reading = wit::read(key).map_err(error)?;
    Ok(Reading {
        height: reading.height,
        entry: reading.entry.map(entry),
    })
}

pub(crate) fn prove(key: &str) -> Result<Vec<u8>, Error> {
    wit::prove(key).map_err(error)
}

pub(crate) fn verify(proof: &[u8]) -> Result<Proven, String> {
    let proven = wit::verify(proof)?;
    Ok(Proven {
        workload: proven.workload,
        key: proven.key,
        height: proven.height,
        time_ms: proven.time_ms,
        entry: proven.entry.map(entry),
    })
}

pub(crate) fn height() -> u64 {
    wit::height()
}

pub(crate) fn beacon(height: Option<u64>) -> Result<Beacon, Error> {
    let beacon = wit::beacon(height).map_err(error)?;
    Ok(Beacon {
        height: beacon.height,
        value: beacon.value,
    })
}

fn entry(entry: wit::Entry) -> Entry {
    Entry {
        value: entry.value,
        height: entry.height,
        time_ms: entry.time_ms,
        expires_at: entry.expires_at,
    }
}

fn error(error: wit::Error) -> Error {
    match error {
        wit::Error::Invalid(text) => Error::Invalid(text),
        wit::Error::Exists => Error::Exists,
        wit::Error::Absent => Error::Absent,
        wit::Error::Quota(text) => Error::Quota(text),
        wit::Error::Busy(text) => Error::Busy(text),
        wit::Error::Denied(text) => Error::Denied(text),
        wit::Error::Unavailable(text) => Error::Unavailable(text),
    }
}
