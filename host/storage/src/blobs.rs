//! Containers of objects, per workload. Contents are files that never change: written aside,
//! flushed and renamed before a row names them, removed after no row does. Between two steps a
//! crash leaves only files that no row names, and [`Blobs::open`] clears those.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::ReadableTable;

use crate::artifact_errors::{StorageError, failed};
use crate::blob_names::{check_container, check_object, now_ms, owned};
use crate::blob_rows::{self, CONTAINERS, ContainerInfo, OBJECTS, ObjectInfo, Row};
use crate::keyvalue::KeyPage;
use crate::keyvalue_rows::after;
use crate::store_bounds::{BLOB_PIECE_BYTES_MAX, PAGE_NAMES_MAX};
use crate::store_errors::BlobError;
use crate::tables::Tables;

const UNFINISHED_PREFIX: &str = "unfinished-";

/// Looks at an object that is replaced each time between its row and its file.
const OPEN_ATTEMPTS_MAX: usize = 100;

/// All containers of a node.
#[derive(Debug, Clone)]
pub struct Blobs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tables: Arc<Tables>,
    folder: PathBuf,
    /// The next file's number. Numbers come again only after nothing is called so.
    next: AtomicU64,
    /// Bytes of unfinished contents per workload: together at most its quota, so that the disk
    /// never holds more than twice that.
    unfinished: Mutex<BTreeMap<String, u64>>,
}

/// A content that is being written. Dropped before [`BlobWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    shared: Arc<Shared>,
    workload: String,
    quota: u64,
    path: PathBuf,
    number: u64,
    file: File,
    bytes: u64,
    placed: bool,
}

/// A content that is being read. It stays what it is, also when its object is replaced or deleted.
#[derive(Debug)]
pub struct BlobReader {
    path: PathBuf,
    file: File,
    left: u64,
}

