//! Files of a volume: names on its blocks. What happens to a name is done wholly or not at all, whatever
//! fails and whenever; see `directory`.
//!
//! Of what is written to a file, each block is written wholly or not. What is written beyond its end is
//! there when the new length is, so it comes wholly or not at all.
//!
//! Whoever writes knows the directory and reads it once. Whoever only reads asks for the bucket each time,
//! and once more after the bytes: a file that was removed meanwhile reads as zeros. A writer after which
//! another one began finds out with its next change; until then it may tell names that are old.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::StreamExt as _;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::directory::{
    BUCKETS_MAX, Bucket, DIRECTORY_FILE, Directory, Entry, LENGTH_MAX, RESERVED_FILES, fits,
};
use super::file_errors::{FileError, FileStat};
use super::layout::BLOCK_BYTES;
use super::member::BlockKey;
use super::path::FilePath;
use super::reading::SPAN_BYTES_MAX;
use super::repair::Repair;
use super::spread::Volume;

/// Files of one page of a list.
pub const PAGE_MAX: usize = 256;
/// Buckets that are read at once.
const BUCKETS_AT_ONCE: usize = 16;
/// A file that grows says so far ahead that it may: one more change of the directory for so many bytes.
const RESERVED_BYTES: u64 = 16 << 20;
/// How often a reader looks again when files change under it.
const LOOKS: usize = 8;

/// The files of a volume.
#[derive(Debug)]
pub struct Files {
    volume: Arc<Volume>,
    /// None until it is read, and after a change that may have been done or not.
    directory: RwLock<Option<Directory>>,
}

impl Files {
    /// The files of a volume.
    #[must_use]
    pub fn new(volume: Arc<Volume>) -> Self {
        Self {
            volume,
            directory: RwLock::default(),
        }
    }

