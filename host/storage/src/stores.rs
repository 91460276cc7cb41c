//! The stores of all workloads in one folder: `tables.redb` and `blobs/`. Knows no workload's
//! rights; deletes what it is told to.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableTable;

use crate::artifact_errors::{StorageError, failed};
use crate::blobs::Blobs;
use crate::keyvalue::KeyValues;
use crate::tables::Tables;
use crate::{blob_rows, keyvalue_rows};

/// What guests of this node keep. Clones are the same stores; the last one dropped closes them.
#[derive(Debug, Clone)]
pub struct Stores {
    tables: Arc<Tables>,
    keyvalues: KeyValues,
    blobs: Blobs,
}

impl Stores {
    /// Opens the stores in `folder`, making it if need be, and clears what a crash left.
    ///
    /// # Errors
    /// [`StorageError`] if the disk refuses, the file is damaged or another process has it open.
    pub fn open(folder: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let tables = Tables::open(&folder.join("tables.redb"), |transaction| {
            keyvalue_rows::prepare(transaction)?;
            blob_rows::prepare(transaction)
        })?;
        let tables = Arc::new(tables);
        let blobs = Blobs::open(&folder.join("blobs"), Arc::clone(&tables))?;
        Ok(Self {
            keyvalues: KeyValues::new(Arc::clone(&tables)),
            tables,
            blobs,
        })
    }

    /// Buckets.
    #[must_use]
    pub const fn keyvalues(&self) -> &KeyValues {
        &self.keyvalues
    }

    /// Containers.
    #[must_use]
    pub const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The workloads that have something here.
    ///
    /// # Errors
    /// [`StorageError`] if the disk refuses.
    pub fn workloads(&self) -> Result<BTreeSet<String>, StorageError> {
        self.tables.read(|transaction| {
            let mut names = BTreeSet::new();
            for table in [keyvalue_rows::USAGE, blob_rows::USAGE] {
                for row in transaction.open_table(table)?.iter()? {
                    names.insert(row?.0.value().to_owned());
                }
            }
            Ok(Ok(names))
        })
    }

    /// Removes everything of a workload.
    ///
    /// # Errors
    /// [`StorageError`] if the disk refuses.
    pub fn remove(&self, workload: &str) -> Result<(), StorageError> {
        let workload = workload.to_owned();
        let files = self.tables.write(move |transaction| {
            keyvalue_rows::remove(transaction, &workload)?;
            Ok(Ok::<_, StorageError>(blob_rows::remove(
                transaction,
                &workload,
            )?))
        })?;
        self.blobs.remove_files(&files);
        Ok(())
    }
}
