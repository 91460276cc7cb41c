//! The heads of a store on its disk: which one counts, and the first one.

use std::io;
use std::path::Path;

use types::LeaseId;

use super::OpenStoreError;
use super::disk::{Disk, open_file};
use super::head::{Head, PAGE_BYTES, decode_head, encode_head};

/// Ledger time of the block after which the store in `folder` was made; none if there is no whole one.
pub(crate) fn made_ms(folder: &Path) -> Option<u64> {
    let file = open_file(folder, None).ok()?;
    Some(newest_head(&file).ok()?.0?.made_ms)
}

/// The head that counts, and whether there is something else where one should be.
pub(super) fn newest_head(disk: &dyn Disk) -> io::Result<(Option<Head>, bool)> {
    let mut newest: Option<Head> = None;
    let mut spoilt = false;
    for at in [0, PAGE_BYTES as u64] {
        let mut page = vec![0; PAGE_BYTES];
        disk.read(at, &mut page)?;
        let head = decode_head(&page);
        spoilt |= head.is_none() && page.iter().any(|byte| *byte != 0);
        let newer = head.filter(|head| {
            newest
                .as_ref()
                .is_none_or(|newest| newest.generation < head.generation)
        });
        newest = newer.or(newest);
    }
    Ok((newest, spoilt))
}

/// What a new store begins with.
pub(super) fn first_head(lease: LeaseId, made_ms: u64) -> Result<Vec<u8>, OpenStoreError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|_| OpenStoreError::Entropy)?;
    let mut pages = encode_head(&Head {
        generation: 0,
        lease,
        made_ms,
        secret,
        fenced: 0,
        flushed: 0,
        live: [0; 16],
    });
    pages.resize(2 * PAGE_BYTES, 0);
    Ok(pages)
}
