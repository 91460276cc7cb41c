//! Contents of objects as `wasi:io` streams: one piece at a time is between guest and disk, and the
//! guest waits for it. Knows no container.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio::task::JoinHandle;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::store_calls::{Stores, report};
use crate::bounds::BLOB_PIECE_BYTES_MAX;
use crate::host::Guest;
use crate::meter::Meter;
use crate::services::{BlobRead, BlobWrite, StoreError};

/// A content that is read, and its place among those that are open at once.
pub(crate) struct OpenRead {
    pub(super) content: Box<dyn BlobRead>,
    pub(super) _place: OwnedSemaphorePermit,
}

type Read = (OpenRead, Result<Vec<u8>, StoreError>);

/// A content on its way to the guest.
pub(super) struct Input {
    guest: Arc<Guest>,
    state: Reading,
}

enum Reading {
    Idle(OpenRead),
    Busy(JoinHandle<Option<Read>>),
    Ready(OpenRead, Bytes),
    Failed(StoreError),
    Ended,
}

fn failed(error: &StoreError) -> StreamError {
    StreamError::LastOperationFailed(wasmtime::format_err!("{error}"))
}

impl Input {
    pub(super) const fn new(guest: Arc<Guest>, open: OpenRead) -> Self {
        Self {
            guest,
            state: Reading::Idle(open),
        }
    }

    /// Begins to read a piece if none is there or on its way.
    fn begin(&mut self, stores: &Stores) {
        self.state = match std::mem::replace(&mut self.state, Reading::Ended) {
            Reading::Idle(open) if open.content.left() == 0 => Reading::Ended,
            Reading::Idle(mut open) => Reading::Busy(stores.begin(move || {
                let piece = open.content.read(BLOB_PIECE_BYTES_MAX);
                (open, piece)
            })),
            other => other,
        };
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        let guest = Arc::clone(&self.guest);
        self.begin(&guest.stores);
        if let Reading::Busy(reading) = &mut self.state {
            self.state = match reading.await.ok().flatten() {
                Some((open, Ok(piece))) => Reading::Ready(open, piece.into()),
                Some((_, Err(error))) => Reading::Failed(error),
                None => Reading::Failed(StoreError::Failed),
            };
        }
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for Input {
    fn read(&mut self, bytes_max: usize) -> StreamResult<Bytes> {
        match std::mem::replace(&mut self.state, Reading::Ended) {
            Reading::Ready(open, mut piece) => {
                let taken = piece.split_to(bytes_max.min(piece.len()));
                self.state = if piece.is_empty() {
                    Reading::Idle(open)
                } else {
                    Reading::Ready(open, piece)
                };
                Ok(taken)
            }
            Reading::Failed(error) => Err(failed(&error)),
            Reading::Ended => Err(StreamError::Closed),
            Reading::Idle(open) if open.content.left() == 0 => Err(StreamError::Closed),
            waiting => {
                self.state = waiting;
                Ok(Bytes::new())
            }
        }
    }
}

/// A content on its way to the disk: shared by the guest's outgoing value and its stream.
pub(crate) type SharedContent = Arc<Mutex<Content>>;

pub(crate) struct Content {
    guest: Arc<Guest>,
    writing: Writing,
    /// Whether the guest dropped the stream.
    ended: bool,
    /// What the content becomes when the stream ends, of a guest that cannot say more.
    released: Option<(String, String)>,
    meter: Arc<Meter>,
    _place: OwnedSemaphorePermit,
}

type Written = (Box<dyn BlobWrite>, Result<(), StoreError>);

enum Writing {
    Idle(Box<dyn BlobWrite>),
    Busy(JoinHandle<Option<Written>>),
    Failed(StoreError),
}

impl Content {
    pub(super) fn new(
        guest: Arc<Guest>,
        content: Box<dyn BlobWrite>,
        meter: Arc<Meter>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            guest,
            writing: Writing::Idle(content),
            ended: false,
            released: None,
            meter,
            _place: place,
        }
    }

    /// Waits until the last piece is with the system.
    async fn settle(&mut self) {
        if let Writing::Busy(writing) = &mut self.writing {
            self.writing = match writing.await.ok().flatten() {
                Some((content, Ok(()))) => Writing::Idle(content),
                Some((_, Err(error))) => {
                    report(&self.meter, "blobstore", &error);
                    Writing::Failed(error)
                }
                None => Writing::Failed(StoreError::Failed),
            };
        }
    }

    /// The whole content, once nothing is on its way; the first failure if there was one.
    pub(super) async fn take(&mut self) -> Result<Box<dyn BlobWrite>, StoreError> {
        self.settle().await;
        let gone = Writing::Failed(StoreError::Failed);
        match std::mem::replace(&mut self.writing, gone) {
            Writing::Idle(content) => Ok(content),
            Writing::Failed(error) => Err(error),
            Writing::Busy(_) => Err(StoreError::Failed),
        }
    }

    /// The guest gave up the value: the content becomes this object, once the stream is gone too.
    pub(super) async fn release(&mut self, object: (String, String)) {
        self.released = Some(object);
        self.finish_if_given_up().await;
    }

    async fn end(&mut self) {
        self.ended = true;
        self.finish_if_given_up().await;
    }

    async fn finish_if_given_up(&mut self) {
        if !self.ended {
            return;
        }
        let Some((container, object)) = self.released.take() else {
            return;
        };
        // A failure to write was reported when it happened, and leaves no object.
        if let Ok(content) = self.take().await {
            let finish = move || content.finish((&container, &object));
            let stores = &self.guest.stores;
            let _ = stores.call(&self.meter, "blobstore", finish).await;
        }
    }
}

/// The guest's end of a content that is written.
pub(super) struct Output {
    pub(super) guest: Arc<Guest>,
    pub(super) content: SharedContent,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        self.content.lock().await.settle().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, piece: Bytes) -> StreamResult<()> {
        if piece.len() > BLOB_PIECE_BYTES_MAX {
            return Err(StreamError::trap("more written than check-write allowed"));
        }
        let Ok(mut shared) = self.content.try_lock() else {
            return Err(StreamError::trap("written while a write was on its way"));
        };
        let nobody = Writing::Failed(StoreError::Failed);
        match std::mem::replace(&mut shared.writing, nobody) {
            Writing::Idle(mut content) => {
                shared.writing = Writing::Busy(self.guest.stores.begin(move || {
                    let written = content.write(&piece);
                    (content, written)
                }));
                Ok(())
            }
            Writing::Failed(error) => {
                let told = failed(&error);
                shared.writing = Writing::Failed(error);
                Err(told)
            }
            Writing::Busy(_) => Err(StreamError::trap("written while a write was on its way")),
        }
    }

    /// Called when the guest drops the stream, not when its instance ends with it.
    async fn cancel(&mut self) {
        self.content.lock().await.end().await;
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let Ok(shared) = self.content.try_lock() else {
            return Ok(0);
        };
        match &shared.writing {
            Writing::Idle(_) => Ok(BLOB_PIECE_BYTES_MAX),
            Writing::Busy(_) => Ok(0),
            Writing::Failed(error) => Err(failed(error)),
        }
    }
}
