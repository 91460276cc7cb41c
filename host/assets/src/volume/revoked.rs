//! The file that remembers which capabilities of a lease were revoked: they stay so when the node
//! starts again. Knows no capability.
//!
//! The file is 32 bytes for each, ascending. Another one takes its place, wholly.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use types::Digest;

use crate::tenure::REVOKED_MAX;

const FILE: &str = "revoked";
const UNFINISHED: &str = "revoked.new";
const ID_BYTES: usize = 32;

/// The ids in `folder`; none if there is no such file.
pub(super) fn read_revoked(folder: &Path) -> BTreeSet<Digest> {
    let bytes = std::fs::read(folder.join(FILE)).unwrap_or_default();
    let (ids, _) = bytes.as_chunks::<ID_BYTES>();
    let ids = ids.iter().take(REVOKED_MAX);
    ids.map(|id| Digest::from_bytes(*id)).collect()
}

/// Durably keeps these ids in `folder`.
pub(super) fn write_revoked(folder: &Path, revoked: &BTreeSet<Digest>) -> io::Result<()> {
    let unfinished = folder.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    for id in revoked {
        file.write_all(id.as_bytes())?;
    }
    file.sync_all()?;
    std::fs::rename(&unfinished, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}
