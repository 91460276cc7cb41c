//! Shards: an artifact as fourteen artifacts, any ten of which make it again. Where they are kept is
//! decided elsewhere.
//!
//! Reed-Solomon over stripes of ten pieces of at most 64 KiB, zeros after the end; piece `i` of every
//! stripe, one after the other, is shard `i`. The same bytes always have the same shards, so a lost
//! shard is made again by making all of them. A shard is checked as it is read, like every artifact.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};
use types::Digest;

use crate::artifact_errors::{ReadArtifactError, ReadSliceError, StorageError, StoreArtifactError};
use crate::artifact_reader::ArtifactReader;
use crate::artifacts::Artifacts;
use crate::shard_manifest::{SHARDS, SHARDS_NEEDED, ShardManifest, Stripe, Stripes};

const RECOVERY: usize = SHARDS - SHARDS_NEEDED;

/// Shards that were not made.
#[derive(Debug, thiserror::Error)]
pub enum MakeShardsError {
    /// The artifact is not here.
    #[error(transparent)]
    Open(#[from] ReadArtifactError),
    /// It is damaged.
    #[error(transparent)]
    Read(#[from] ReadSliceError),
    /// No room for the shards, or the disk refuses.
    #[error(transparent)]
    Store(#[from] StoreArtifactError),
}

impl From<StorageError> for MakeShardsError {
    fn from(error: StorageError) -> Self {
        Self::Store(error.into())
    }
}

/// An artifact that was not made again.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Not enough.
    #[error(
        "{} of 14 shards of {whole} can be used, 10 are needed: {} more; missing: {missing:?}, corrupt: {corrupt:?}",
        SHARDS - .missing.len() - .corrupt.len(),
        (.missing.len() + .corrupt.len()).saturating_sub(RECOVERY)
    )]
    TooFew {
        /// The artifact.
        whole: Digest,
        /// The shards that are not here.
        missing: Vec<usize>,
        /// The shards that are here and are not what the manifest names.
        corrupt: Vec<usize>,
    },
    /// The manifest puts shards together that are not of one artifact.
    #[error("the shards make {found}, not {whole}: the manifest is wrong")]
    Manifest {
        /// What the manifest names.
        whole: Digest,
        /// What its shards make.
        found: Digest,
    },
    /// No room for the artifact, or the disk refuses.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RebuildError {
    /// How many more shards it takes; none if more of them would not help.
    #[must_use]
    pub fn shards_short(&self) -> Option<usize> {
        match self {
            Self::TooFew {
                missing, corrupt, ..
            } => Some((missing.len() + corrupt.len()).saturating_sub(RECOVERY)),
            _ => None,
        }
    }
}

impl Artifacts {
    /// Stores the fourteen shards of an artifact and their manifest; says the manifest's digest.
    ///
    /// # Errors
    /// [`MakeShardsError`]; shards that were stored before stay until they are swept.
    pub fn make_shards(&self, whole: &Digest) -> Result<(Digest, ShardManifest), MakeShardsError> {
        let mut reader = self.reader(whole)?;
        let bytes = reader.bytes();
        let mut uploads = Vec::with_capacity(SHARDS);
        for _ in 0..SHARDS {
            uploads.push((self.upload()?, blake3::Hasher::new()));
        }
        let mut coder = Coder::default();
        let mut content = Vec::new();
        for stripe in Stripes::new(bytes) {
            content.clear();
            reader.read(&(stripe.offset..stripe.offset + stripe.bytes), &mut content)?;
            coder.encode(&stripe, &mut content, |index, piece| {
                let Some((upload, hasher)) = uploads.get_mut(index) else {
                    return Ok(());
                };
                hasher.update(piece);
                upload.write(piece)
            })?;
        }
        let mut shards = [*whole; SHARDS];
        for (shard, (upload, hasher)) in shards.iter_mut().zip(uploads) {
            *shard = Digest::from_bytes(*hasher.finalize().as_bytes());
            upload.finish(shard)?;
        }
        let manifest = ShardManifest {
            whole: *whole,
            bytes,
            shards,
        };
        Ok((self.store(&manifest.encode())?, manifest))
    }

