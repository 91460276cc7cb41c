//! Artifacts that are filled by verified slices, in any order and from any number of sources.
//!
//! `<hex>.partial` is the content, as long as it will be, with holes. `<hex>.groups` says which groups
//! were written: `HMGROUPS`, the size as eight bytes (little endian), then one bit per group, the
//! lowest first. It is written after the content and not flushed: a kill loses nothing, and what a
//! power cut tears is found when the artifact is opened again, because every claimed group is then
//! hashed against the digest. Nothing is read out of it unhashed either.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bao_tree::io::sync::OutboardMut as _;
use types::Digest;

use crate::artifact_errors::{
    FillArtifactError, FinishPartialError, ReadSliceError, StorageError, WriteSliceError, failed,
};
use crate::artifacts::{Artifacts, flush_folder};
use crate::groups::{GroupSet, group_count};
use crate::outboard::{
    BadSliceError, FILLED_BYTES_MAX, Pairs, Verified, outboard_bytes, slices_of, verify,
};
use crate::space::{InUse, Part, Space};

const CLAIMS_MAGIC: &[u8; 8] = b"HMGROUPS";
const CLAIMS_HEADER_BYTES: u64 = 16;

/// The size of an artifact with evidence: its last group, which only fits at its place in a tree of
/// that size. Without it, a peer could make others set any size aside.
#[derive(Debug)]
pub struct SizeProof {
    digest: Digest,
    bytes: u64,
    last: Verified,
}

impl SizeProof {
    /// Checks that `encoded`, the slice of the last group, proves that `digest` has `bytes`.
    ///
    /// # Errors
    /// [`BadSliceError`] if it does not.
    pub fn verify(digest: Digest, bytes: u64, encoded: &[u8]) -> Result<Self, BadSliceError> {
        let last = group_count(bytes) - 1;
        let last = verify(digest, bytes, &(last..last + 1), encoded)?;
        Ok(Self {
            digest,
            bytes,
            last,
        })
    }

    /// The proven size.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An artifact that is being filled. Clones fill the same one. When the last clone is dropped, what
/// is there stays for the next who fills it, as long as room is not needed.
#[derive(Debug, Clone)]
pub struct Partial(Arc<Filling>);

/// What is known of a partial artifact while somebody has it open.
#[derive(Debug)]
pub(crate) struct Filling {
    space: Arc<Space>,
    _in_use: InUse,
    digest: Digest,
    bytes: u64,
    content: File,
    pairs: File,
    claims: File,
    held: Mutex<GroupSet>,
    whole: AtomicBool,
}

impl Artifacts {
    /// Begins or goes on to fill the artifact that `proof` is about.
    ///
    /// # Errors
    /// [`FillArtifactError`] if it is here already, the quota has no room for all of it, or the disk
    /// refuses.
    pub fn fill(&self, proof: &SizeProof) -> Result<Partial, FillArtifactError> {
        let mut fillings = self.fillings();
        let filling = match self.reopen(&mut fillings, &proof.digest)? {
            Some(filling) if filling.bytes == proof.bytes => filling,
            _ => {
                let filling = Filling::create(&self.space, proof.digest, proof.bytes)?;
                let filling = Arc::new(filling);
                fillings.insert(proof.digest, Arc::downgrade(&filling));
                filling
            }
        };
        drop(fillings);
        let last = group_count(proof.bytes) - 1;
        filling.write(&(last..last + 1), &proof.last)?;
        Ok(Partial(filling))
    }

    /// Goes on to fill an artifact; none if nothing of it is here. Takes as long as hashing what is.
    ///
    /// # Errors
    /// [`FillArtifactError`] if it is whole, or the disk refuses.
    pub fn resume(&self, digest: &Digest) -> Result<Option<Partial>, FillArtifactError> {
        let mut fillings = self.fillings();
        Ok(self.reopen(&mut fillings, digest)?.map(Partial))
    }

