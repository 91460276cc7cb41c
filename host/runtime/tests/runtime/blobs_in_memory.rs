//! One container in memory with a quota, for tests of the blobstore's interface. Tests nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hypermesh_runtime::{
    BlobInfo, BlobRead, BlobStore, BlobWrite, NamePage, ObjectName, StoreError,
};
use types::ByteSize;

type Objects = BTreeMap<String, Vec<u8>>;

/// Objects of one container, which is always there. Clones are the same objects.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    objects: Arc<Mutex<Objects>>,
    quota: ByteSize,
}

impl Blobs {
    pub(crate) fn new(quota: ByteSize) -> Self {
        let objects = Arc::default();
        Self { objects, quota }
    }

    /// Bytes of all objects.
    pub(crate) fn used(&self) -> usize {
        self.objects.lock().unwrap().values().map(Vec::len).sum()
    }
}

impl BlobStore for Blobs {
    fn create_container(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn container(&self, _: &str) -> Result<Option<BlobInfo>, StoreError> {
        let (created_ms, bytes) = (0, 0);
        Ok(Some(BlobInfo { created_ms, bytes }))
    }

    fn clear(&self, _: &str, _: bool) -> Result<(), StoreError> {
        Err(StoreError::Failed)
    }

    fn object(&self, (_, name): ObjectName<'_>) -> Result<Option<BlobInfo>, StoreError> {
        let objects = self.objects.lock().unwrap();
        Ok(objects.get(name).map(|content| BlobInfo {
            created_ms: 0,
            bytes: content.len() as u64,
        }))
    }

    fn objects(&self, _: &str, _: Option<&str>) -> Result<NamePage, StoreError> {
        Err(StoreError::Failed)
    }

    fn read(
        &self,
        (_, name): ObjectName<'_>,
        start: u64,
        end: u64,
    ) -> Result<Box<dyn BlobRead>, StoreError> {
        let objects = self.objects.lock().unwrap();
        let gone = || StoreError::Refused(format!("no object `{name}`"));
        let content = objects.get(name).ok_or_else(gone)?;
        let bound = |at: u64| usize::try_from(at).unwrap().min(content.len());
        let end = bound(end.saturating_add(1));
        let left = content[bound(start).min(end)..end].to_vec();
        Ok(Box::new(Reader { left }))
    }

    fn write(&self) -> Result<Box<dyn BlobWrite>, StoreError> {
        let (store, content) = (self.clone(), Vec::new());
        Ok(Box::new(Writer { store, content }))
    }

    fn delete(&self, _: &str, _: Vec<String>) -> Result<(), StoreError> {
        Err(StoreError::Failed)
    }

    fn copy(&self, _: ObjectName<'_>, _: ObjectName<'_>) -> Result<(), StoreError> {
        Err(StoreError::Failed)
    }

    fn rename(&self, _: ObjectName<'_>, _: ObjectName<'_>) -> Result<(), StoreError> {
        Err(StoreError::Failed)
    }
}

struct Reader {
    left: Vec<u8>,
}

impl BlobRead for Reader {
    fn left(&self) -> u64 {
        self.left.len() as u64
    }

    fn read(&mut self, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let rest = self.left.split_off(bytes_max.min(self.left.len()));
        Ok(std::mem::replace(&mut self.left, rest))
    }
}

struct Writer {
    store: Blobs,
    content: Vec<u8>,
}

impl BlobWrite for Writer {
    fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let bytes = self.store.used() + self.content.len() + piece.len();
        let (limit, asked) = (self.store.quota, ByteSize::bytes(bytes as u64));
        if asked > limit {
            return Err(StoreError::Quota { limit, asked });
        }
        self.content.extend(piece);
        Ok(())
    }

    fn finish(self: Box<Self>, (_, name): ObjectName<'_>) -> Result<(), StoreError> {
        let mut objects = self.store.objects.lock().unwrap();
        objects.insert(name.to_owned(), self.content);
        Ok(())
    }
}