    /// The volume.
    #[must_use]
    pub const fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// What there is to say of a file.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn stat(&self, path: &FilePath) -> Result<FileStat, FileError> {
        Ok(stat(&self.entry(path).await?))
    }

    /// The next files, at most [`PAGE_MAX`], ascending: those in `folder`, behind `after`, or all.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn list(
        &self,
        folder: Option<&FilePath>,
        after: Option<&FilePath>,
    ) -> Result<Vec<FileStat>, FileError> {
        if self.volume.writer.is_none() {
            self.read_at_once().await?;
        }
        let directory = self.known().await?;
        let files = directory
            .iter()
            .flat_map(|directory| directory.list(folder, after));
        Ok(files.take(PAGE_MAX).map(stat).collect())
    }

    /// Reads bytes of a file, at most as many as a volume reads at once; fewer at its end.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn read(
        &self,
        path: &FilePath,
        offset: u64,
        bytes: usize,
    ) -> Result<Vec<u8>, FileError> {
        let part = |entry: &Entry| {
            let left = entry.length.saturating_sub(offset);
            usize::try_from(left).unwrap_or(usize::MAX).min(bytes)
        };
        if self.volume.writer.is_some() {
            // Held, so that nobody removes it meanwhile.
            let directory = self.known().await?;
            let entry = found(&directory, path)?;
            return Ok(self.volume.read(entry.file, offset, part(entry)).await?);
        }
        let mut entry = self.entry(path).await?;
        for _ in 0..LOOKS {
            let read = self.volume.read(entry.file, offset, part(&entry)).await?;
            let again = self.entry(path).await?;
            if again.file == entry.file {
                return Ok(read);
            }
            entry = again;
        }
        Err(FileError::Restless(path.clone()))
    }

    /// Makes an empty file.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn create(&self, path: &FilePath) -> Result<(), FileError> {
        let mut guard = self.changing().await?;
        let directory = known(&guard)?;
        free(directory, path, None)?;
        let entry = Entry {
            path: path.clone(),
            file: directory.next_serial(),
            length: 0,
            stale_until: 0,
            moves_to: None,
        };
        let index = directory.place(&entry).map_err(|_| FileError::Full)?;
        let bucket = directory.changed(index, |bucket| bucket.set(entry));
        self.put(&mut guard, index, bucket).await
    }

    /// Writes bytes of a file, at most as many as a volume writes at once. What is between its end and
    /// them becomes zeros.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn write(&self, path: &FilePath, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > LENGTH_MAX {
            return Err(FileError::TooLong { bytes: end });
        }
        {
            let directory = self.known().await?;
            let entry = found(&directory, path)?;
            if end <= entry.length || bytes.is_empty() {
                return Ok(self.volume.write(entry.file, offset, bytes).await?);
            }
        }
        let mut guard = self.changing().await?;
        let entry = self.reserved(&mut guard, path, end).await?;
        self.zero(&entry, offset).await?;
        self.volume.write(entry.file, offset, bytes).await?;
        let length = entry.length.max(end);
        self.update(&mut guard, Entry { length, ..entry }).await
    }

    /// Makes a file longer, with zeros, or shorter.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn set_length(&self, path: &FilePath, length: u64) -> Result<(), FileError> {
        if length > LENGTH_MAX {
            return Err(FileError::TooLong { bytes: length });
        }
        let mut guard = self.changing().await?;
        let mut entry = found(&guard, path)?.clone();
        if length == 0 && entry.stale_until.max(entry.length) > 0 {
            // Another number, so that its room comes back.
            let before = std::mem::replace(&mut entry.file, directory_serial(&guard));
            (entry.length, entry.stale_until) = (0, 0);
            self.update(&mut guard, entry).await?;
            self.forget(before).await;
            return Ok(());
        }
        if length > entry.length {
            self.zero(&entry, length).await?;
        }
        entry.stale_until = entry.stale_until.max(entry.length);
        entry.length = length;
        self.update(&mut guard, entry).await
    }

    /// Gives a file another name. A file that has it is replaced, if that is wanted.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn rename(
        &self,
        from: &FilePath,
        to: &FilePath,
        replaces: bool,
    ) -> Result<(), FileError> {
        let mut guard = self.changing().await?;
        let directory = known(&guard)?;
        let (index, entry) = directory
            .get(from)
            .ok_or_else(|| FileError::NotFound(from.clone()))?;
        if from == to {
            return Ok(());
        }
        let entry = Entry {
            path: to.clone(),
            moves_to: None,
            ..entry.clone()
        };
        let there = directory.get(to).map(|(index, there)| (index, there.file));
        let Some((other, replaced)) = there else {
            free(directory, to, Some(from))?;
            let bucket = directory.changed(index, |bucket| {
                bucket.unset(from);
                bucket.set(entry);
            });
            return self.put(&mut guard, index, bucket).await;
        };
        if !replaces {
            return Err(FileError::Exists(to.clone()));
        }
        if index == other {
            let bucket = directory.changed(index, |bucket| {
                bucket.unset(from);
                bucket.set(entry);
            });
            self.put(&mut guard, index, bucket).await?;
        } else {
            let leaving = Entry {
                path: from.clone(),
                moves_to: Some(to.clone()),
                ..entry.clone()
            };
            let bucket = directory.changed(index, |bucket| bucket.set(leaving));
            self.put(&mut guard, index, bucket).await?;
            let bucket = known(&guard)?.changed(other, |bucket| bucket.set(entry));
            self.put(&mut guard, other, bucket).await?;
            // It has happened. What fails now is made good with the next change.
            let _ = self.clean(&mut guard).await;
        }
        self.forget(replaced).await;
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn remove(&self, path: &FilePath) -> Result<(), FileError> {
        let mut guard = self.changing().await?;
        let directory = known(&guard)?;
        let (index, entry) = directory
            .get(path)
            .ok_or_else(|| FileError::NotFound(path.clone()))?;
        let file = entry.file;
        let bucket = directory.changed(index, |bucket| bucket.unset(path));
        self.put(&mut guard, index, bucket).await?;
        self.forget(file).await;
        Ok(())
    }

    /// Makes durable all that was done before.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub async fn sync(&self) -> Result<(), FileError> {
        Ok(self.volume.flush().await?)
    }

    /// One step of a repair; what is left of files that are no more is removed.
    ///
    /// # Errors
    /// [`FileError`].
    pub async fn repair_step(&self, repair: &mut Repair) -> Result<(), FileError> {
        let (files, serial): (BTreeSet<u64>, u64) = {
            let directory = self.known().await?;
            let files = directory.as_ref().map(Directory::files);
            (files.unwrap_or_default(), directory_serial(&directory))
        };
        // Files that are made from now on have numbers from `serial` on.
        let live = |file| file <= RESERVED_FILES || file >= serial || files.contains(&file);
        Ok(self.volume.repair_step(repair, live).await?)
    }

    /// The entry of a file as it is now.
    async fn entry(&self, path: &FilePath) -> Result<Entry, FileError> {
        let place = {
            let directory = self.known().await?;
            let place = directory.as_ref().and_then(|directory| directory.get(path));
            place.map(|(index, entry)| (index, entry.clone()))
        };
        match place {
            Some((_, entry)) if self.volume.writer.is_some() => return Ok(entry),
            None if self.volume.writer.is_some() => return Err(FileError::NotFound(path.clone())),
            Some((index, _)) => {
                let bucket = self.bucket(index).await?.unwrap_or_default();
                // One that moves is looked up with all the others.
                if let Some(entry) = bucket.get(path)
                    && entry.moves_to.is_none()
                {
                    return Ok(entry.clone());
                }
            }
            None => {}
        }
        self.directory.write().await.take();
        let directory = self.known().await?;
        found(&directory, path).cloned()
    }

    async fn bucket(&self, index: usize) -> Result<Option<Bucket>, FileError> {
        let key = BlockKey {
            file: DIRECTORY_FILE,
            block: index as u64,
        };
        let mut block = self.volume.whole_block(key).await?.unwrap_or_default();
        // Zeros at its end were not kept, and some may be the bucket's.
        block.resize(BLOCK_BYTES, 0);
        Bucket::decode(&block).map_err(|_| FileError::Damaged { bucket: index })
    }

    /// The directory, read if it is not known.
    async fn known(&self) -> Result<RwLockReadGuard<'_, Option<Directory>>, FileError> {
        loop {
            let guard = self.directory.read().await;
            if guard.is_some() {
                return Ok(guard);
            }
            drop(guard);
            let mut guard = self.directory.write().await;
            if guard.is_none() {
                *guard = Some(self.load().await?);
            }
        }
    }

    /// Reads all of the directory as it is at one moment: until nothing changes while it is read.
    async fn read_at_once(&self) -> Result<(), FileError> {
        let mut directory = self.directory.write().await;
        let mut before = self.load().await?;
        for _ in 0..LOOKS {
            let again = self.load().await?;
            if again.serials().eq(before.serials()) {
                *directory = Some(again);
                return Ok(());
            }
            before = again;
        }
        Err(FileError::Unread)
    }

    async fn load(&self) -> Result<Directory, FileError> {
        let reads = (0..BUCKETS_MAX).map(|index| self.bucket(index));
        let mut reads = futures::stream::iter(reads).buffered(BUCKETS_AT_ONCE);
        let mut buckets = Vec::new();
        while let Some(bucket) = reads.next().await {
            match bucket? {
                Some(bucket) => buckets.push(bucket),
                None => break,
            }
        }
        Ok(Directory::new(buckets))
    }

    /// The directory, to change it; what a move left behind is gone.
    async fn changing(&self) -> Result<RwLockWriteGuard<'_, Option<Directory>>, FileError> {
        self.volume.writer()?;
        let mut guard = self.directory.write().await;
        if guard.is_none() {
            *guard = Some(self.load().await?);
        }
        self.clean(&mut guard).await?;
        Ok(guard)
    }

    async fn clean(&self, guard: &mut Option<Directory>) -> Result<(), FileError> {
        let void = known(guard)?.void();
        for (index, path) in void {
            let bucket = known(guard)?.changed(index, |bucket| bucket.unset(&path));
            self.put(guard, index, bucket).await?;
        }
        Ok(())
    }

    /// Writes a bucket. Until that is acknowledged nobody knows whether it is there.
    async fn put(
        &self,
        guard: &mut Option<Directory>,
        index: usize,
        bucket: Bucket,
    ) -> Result<(), FileError> {
        let mut block = bucket.encode();
        if !fits(&block) {
            return Err(FileError::Full);
        }
        block.resize(BLOCK_BYTES, 0);
        let mut directory = guard.take().ok_or(FileError::Unread)?;
        let offset = (index * BLOCK_BYTES) as u64;
        self.volume.write(DIRECTORY_FILE, offset, &block).await?;
        directory.take(index, bucket);
        *guard = Some(directory);
        Ok(())
    }

    async fn update(
        &self,
        guard: &mut Option<Directory>,
        mut entry: Entry,
    ) -> Result<(), FileError> {
        entry.moves_to = None;
        let directory = known(guard)?;
        let place = directory.get(&entry.path);
        let (index, _) = place.ok_or_else(|| FileError::NotFound(entry.path.clone()))?;
        let bucket = directory.changed(index, |bucket| bucket.set(entry));
        self.put(guard, index, bucket).await
    }

    /// The entry of a file that says of all bytes up to `end` that they may be written.
    async fn reserved(
        &self,
        guard: &mut Option<Directory>,
        path: &FilePath,
        end: u64,
    ) -> Result<Entry, FileError> {
        let mut entry = found(guard, path)?.clone();
        if entry.stale_until < end {
            entry.stale_until = end.saturating_add(RESERVED_BYTES).min(LENGTH_MAX);
            self.update(guard, entry.clone()).await?;
        }
        Ok(entry)
    }

    /// Writes zeros from the end of a file up to `end`, where there may be anything else.
    async fn zero(&self, entry: &Entry, end: u64) -> Result<(), FileError> {
        let end = end.min(entry.stale_until);
        let mut from = entry.length;
        while from < end {
            let left = usize::try_from(end - from).unwrap_or(usize::MAX);
            // Whole blocks but for the first and the last.
            let block = BLOCK_BYTES as u64;
            let first = usize::try_from(block - from % block).unwrap_or(BLOCK_BYTES);
            let bytes = left.min(SPAN_BYTES_MAX - BLOCK_BYTES + first);
            self.volume.write(entry.file, from, &vec![0; bytes]).await?;
            from += bytes as u64;
        }
        Ok(())
    }

    /// Removes the blocks of a file that is no more. What fails is left to the next repair.
    async fn forget(&self, file: u64) {
        let _ = self.volume.remove(file).await;
    }
}

fn stat(entry: &Entry) -> FileStat {
    FileStat {
        path: entry.path.clone(),
        bytes: entry.length,
    }
}

fn found<'a>(directory: &'a Option<Directory>, path: &FilePath) -> Result<&'a Entry, FileError> {
    let place = directory.as_ref().and_then(|directory| directory.get(path));
    let entry = place.map(|(_, entry)| entry);
    entry.ok_or_else(|| FileError::NotFound(path.clone()))
}

fn known(directory: &Option<Directory>) -> Result<&Directory, FileError> {
    directory.as_ref().ok_or(FileError::Unread)
}

fn directory_serial(directory: &Option<Directory>) -> u64 {
    directory.as_ref().map_or(0, Directory::next_serial)
}

/// A name that a file may have that is new, or goes away under another one.
fn free(directory: &Directory, path: &FilePath, from: Option<&FilePath>) -> Result<(), FileError> {
    if directory.get(path).is_some() {
        return Err(FileError::Exists(path.clone()));
    }
    if directory.blocks(path, from) {
        return Err(FileError::Folder(path.clone()));
    }
    Ok(())
}