    pub(crate) fn fillings(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Filling>>> {
        self.fillings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopen(
        &self,
        fillings: &mut HashMap<Digest, Weak<Filling>>,
        digest: &Digest,
    ) -> Result<Option<Arc<Filling>>, FillArtifactError> {
        fillings.retain(|_, filling| filling.strong_count() > 0);
        if self.size(digest).is_some() {
            return Err(FillArtifactError::Whole(*digest));
        }
        if let Some(filling) = fillings.get(digest).and_then(Weak::upgrade) {
            return Ok(Some(filling));
        }
        let filling = Filling::open(&self.space, *digest)?.map(Arc::new);
        if let Some(filling) = &filling {
            fillings.insert(*digest, Arc::downgrade(filling));
        }
        Ok(filling)
    }
}

impl Partial {
    /// Which artifact it will be.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Its size when it is whole.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// The groups that are here.
    #[must_use]
    pub fn held(&self) -> GroupSet {
        self.0.held()
    }

    /// The groups that are not.
    #[must_use]
    pub fn missing(&self) -> GroupSet {
        self.0.missing()
    }

    /// Takes in the slice of `groups`, after checking it. What is here already stays as it is.
    ///
    /// # Errors
    /// [`WriteSliceError::Bad`] if it is not of this artifact: nothing of it is kept then.
    pub fn write_slice(&self, groups: &Range<u64>, encoded: &[u8]) -> Result<(), WriteSliceError> {
        let slice = verify(self.0.digest, self.0.bytes, groups, encoded)?;
        Ok(self.0.write(groups, &slice)?)
    }

    /// Makes it an artifact like any other, durably and at once. Doing so again changes nothing.
    ///
    /// # Errors
    /// [`FinishPartialError::Incomplete`] if groups are missing.
    pub fn finish(&self) -> Result<(), FinishPartialError> {
        self.0.finish()
    }

    pub(crate) fn filling(&self) -> Arc<Filling> {
        Arc::clone(&self.0)
    }
}

impl Filling {
    /// Sets a new one aside.
    fn create(space: &Arc<Space>, digest: Digest, bytes: u64) -> Result<Self, StorageError> {
        let in_use = space.hold(&digest);
        space.discard(&digest, &[Part::Claims, Part::Partial, Part::Pairs])?;
        let claims_bytes = CLAIMS_HEADER_BYTES + group_count(bytes).div_ceil(8);
        let reserved = bytes + outboard_bytes(bytes) + claims_bytes;
        space.reserve(reserved)?;
        let path = |part| space.path(&digest, part);
        let placed = space.settle(reserved, &path(Part::Partial), || {
            let pairs = create(&path(Part::Pairs), outboard_bytes(bytes))?;
            let content = create(&path(Part::Partial), bytes)?;
            let claims = create(&path(Part::Claims), claims_bytes)?;
            let header = [*CLAIMS_MAGIC, bytes.to_le_bytes()];
            let written = claims.write_all_at(header.as_flattened(), 0);
            written.map_err(failed("write", &path(Part::Claims)))?;
            Ok((content, pairs, claims))
        });
        let (content, pairs, claims) = placed.inspect_err(|_| {
            space.release(reserved);
            // What stays is no artifact and is cleared by the next `open`.
            let _ =
                [Part::Claims, Part::Partial, Part::Pairs].map(|part| fs::remove_file(path(part)));
        })?;
        Ok(Self {
            space: Arc::clone(space),
            _in_use: in_use,
            digest,
            bytes,
            content,
            pairs,
            claims,
            held: Mutex::default(),
            whole: AtomicBool::new(false),
        })
    }

    /// Opens what an earlier one left and checks it; none if there is nothing of use.
    fn open(space: &Arc<Space>, digest: Digest) -> Result<Option<Self>, StorageError> {
        let in_use = space.hold(&digest);
        let open = |part| {
            let path = space.path(&digest, part);
            match File::options().read(true).write(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                opened => opened.map(Some).map_err(failed("open", &path)),
            }
        };
        let parts = (
            open(Part::Partial)?,
            open(Part::Pairs)?,
            open(Part::Claims)?,
        );
        let (Some(content), Some(pairs), Some(mut claims)) = parts else {
            return Ok(None);
        };
        let path = space.path(&digest, Part::Claims);
        let Some((bytes, claimed)) = read_claims(&mut claims).map_err(failed("read", &path))?
        else {
            space.discard(&digest, &[Part::Claims, Part::Partial, Part::Pairs])?;
            return Ok(None);
        };
        let filling = Self {
            space: Arc::clone(space),
            _in_use: in_use,
            digest,
            bytes,
            content,
            pairs,
            claims,
            held: Mutex::default(),
            whole: AtomicBool::new(false),
        };
        let found = filling.check(&claimed)?;
        let last = group_count(bytes) - 1;
        if !found.contains(&(last..last + 1)) {
            // Its size is not proven.
            space.discard(&digest, &[Part::Claims, Part::Partial, Part::Pairs])?;
            return Ok(None);
        }
        *filling.lock() = found;
        Ok(Some(filling))
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn held(&self) -> GroupSet {
        self.lock().clone()
    }

    /// Where the content is.
    pub(crate) fn path(&self) -> PathBuf {
        let whole = self.whole.load(Ordering::Acquire);
        let part = if whole { Part::Whole } else { Part::Partial };
        self.space.path(&self.digest, part)
    }

    pub(crate) fn slice(
        &self,
        groups: &Range<u64>,
        encoded: &mut Vec<u8>,
    ) -> Result<(), ReadSliceError> {
        let (digest, start) = (self.digest, encoded.len());
        if !self.lock().contains(groups) {
            let groups = groups.clone();
            return Err(ReadSliceError::NotHeld { digest, groups });
        }
        let intact = self.tree().encode(&self.content, groups, encoded);
        if intact.map_err(failed("read", &self.path()))? {
            return Ok(());
        }
        encoded.truncate(start);
        // It is fetched again.
        self.lock().remove(groups);
        Err(ReadSliceError::Damaged {
            digest,
            groups: groups.clone(),
            path: self.path(),
        })
    }

    fn missing(&self) -> GroupSet {
        let mut missing = GroupSet::from(0..group_count(self.bytes));
        for range in self.lock().ranges() {
            missing.remove(range);
        }
        missing
    }

    fn write(&self, groups: &Range<u64>, slice: &Verified) -> Result<(), StorageError> {
        if self.lock().contains(groups) {
            return Ok(());
        }
        let path = self.path();
        self.content
            .write_all_at(&slice.content, slice.offset)
            .map_err(failed("write", &path))?;
        let mut tree = self.tree();
        for (node, pair) in &slice.pairs {
            tree.save(*node, pair).map_err(failed("write", &path))?;
        }
        let mut held = self.lock();
        held.insert(groups.clone());
        let octets = groups.start / 8..groups.end.div_ceil(8);
        let bits: Vec<u8> = octets.clone().map(|octet| bits(&held, octet)).collect();
        self.claims
            .write_all_at(&bits, CLAIMS_HEADER_BYTES + octets.start)
            .map_err(failed("write", &path))
    }

    fn finish(&self) -> Result<(), FinishPartialError> {
        let missing = self.missing();
        if !missing.is_empty() {
            let digest = self.digest;
            return Err(FinishPartialError::Incomplete { digest, missing });
        }
        if self.whole.load(Ordering::Acquire) {
            return Ok(());
        }
        let path = |part| self.space.path(&self.digest, part);
        let partial = path(Part::Partial);
        let mut tree = self.tree();
        tree.sync().map_err(failed("flush", &path(Part::Pairs)))?;
        self.content.sync_all().map_err(failed("flush", &partial))?;
        // No artifact of that name was there, or one with the same content.
        self.space.settle(0, &path(Part::Whole), || {
            if self.whole.swap(true, Ordering::AcqRel) {
                return Ok(());
            }
            fs::rename(&partial, path(Part::Whole)).map_err(|error| {
                self.whole.store(false, Ordering::Release);
                failed("rename", &partial)(error)
            })
        })?;
        self.space.discard(&self.digest, &[Part::Claims])?;
        Ok(flush_folder(self.space.folder())?)
    }

    /// Which of the groups of `claimed` are really there.
    fn check(&self, claimed: &GroupSet) -> Result<GroupSet, StorageError> {
        let (tree, path) = (self.tree(), self.path());
        let (mut found, mut encoded) = (GroupSet::new(), Vec::new());
        let mut intact = |groups: &Range<u64>| {
            encoded.clear();
            let intact = tree.encode(&self.content, groups, &mut encoded);
            intact.map_err(failed("read", &path))
        };
        for groups in claimed.ranges().iter().cloned().flat_map(slices_of) {
            if intact(&groups)? {
                found.insert(groups);
                continue;
            }
            for group in groups {
                if intact(&(group..group + 1))? {
                    found.insert(group..group + 1);
                }
            }
        }
        Ok(found)
    }

    const fn tree(&self) -> Pairs<'_> {
        Pairs {
            digest: self.digest,
            bytes: self.bytes,
            file: Some(&self.pairs),
        }
    }

    fn lock(&self) -> MutexGuard<'_, GroupSet> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn create(path: &Path, bytes: u64) -> Result<File, StorageError> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    let file = options.open(path).map_err(failed("create", path))?;
    file.set_len(bytes).map_err(failed("extend", path))?;
    Ok(file)
}

/// The eight groups from `8 * octet`, the lowest first.
fn bits(held: &GroupSet, octet: u64) -> u8 {
    (0..8).fold(0, |bits, bit| {
        let group = 8 * octet + bit;
        bits | u8::from(held.contains(&(group..group + 1))) << bit
    })
}

/// The size and the claimed groups; none if this is no such file, or one that was torn.
fn read_claims(claims: &mut File) -> io::Result<Option<(u64, GroupSet)>> {
    let length = claims.metadata()?.len();
    let mut header = [[0; 8]; 2];
    if length < CLAIMS_HEADER_BYTES {
        return Ok(None);
    }
    claims.read_exact(header.as_flattened_mut())?;
    let bytes = u64::from_le_bytes(header[1]);
    if header[0] != *CLAIMS_MAGIC || bytes > FILLED_BYTES_MAX {
        return Ok(None);
    }
    let groups = group_count(bytes);
    if length != CLAIMS_HEADER_BYTES + groups.div_ceil(8) {
        return Ok(None);
    }
    let mut octets = Vec::new();
    claims.read_to_end(&mut octets)?;
    let mut claimed = GroupSet::new();
    for (at, octet) in (0_u64..).zip(octets) {
        for bit in (0..8).filter(|bit| octet >> bit & 1 == 1) {
            let group = 8 * at + bit;
            if group < groups {
                claimed.insert(group..group + 1);
            }
        }
    }
    Ok(Some((bytes, claimed)))
}
