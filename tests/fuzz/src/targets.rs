//! The table of targets. A decoder that is new gets a line in one of these files.

mod agreement;
mod executing;
mod files;
mod filing;
mod finding;
mod leasing;
mod operators;
mod proving;
mod transport;
mod trusting;
mod words;

use crate::Target;

/// Every target.
pub const TARGETS: &[&[Target]] = &[
    transport::TARGETS,
    finding::TARGETS,
    files::TARGETS,
    trusting::TARGETS,
    agreement::TARGETS,
    words::TARGETS,
    operators::TARGETS,
    proving::TARGETS,
    executing::TARGETS,
    leasing::TARGETS,
    filing::TARGETS,
];

/// The first byte, which chooses, and the rest.
fn chosen(bytes: &[u8]) -> (u8, &[u8]) {
    bytes
        .split_first()
        .map_or((0, bytes), |(first, rest)| (*first, rest))
}

/// Seeds for a target that reads text.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
