//! Compiled code on this node's disk: the runtime's store over the file cache. Judges nothing: the
//! runtime seals what it keeps and looks at the seal.

use std::path::Path;
use std::sync::Arc;

use runtime::{CodeCache, CodeStore};
use storage::{FileCache, StorageError};
use trust::SecretKey;

/// Most bytes of compiled code on disk: machine code is about three times its component, so this
/// holds dozens of the largest that a node admits, and thousands of ordinary ones.
const COMPILED_BYTES_MAX: u64 = 4 << 30;

/// The code cache in `folder`, sealed with `secret`.
pub(crate) fn code_cache(folder: &Path, secret: &SecretKey) -> Result<CodeCache, StorageError> {
    let files = FileCache::open(folder, COMPILED_BYTES_MAX)?;
    let store: Arc<dyn CodeStore> = Arc::new(CompiledFiles(files));
    Ok(CodeCache::new(store, &secret.expose_seed()))
}

/// A disk that fails costs time, not correctness: it is logged, and code is compiled.
struct CompiledFiles(FileCache);

impl CodeStore for CompiledFiles {
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.0.load(name).unwrap_or_else(|error| {
            tracing::warn!("compiled code is not used: {error}");
            None
        })
    }

    fn store(&self, name: &str, parts: &[&[u8]]) {
        if let Err(error) = self.0.store(name, parts) {
            tracing::warn!("compiled code is not kept: {error}");
        }
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.0.remove(name) {
            tracing::warn!("refused code stays on disk: {error}");
        }
    }
}
