//! Artifacts on their way to guests: binaries to the compiler, files to preopened directories.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orchestrator::ReplicaKey;
use runtime::{CompileError, Compiled, Preopen};
use storage::ReadArtifactError;
use types::{ComponentSpec, Digest, FileMount};

use crate::peers::FetchError;
use crate::shared::Shared;

/// Why a replica's artifacts are not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error(transparent)]
    Read(#[from] ReadArtifactError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Compile(#[from] runtime::CompileError),
    #[error("cannot write {path} for the guest: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("the task that reads artifacts ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The compiled component, from memory where it was compiled before.
pub(crate) async fn compiled(
    shared: &Arc<Shared>,
    spec: &ComponentSpec,
) -> Result<Arc<Compiled>, PrepareError> {
    obtain(shared, spec.artifact).await?;
    let (artifacts, runtime) = (shared.artifacts.clone(), shared.runtime.clone());
    let (artifact, wanted) = (spec.artifact, spec.clone());
    let read = move || -> Result<_, PrepareError> {
        let bytes = artifacts.read(&artifact)?;
        let profile = runtime.profile(&bytes, &wanted);
        Ok((bytes, profile.map_err(CompileError::Inspect)?))
    };
    let (bytes, profile) = tokio::task::spawn_blocking(read).await??;
    Ok(shared.runtime.compile(artifact, bytes, profile).await?)
}

/// Sees to it that an artifact is here: one that is missing comes from another member.
async fn obtain(shared: &Arc<Shared>, digest: Digest) -> Result<(), PrepareError> {
    let artifacts = shared.artifacts.clone();
    let size = tokio::task::spawn_blocking(move || artifacts.size(&digest)).await?;
    match (size, shared.peers.get()) {
        // Without peers, reading says what is missing.
        (Some(_), _) | (_, None) => Ok(()),
        (None, Some(peers)) => Ok(peers.fetch(&shared.artifacts, digest).await?),
    }
}

/// Reads an artifact off the async threads.
pub(crate) async fn read(shared: &Arc<Shared>, digest: Digest) -> Result<Vec<u8>, PrepareError> {
    obtain(shared, digest).await?;
    let artifacts = shared.artifacts.clone();
    Ok(tokio::task::spawn_blocking(move || artifacts.read(&digest)).await??)
}

/// The directory on this machine that holds one replica's files.
pub(crate) fn files_folder(shared: &Shared, key: &ReplicaKey, generation: u64) -> PathBuf {
    let ReplicaKey {
        workload,
        component,
        index,
    } = key;
    shared
        .guests
        .join(format!("{workload}.{component}.{index}.{generation}"))
}

/// Lays out a replica's files, one directory per guest root, and says what to preopen.
pub(crate) async fn preopens(
    shared: &Arc<Shared>,
    files: &[FileMount],
    folder: PathBuf,
) -> Result<Vec<Preopen>, PrepareError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        contents.push((file.path.clone(), read(shared, file.artifact).await?));
    }
    tokio::task::spawn_blocking(move || {
        let mut roots: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (path, content) in contents {
            let number = roots.len();
            let root = roots.entry(path.root().to_owned());
            let root = root.or_insert_with(|| folder.join(number.to_string()));
            write(&root.join(path.below_root()), &content)?;
        }
        let preopen = |(guest_path, host_dir)| Preopen {
            host_dir,
            guest_path,
            writable: false,
        };
        Ok(roots.into_iter().map(preopen).collect())
    })
    .await?
}

fn write(path: &Path, content: &[u8]) -> Result<(), PrepareError> {
    let failed = |source| PrepareError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(path, content).map_err(failed)
}