impl Blobs {
    /// Opens `folder`, making it if need be, and clears what a crash left.
    pub(crate) fn open(folder: &Path, tables: Arc<Tables>) -> Result<Self, StorageError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let named: BTreeSet<u64> = tables.read(|transaction| {
            let objects = transaction.open_table(OBJECTS)?;
            let rows = objects.iter()?.map(|row| Ok(row?.1.value().0));
            Ok(Ok::<_, StorageError>(
                rows.collect::<Result<_, redb::Error>>()?,
            ))
        })?;
        for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
            let path = entry.map_err(failed("list", folder))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let number = name.parse::<u64>().ok();
            let ours = number.is_some() || name.starts_with(UNFINISHED_PREFIX);
            if ours && !number.is_some_and(|number| named.contains(&number)) {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        let shared = Shared {
            tables,
            folder: folder.to_owned(),
            next: AtomicU64::new(named.last().map_or(0, |last| last + 1)),
            unfinished: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Makes an empty container.
    ///
    /// # Errors
    /// [`BlobError::Exists`], [`BlobError::Name`], [`BlobError::TooMany`], [`BlobError::Quota`].
    pub fn create_container(
        &self,
        workload: &str,
        container: &str,
        quota: u64,
    ) -> Result<(), BlobError> {
        check_container(container)?;
        let ([workload, container], now_ms) = (owned([workload, container]), now_ms());
        self.shared.tables.write(move |transaction| {
            blob_rows::create_container(transaction, &workload, &container, now_ms, quota)
        })
    }

    /// What is known of a container; none if it is not there.
    ///
    /// # Errors
    /// [`BlobError::Storage`].
    pub fn container(
        &self,
        workload: &str,
        container: &str,
    ) -> Result<Option<ContainerInfo>, BlobError> {
        self.shared.tables.read(|transaction| {
            let containers = transaction.open_table(CONTAINERS)?;
            let row = containers.get((workload, container))?;
            Ok(Ok(row.map(|row| ContainerInfo {
                created_ms: row.value(),
            })))
        })
    }

    /// Deletes all objects of a container, and the container itself if `whole`.
    ///
    /// # Errors
    /// [`BlobError::NoContainer`].
    pub fn clear(&self, workload: &str, container: &str, whole: bool) -> Result<(), BlobError> {
        let [workload, container] = owned([workload, container]);
        let files = self.shared.tables.write(move |transaction| {
            blob_rows::clear(transaction, &workload, &container, whole)
        })?;
        self.shared.remove_files(&files);
        Ok(())
    }

    /// What is known of an object; none if it is not there.
    ///
    /// # Errors
    /// [`BlobError::Storage`].
    pub fn object(
        &self,
        workload: &str,
        container: &str,
        object: &str,
    ) -> Result<Option<ObjectInfo>, BlobError> {
        let row = self.shared.row(workload, container, object)?;
        Ok(row.map(|row| ObjectInfo {
            created_ms: row.created_ms,
            bytes: row.bytes,
        }))
    }

    /// A page of the names of a container's objects, after `from`, in the order of their bytes.
    ///
    /// # Errors
    /// [`BlobError::Storage`].
    pub fn objects(
        &self,
        workload: &str,
        container: &str,
        from: Option<&str>,
    ) -> Result<KeyPage, BlobError> {
        let end = after(container);
        // No object has the empty name.
        let start = std::ops::Bound::Excluded((workload, container, from.unwrap_or_default()));
        self.shared.tables.read(|transaction| {
            let objects = transaction.open_table(OBJECTS)?;
            let end = std::ops::Bound::Excluded((workload, end.as_str(), ""));
            let mut keys = Vec::new();
            for row in objects.range::<(&str, &str, &str)>((start, end))? {
                let (name, _) = row?;
                if keys.len() == PAGE_NAMES_MAX {
                    return Ok(Ok(KeyPage { keys, more: true }));
                }
                keys.push(name.value().2.to_owned());
            }
            Ok(Ok(KeyPage { keys, more: false }))
        })
    }

    /// Opens the bytes from `start` up to and including `end`, as far as the object has them.
    ///
    /// # Errors
    /// [`BlobError::NoObject`].
    pub fn read(
        &self,
        workload: &str,
        (container, object): (&str, &str),
        (start, end): (u64, u64),
    ) -> Result<BlobReader, BlobError> {
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let Some(row) = self.shared.row(workload, container, object)? else {
                break;
            };
            let path = self.shared.path(row.file);
            let mut file = match File::open(&path) {
                // Replaced since its row was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(failed("open", &path))?,
            };
            let end = end.saturating_add(1).min(row.bytes);
            let left = end.saturating_sub(start);
            file.seek(SeekFrom::Start(start.min(row.bytes)))
                .map_err(failed("read", &path))?;
            return Ok(BlobReader { path, file, left });
        }
        let [container, object] = owned([container, object]);
        Err(BlobError::NoObject { container, object })
    }

    /// Begins to write a content.
    ///
    /// # Errors
    /// [`BlobError::Storage`] if no file can be made.
    pub fn write(&self, workload: &str, quota: u64) -> Result<BlobWriter, BlobError> {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let path = self
            .shared
            .folder
            .join(format!("{UNFINISHED_PREFIX}{number}"));
        let file = File::create_new(&path).map_err(failed("create", &path))?;
        Ok(BlobWriter {
            shared: Arc::clone(&self.shared),
            workload: workload.to_owned(),
            quota,
            path,
            number,
            file,
            bytes: 0,
            placed: false,
        })
    }

    /// Deletes objects; those that are not there are passed over.
    ///
    /// # Errors
    /// [`BlobError::Storage`].
    pub fn delete(
        &self,
        workload: &str,
        container: &str,
        names: Vec<String>,
    ) -> Result<(), BlobError> {
        let [workload, container] = owned([workload, container]);
        let files = self.shared.tables.write(move |transaction| {
            Ok(Ok::<_, BlobError>(blob_rows::delete(
                transaction,
                &workload,
                &container,
                &names,
            )?))
        })?;
        self.shared.remove_files(&files);
        Ok(())
    }

    /// Copies an object, over an older one of the target's name. The contents are shared on disk
    /// and counted twice.
    ///
    /// # Errors
    /// [`BlobError::NoObject`], [`BlobError::NoContainer`], [`BlobError::Quota`].
    pub fn copy(
        &self,
        workload: &str,
        from: (&str, &str),
        to: (&str, &str),
        quota: u64,
    ) -> Result<(), BlobError> {
        check_object(to.1)?;
        for _ in 0..OPEN_ATTEMPTS_MAX {
            let Some(row) = self.shared.row(workload, from.0, from.1)? else {
                break;
            };
            let file = self.shared.next.fetch_add(1, Ordering::Relaxed);
            let path = self.shared.path(file);
            match fs::hard_link(self.shared.path(row.file), &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(failed("link", &path))?,
            }
            let row = Row {
                file,
                bytes: row.bytes,
                created_ms: now_ms(),
            };
            return self.shared.place(workload, to, row, quota);
        }
        let [container, object] = owned([from.0, from.1]);
        Err(BlobError::NoObject { container, object })
    }

    /// Moves an object, over an older one of the target's name.
    ///
    /// # Errors
    /// [`BlobError::NoObject`], [`BlobError::NoContainer`], [`BlobError::Quota`].
    pub fn rename(
        &self,
        workload: &str,
        from: (&str, &str),
        to: (&str, &str),
        quota: u64,
    ) -> Result<(), BlobError> {
        check_object(to.1)?;
        let [workload, from_container, from_object] = owned([workload, from.0, from.1]);
        let [to_container, to_object] = owned([to.0, to.1]);
        let replaced = self.shared.tables.write(move |transaction| {
            let from = (from_container.as_str(), from_object.as_str());
            let to = (to_container.as_str(), to_object.as_str());
            blob_rows::move_object(transaction, &workload, from, to, quota)
        })?;
        self.shared.remove_files(replaced.as_slice());
        Ok(())
    }

    /// The bytes of all names and contents of a workload.
    ///
    /// # Errors
    /// [`BlobError::Storage`].
    pub fn used_bytes(&self, workload: &str) -> Result<u64, BlobError> {
        self.shared.tables.read(|transaction| {
            let usage = transaction.open_table(blob_rows::USAGE)?;
            Ok(Ok(usage.get(workload)?.map_or(0, |row| row.value().0)))
        })
    }

    pub(crate) fn remove_files(&self, files: &[u64]) {
        self.shared.remove_files(files);
    }
}

impl Shared {
    fn path(&self, file: u64) -> PathBuf {
        self.folder.join(file.to_string())
    }