    /// Opens those shards of `manifest` that are here.
    ///
    /// # Errors
    /// [`StorageError`] if the disk refuses.
    pub fn shards(&self, manifest: &ShardManifest) -> Result<Shards, StorageError> {
        let mut shards = Shards {
            manifest: manifest.clone(),
            readers: [const { None }; SHARDS],
            corrupt: Vec::new(),
        };
        for (index, digest) in manifest.shards.iter().enumerate() {
            match self.reader(digest) {
                Ok(reader) if reader.bytes() == manifest.shard_bytes() => {
                    if let Some(place) = shards.readers.get_mut(index) {
                        *place = Some(reader);
                    }
                }
                Ok(_) => shards.corrupt.push(index),
                Err(ReadArtifactError::Storage(error)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(shards)
    }

    /// Makes the artifact of `manifest` again from the shards that are here and stores it. Says which
    /// shards are corrupt: they were not used and should be fetched again.
    ///
    /// # Errors
    /// [`RebuildError`]; nothing is stored then.
    pub fn rebuild(&self, manifest: &ShardManifest) -> Result<Vec<usize>, RebuildError> {
        let mut upload = self.upload()?;
        let mut shards = self.shards(manifest)?;
        let corrupt = shards.rebuild(|piece| upload.write(piece))?;
        let whole = manifest.whole;
        upload.finish(&whole).map_err(|error| match error {
            StoreArtifactError::Digest { found, .. } => RebuildError::Manifest { whole, found },
            StoreArtifactError::Storage(error) => error.into(),
        })?;
        Ok(corrupt)
    }
}

/// The shards of one artifact that are here.
#[derive(Debug)]
pub struct Shards {
    manifest: ShardManifest,
    readers: [Option<ArtifactReader>; SHARDS],
    corrupt: Vec<usize>,
}

impl Shards {
    /// Which there are, ascending.
    #[must_use]
    pub fn present(&self) -> Vec<usize> {
        let readers = self.readers.iter().enumerate();
        let there = readers.filter(|(_, reader)| reader.is_some());
        there.map(|(index, _)| index).collect()
    }

    /// Counts a shard as missing, for instance because its owner wants it back.
    pub fn leave_out(&mut self, index: usize) {
        if let Some(reader) = self.readers.get_mut(index) {
            *reader = None;
        }
    }

    /// Gives the artifact's bytes to `sink`, in order, and says which shards are corrupt. The last
    /// error can come after all bytes: they are the artifact's only if there is none.
    ///
    /// # Errors
    /// [`RebuildError`], or what `sink` returns.
    pub fn rebuild(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), StorageError>,
    ) -> Result<Vec<usize>, RebuildError> {
        let mut coder = Coder::default();
        let mut hasher = blake3::Hasher::new();
        for stripe in Stripes::new(self.manifest.bytes) {
            let pieces = self.pieces(&stripe)?;
            let mut left = usize::try_from(stripe.bytes).unwrap_or(usize::MAX);
            coder.decode(&stripe, &pieces, |piece| {
                let piece = piece.get(..left.min(piece.len())).unwrap_or_default();
                left -= piece.len();
                hasher.update(piece);
                sink(piece)
            })?;
        }
        let (whole, found) = (
            self.manifest.whole,
            Digest::from_bytes(*hasher.finalize().as_bytes()),
        );
        if found != whole {
            return Err(RebuildError::Manifest { whole, found });
        }
        Ok(self.corrupt.clone())
    }

    /// The pieces of one stripe from the first ten shards that have them intact.
    fn pieces(&mut self, stripe: &Stripe) -> Result<Vec<(usize, Vec<u8>)>, RebuildError> {
        let mut pieces = Vec::with_capacity(SHARDS_NEEDED);
        for (index, place) in self.readers.iter_mut().enumerate() {
            if pieces.len() == SHARDS_NEEDED {
                break;
            }
            let Some(reader) = place else { continue };
            let mut piece = Vec::new();
            let wanted = stripe.piece_offset..stripe.piece_offset + stripe.piece_bytes;
            if reader.read(&wanted, &mut piece).is_ok() {
                pieces.push((index, piece));
            } else {
                // Damaged, or on a part of the disk that is: either way others do.
                *place = None;
                self.corrupt.push(index);
                self.corrupt.sort_unstable();
            }
        }
        if pieces.len() == SHARDS_NEEDED {
            return Ok(pieces);
        }
        let present = self.present();
        let gone = |index: &usize| !present.contains(index) && !self.corrupt.contains(index);
        Err(RebuildError::TooFew {
            whole: self.manifest.whole,
            missing: (0..SHARDS).filter(gone).collect(),
            corrupt: self.corrupt.clone(),
        })
    }
}

/// The coder, with its tables and buffers kept from stripe to stripe.
#[derive(Default)]
struct Coder {
    encoder: Option<(usize, ReedSolomonEncoder)>,
    decoder: Option<(usize, ReedSolomonDecoder)>,
}

/// Why the coder cannot refuse: the counts are fixed and pieces are multiples of 64 bytes.
const SUPPORTED: &str = "ten of fourteen pieces of a multiple of 64 bytes are supported";

impl Coder {
    /// Hands over all fourteen pieces of the stripe that begins with `content`, which is padded.
    fn encode(
        &mut self,
        stripe: &Stripe,
        content: &mut Vec<u8>,
        mut sink: impl FnMut(usize, &[u8]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let piece_bytes = piece_bytes(stripe);
        content.resize(piece_bytes * SHARDS_NEEDED, 0);
        if self
            .encoder
            .as_ref()
            .is_none_or(|(bytes, _)| *bytes != piece_bytes)
        {
            let encoder = ReedSolomonEncoder::new(SHARDS_NEEDED, RECOVERY, piece_bytes);
            self.encoder = Some((piece_bytes, encoder.expect(SUPPORTED)));
        }
        let Some((_, encoder)) = &mut self.encoder else {
            return Ok(());
        };
        for (index, piece) in content.chunks_exact(piece_bytes).enumerate() {
            encoder.add_original_shard(piece).expect(SUPPORTED);
            sink(index, piece)?;
        }
        let recovery = encoder.encode().expect(SUPPORTED);
        let mut pieces = (SHARDS_NEEDED..).zip(recovery.recovery_iter());
        pieces.try_for_each(|(index, piece)| sink(index, piece))
    }

    /// Hands over the first ten pieces of the stripe, made from the ten that are in `pieces`.
    fn decode(
        &mut self,
        stripe: &Stripe,
        pieces: &[(usize, Vec<u8>)],
        mut sink: impl FnMut(&[u8]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let intact = |index: usize| {
            let found = pieces.iter().find(|(at, _)| *at == index);
            found.map(|(_, piece)| piece.as_slice())
        };
        if (0..SHARDS_NEEDED).all(|index| intact(index).is_some()) {
            return pieces.iter().try_for_each(|(_, piece)| sink(piece));
        }
        let piece_bytes = piece_bytes(stripe);
        if self
            .decoder
            .as_ref()
            .is_none_or(|(bytes, _)| *bytes != piece_bytes)
        {
            let decoder = ReedSolomonDecoder::new(SHARDS_NEEDED, RECOVERY, piece_bytes);
            self.decoder = Some((piece_bytes, decoder.expect(SUPPORTED)));
        }
        let Some((_, decoder)) = &mut self.decoder else {
            return Ok(());
        };
        for (index, piece) in pieces {
            let added = match index.checked_sub(SHARDS_NEEDED) {
                None => decoder.add_original_shard(*index, piece),
                Some(index) => decoder.add_recovery_shard(index, piece),
            };
            added.expect(SUPPORTED);
        }
        let restored = decoder.decode().expect(SUPPORTED);
        (0..SHARDS_NEEDED)
            .filter_map(|index| intact(index).or_else(|| restored.restored_original(index)))
            .try_for_each(sink)
    }
}

fn piece_bytes(stripe: &Stripe) -> usize {
    usize::try_from(stripe.piece_bytes).unwrap_or(usize::MAX)
}
