//! A file of a simulated disk as the engine's stores ask for it. Never decides what survives.

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _};
use commonware_runtime::{
    Blob, Clock, Error, Handle, IoBufs, IoBufsMut, ReadOptions, Spawner, WriteOptions,
};
use commonware_utils::channel::oneshot;

use super::disk::{Disk, File};

/// An open file.
pub(crate) struct SimBlob<E> {
    context: E,
    disk: Disk,
    file: Arc<File>,
    name: (String, String),
}

impl<E: Clock + Spawner> SimBlob<E> {
    pub(crate) fn new(context: E, disk: Disk, file: Arc<File>, name: (String, String)) -> Self {
        Self {
            context,
            disk,
            file,
            name,
        }
    }

    fn refuse(&self) -> Result<(), Error> {
        if self.disk.fails() {
            let (partition, name) = self.name.clone();
            let error = Arc::new(io::Error::other("the simulated disk fails"));
            return Err(Error::BlobSyncFailed(partition, name, error));
        }
        Ok(())
    }
}

fn place(offset: u64) -> Result<usize, Error> {
    usize::try_from(offset).map_err(|_| Error::OffsetOverflow)
}

/// The same buffers, filled.
fn fill(bufs: IoBufsMut, bytes: &[u8]) -> IoBufsMut {
    match bufs.try_into_single() {
        Ok(mut one) => {
            one.truncate(0);
            one.put_slice(bytes);
            one.into()
        }
        Err(mut many) if many.len() == bytes.len() => {
            many.copy_from_slice(bytes);
            many
        }
        Err(_) => bytes.to_vec().into(),
    }
}

impl<E: Clock + Spawner> Blob for SimBlob<E> {
    async fn read_at_buf(
        &self,
        offset: u64,
        len: usize,
        bufs: impl Into<IoBufsMut> + Send,
        _: ReadOptions,
    ) -> Result<IoBufsMut, Error> {
        let bufs = bufs.into();
        let contents = self.file.lock();
        let start = place(offset)?;
        let end = start.checked_add(len).ok_or(Error::OffsetOverflow)?;
        let bytes = contents.live.get(start..end);
        Ok(fill(bufs, bytes.ok_or(Error::BlobInsufficientLength)?))
    }

    async fn read_at(&self, offset: u64, len: usize, _: ReadOptions) -> Result<IoBufsMut, Error> {
        let contents = self.file.lock();
        let start = place(offset)?;
        let end = start.checked_add(len).ok_or(Error::OffsetOverflow)?;
        let bytes = contents.live.get(start..end);
        let bytes = bytes.ok_or(Error::BlobInsufficientLength)?;
        Ok(bytes.to_vec().into())
    }

    async fn write_at(
        &self,
        offset: u64,
        bufs: impl Into<IoBufs> + Send,
        options: WriteOptions,
    ) -> Result<(), Error> {
        self.refuse()?;
        let mut bufs: IoBufs = bufs.into();
        let bytes = bufs.copy_to_bytes(bufs.remaining());
        let offset = place(offset)?;
        if !options.contains(WriteOptions::SYNC) {
            self.file.lock().write(offset, &bytes);
            return Ok(());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.context.sleep(self.disk.flush_time()).await;
        self.refuse()?;
        if self.disk.lies() {
            self.file.lock().write(offset, &bytes);
            return Ok(());
        }
        self.file.lock().write_through(offset, &bytes);
        Ok(())
    }

    async fn resize(&self, len: u64) -> Result<(), Error> {
        self.refuse()?;
        self.file.lock().resize(place(len)?);
        Ok(())
    }

    async fn sync(&self) -> Result<(), Error> {
        let mark = self.file.lock().mark();
        self.context.sleep(self.disk.flush_time()).await;
        self.refuse()?;
        if !self.disk.lies() {
            self.file.lock().flush(mark);
        }
        Ok(())
    }

    async fn start_sync(&self) -> Handle<()> {
        let (told, done) = oneshot::channel();
        let mark = self.file.lock().mark();
        let (disk, file, name) = (self.disk.clone(), self.file.clone(), self.name.clone());
        // Goes on when the handle is dropped, and ends with the node.
        self.context
            .child("flush")
            .spawn(move |context| async move {
                let blob = Self::new(context, disk, file, name);
                blob.context.sleep(blob.disk.flush_time()).await;
                let flushed = blob.refuse();
                if flushed.is_ok() && !blob.disk.lies() {
                    blob.file.lock().flush(mark);
                }
                // Whoever asked may be gone.
                let _ = told.send(flushed);
            });
        Handle::from_receiver(done)
    }
}