    /// What cannot be removed now is removed by the next `open`.
    fn remove_files(&self, files: &[u64]) {
        for file in files {
            let _ = fs::remove_file(self.path(*file));
        }
    }

    fn row(&self, workload: &str, container: &str, object: &str) -> Result<Option<Row>, BlobError> {
        self.tables.read(|transaction| {
            let objects = transaction.open_table(OBJECTS)?;
            Ok(Ok(objects
                .get((workload, container, object))?
                .map(|row| Row::from(row.value()))))
        })
    }

    /// Makes a file's name durable and lets a row name it; takes it away again if that is refused.
    fn place(
        &self,
        workload: &str,
        (container, object): (&str, &str),
        row: Row,
        quota: u64,
    ) -> Result<(), BlobError> {
        let [workload, container, object] = owned([workload, container, object]);
        let placed = sync_folder(&self.folder)
            .map_err(BlobError::from)
            .and_then(|()| {
                self.tables.write(move |transaction| {
                    let to = (container.as_str(), object.as_str());
                    blob_rows::place(transaction, &workload, to, row, None, quota)
                })
            });
        match placed {
            Ok(replaced) => self.remove_files(replaced.as_slice()),
            // A refusal is sure. After a fault of the disk nobody knows whether the row is there:
            // the next `open` does.
            Err(BlobError::Storage(error)) => return Err(error.into()),
            Err(error) => {
                self.remove_files(&[row.file]);
                return Err(error);
            }
        }
        Ok(())
    }
}

fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    let directory = File::open(folder).map_err(failed("open", folder))?;
    directory.sync_all().map_err(failed("flush", folder))
}

impl BlobWriter {
    /// Appends a piece.
    ///
    /// # Errors
    /// [`BlobError::Quota`] as soon as the unfinished contents of the workload exceed its quota.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        let added = piece.len() as u64;
        {
            let mut unfinished = self
                .shared
                .unfinished
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let all = unfinished.entry(self.workload.clone()).or_default();
            let asked = *all + added;
            if asked > self.quota {
                return Err(BlobError::Quota {
                    limit: self.quota,
                    asked,
                });
            }
            *all = asked;
        }
        self.bytes += added;
        self.file
            .write_all(piece)
            .map_err(failed("write", &self.path))?;
        Ok(())
    }

    /// Makes the whole durable as an object, over an older one of that name.
    ///
    /// # Errors
    /// [`BlobError`]; nothing is left behind and nothing has changed then.
    pub fn finish(mut self, container: &str, object: &str) -> Result<(), BlobError> {
        check_object(object)?;
        self.file.sync_all().map_err(failed("flush", &self.path))?;
        let path = self.shared.path(self.number);
        fs::rename(&self.path, &path).map_err(failed("rename", &self.path))?;
        self.placed = true;
        let row = Row {
            file: self.number,
            bytes: self.bytes,
            created_ms: now_ms(),
        };
        self.shared
            .place(&self.workload, (container, object), row, self.quota)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        let mut unfinished = self
            .shared
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = unfinished.get_mut(&self.workload) {
            *all = all.saturating_sub(self.bytes);
            if *all == 0 {
                unfinished.remove(&self.workload);
            }
        }
        if !self.placed {
            // What cannot be removed now is removed by the next `open`.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl BlobReader {
    /// How many bytes are left.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes, at most `bytes_max` and [`BLOB_PIECE_BYTES_MAX`]; empty at the end.
    ///
    /// # Errors
    /// [`StorageError`] if the disk refuses.
    pub fn read(&mut self, bytes_max: usize) -> Result<Vec<u8>, StorageError> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut piece = vec![0; bytes_max.min(BLOB_PIECE_BYTES_MAX).min(left)];
        self.file
            .read_exact(&mut piece)
            .map_err(failed("read", &self.path))?;
        self.left -= piece.len() as u64;
        Ok(piece)
    }
}
