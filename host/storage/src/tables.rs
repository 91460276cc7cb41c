//! The database file of the stores and its one writer. Knows no table.
//!
//! Operations that wait together are carried out one after the other in one transaction and share
//! its flush; each is answered when that is durable. An operation that refuses must not have
//! changed anything; one that fails on the disk takes the whole transaction back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use redb::{Builder, Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use crate::artifact_errors::StorageError;
use crate::store_bounds::{TABLES_CACHE_BYTES, WRITES_PER_COMMIT_MAX, WRITES_WAITING_MAX};

/// The open database. Closed when dropped, after what waits has been written.
pub(crate) struct Tables {
    path: PathBuf,
    database: Arc<Database>,
    jobs: Option<SyncSender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
}

/// One operation of any type.
trait Job: Send {
    /// Carries it out; the fault of the disk if there is one.
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error>;
    /// Answers whoever waits.
    fn answer(self: Box<Self>, fault: Option<String>);
}

/// What an operation came to: a fault of the disk, or its own result.
pub(crate) type Applied<T, E> = Result<Result<T, E>, redb::Error>;

struct Write<T, E, F> {
    work: Option<F>,
    result: Option<Result<T, E>>,
    caller: SyncSender<Result<Result<T, E>, String>>,
}

impl<T, E, F> Job for Write<T, E, F>
where
    T: Send,
    E: Send,
    F: FnOnce(&WriteTransaction) -> Applied<T, E> + Send,
{
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(transaction)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, fault: Option<String>) {
        let answer = match (fault, self.result) {
            (None, Some(result)) => Ok(result),
            (fault, _) => Err(fault.unwrap_or_else(|| "the operation was not begun".to_owned())),
        };
        // A caller that went away wants no answer.
        let _ = self.caller.send(answer);
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Tables {
    /// Opens the file, making it if need be. `prepare` makes the tables, so that readers find them.
    pub(crate) fn open(
        path: &Path,
        prepare: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<Self, StorageError> {
        let open = || -> Result<Database, redb::Error> {
            let database = Builder::new()
                .set_cache_size(TABLES_CACHE_BYTES)
                .create(path)?;
            let transaction = database.begin_write()?;
            prepare(&transaction)?;
            transaction.commit()?;
            Ok(database)
        };
        let database = Arc::new(open().map_err(|error| refused("open", path, &error.to_string()))?);
        let (jobs, waiting) = sync_channel(WRITES_WAITING_MAX);
        let writing = Arc::clone(&database);
        let writer = std::thread::Builder::new()
            .name("stores".to_owned())
            .spawn(move || write_all(&writing, &waiting))
            .map_err(|error| refused("start the writer of", path, &error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            database,
            jobs: Some(jobs),
            writer: Some(writer),
        })
    }

    /// Carries `work` out and waits until it is durable.
    pub(crate) fn write<T, E>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Applied<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (caller, answer) = sync_channel(1);
        let job = Write {
            work: Some(work),
            result: None,
            caller,
        };
        let stopped = || refused("write", &self.path, "the writer has stopped");
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.send(Box::new(job)).map_err(|_| stopped())?;
        match answer.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(reason)) => Err(refused("write", &self.path, &reason).into()),
            Err(_) => Err(stopped().into()),
        }
    }

    /// Looks at what is durable.
    pub(crate) fn read<T, E: From<StorageError>>(
        &self,
        look: impl FnOnce(&ReadTransaction) -> Applied<T, E>,
    ) -> Result<T, E> {
        let transaction = self.database.begin_read().map_err(redb::Error::from);
        let looked = transaction.and_then(|transaction| look(&transaction));
        looked.unwrap_or_else(|error| Err(refused("read", &self.path, &error.to_string()).into()))
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has let go of the file, too.
            let _ = writer.join();
        }
    }
}

fn refused(action: &'static str, path: &Path, reason: &str) -> StorageError {
    StorageError {
        action,
        path: path.to_owned(),
        source: std::io::Error::other(reason.to_owned()),
    }
}

/// The writer: takes what waits, until nobody is left who could ask.
fn write_all(database: &Database, waiting: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = waiting.recv() {
        let mut jobs = vec![first];
        jobs.extend(waiting.try_iter().take(WRITES_PER_COMMIT_MAX - 1));
        let fault = commit(database, &mut jobs)
            .err()
            .map(|error| error.to_string());
        for job in jobs {
            job.answer(fault.clone());
        }
    }
}

fn commit(database: &Database, jobs: &mut [Box<dyn Job>]) -> Result<(), redb::Error> {
    // Dropped without a commit, a transaction is taken back.
    let transaction = database.begin_write()?;
    for job in jobs {
        job.apply(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}
