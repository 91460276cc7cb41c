//! A volume behind the trait that guests reach it by: what is asked, waited for, and given its best
//! reason if it fails.

use std::sync::Arc;

use assets::volume::{BLOCKS_FILE, FileError, FilePath, Files, PAGE_MAX};
use futures::FutureExt as _;
use runtime::{Volume, VolumeAwaited, VolumeError, VolumeRepaired, VolumeShare, VolumeUsage};
use trust::NarrowError;
use types::{Audience, RegionScope};

use super::errors::{denied, invalid, not_filed, not_read, unavailable};
use super::volume::GuestVolume;

/// A volume that a guest has. Dropping it gives back what it leased, unless that is kept.
#[derive(Debug)]
pub(super) struct Handle(pub(super) Arc<GuestVolume>);

fn wide(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Handle {
    /// Does something with the volume, which lives until it is done.
    fn with<T, Doing>(&self, act: impl FnOnce(Arc<GuestVolume>) -> Doing) -> VolumeAwaited<T>
    where
        Doing: Future<Output = Result<T, VolumeError>> + Send + 'static,
        T: Send + 'static,
    {
        let volume = Arc::clone(&self.0);
        let doing = act(Arc::clone(&volume));
        async move {
            match doing.await {
                Ok(done) => Ok(done),
                Err(error) => Err(volume.noted(error).await),
            }
        }
        .boxed()
    }

    /// Looks at a file.
    fn look<T, Doing>(
        &self,
        name: String,
        act: impl FnOnce(Arc<Files>, FilePath) -> Doing + Send + 'static,
    ) -> VolumeAwaited<T>
    where
        Doing: Future<Output = Result<T, FileError>> + Send + 'static,
        T: Send + 'static,
    {
        self.with(|volume| async move {
            let path = name.parse().map_err(invalid)?;
            let files = volume.reads().await;
            act(files, path).await.map_err(|error| not_filed(&error))
        })
    }

    /// Changes files. Where there is no room, what was replaced before is made durable, which frees it.
    fn change<Doing>(
        &self,
        name: String,
        act: impl Fn(Arc<Files>, FilePath) -> Doing + Send + Sync + 'static,
    ) -> VolumeAwaited<()>
    where
        Doing: Future<Output = Result<(), FileError>> + Send + 'static,
    {
        self.with(|volume| async move {
            let path: FilePath = name.parse().map_err(invalid)?;
            let files = volume.writes().await?;
            let done = act(Arc::clone(&files), path.clone()).await;
            match done.map_err(|error| not_filed(&error)) {
                Err(VolumeError::Full(_)) => {
                    files.sync().await.map_err(|error| not_filed(&error))?;
                    act(files, path).await.map_err(|error| not_filed(&error))
                }
                done => done,
            }
        })
    }
}

impl Volume for Handle {
    fn read(&self, offset: u64, bytes: u32) -> VolumeAwaited<Vec<u8>> {
        self.with(|volume| async move {
            let files = volume.reads().await;
            let read = files.volume().read(BLOCKS_FILE, offset, wide(bytes)).await;
            read.map_err(|error| not_read(&error))
        })
    }

    fn write(&self, offset: u64, bytes: Vec<u8>) -> VolumeAwaited<()> {
        self.with(|volume| async move { volume.write_blocks(offset, &bytes).await })
    }

    fn sync(&self) -> VolumeAwaited<()> {
        self.with(|volume| async move {
            let files = volume.syncs().await?;
            files.sync().await.map_err(|error| not_filed(&error))
        })
    }

    fn create_file(&self, name: String) -> VolumeAwaited<()> {
        self.change(name, |files, path| async move { files.create(&path).await })
    }

    fn read_file(&self, name: String, offset: u64, bytes: u32) -> VolumeAwaited<Vec<u8>> {
        self.look(name, move |files, path| async move {
            files.read(&path, offset, wide(bytes)).await
        })
    }

    fn write_file(&self, name: String, offset: u64, bytes: Vec<u8>) -> VolumeAwaited<()> {
        let bytes: Arc<[u8]> = bytes.into();
        self.change(name, move |files, path| {
            let bytes = Arc::clone(&bytes);
            async move { files.write(&path, offset, &bytes).await }
        })
    }

    fn file_size(&self, name: String) -> VolumeAwaited<u64> {
        self.look(name, |files, path| async move {
            Ok(files.stat(&path).await?.bytes)
        })
    }

    fn set_file_size(&self, name: String, bytes: u64) -> VolumeAwaited<()> {
        self.change(name, move |files, path| async move {
            files.set_length(&path, bytes).await
        })
    }

    fn list_files(&self, after: Option<String>) -> VolumeAwaited<(Vec<String>, bool)> {
        self.with(|volume| async move {
            let after = after.map(|after| after.parse().map_err(invalid));
            let files = volume.reads().await;
            let listed = files.list(None, after.transpose()?.as_ref()).await;
            let listed = listed.map_err(|error| not_filed(&error))?;
            let names = listed.iter().map(|file| file.path.as_str().to_owned());
            Ok((names.collect(), listed.len() == PAGE_MAX))
        })
    }

    fn rename_file(&self, name: String, to: String) -> VolumeAwaited<()> {
        let to: FilePath = match to.parse() {
            Ok(to) => to,
            Err(error) => return std::future::ready(Err(invalid(error))).boxed(),
        };
        self.change(name, move |files, path| {
            let to = to.clone();
            async move { files.rename(&path, &to, false).await }
        })
    }

    fn remove_file(&self, name: String) -> VolumeAwaited<()> {
        self.change(name, |files, path| async move { files.remove(&path).await })
    }

    fn usage(&self) -> VolumeAwaited<VolumeUsage> {
        self.with(|volume| async move { volume.usage_now().await })
    }

    fn renew(&self, term_ms: u64) -> VolumeAwaited<()> {
        self.with(|volume| async move { volume.renew_all(term_ms).await })
    }

    fn share(&self, share: VolumeShare) -> Result<String, VolumeError> {
        let audience = match share.node.as_deref().map(str::parse) {
            None => Audience::Member,
            Some(Ok(node)) => Audience::Node(node),
            Some(Err(error)) => return Err(invalid(error)),
        };
        let shared = &self.0.volumes.shared;
        let shown = self.0.members().shown();
        let own = shown.scope().map_or(u64::MAX, |own| own.expires_ms);
        let latest_ms = shared.memory.clock().latest_ms(shared.now_ms());
        let expires_ms = latest_ms.saturating_add(share.term_ms).min(own);
        let scope = RegionScope::volume(share.read, share.write, expires_ms, audience);
        let narrowed = shown.narrowed(scope);
        let narrowed = narrowed.map_err(|error| match error.source {
            NarrowError::Entropy(error) => unavailable(error),
            error => denied(error),
        })?;
        Ok(narrowed.to_string())
    }

    fn revoke(&self, capability: String) -> VolumeAwaited<()> {
        self.with(|volume| async move {
            let capability = capability.parse().map_err(invalid)?;
            volume.revoke_at_all(capability).await
        })
    }

    fn keep(&self) -> VolumeAwaited<String> {
        self.with(|volume| async move {
            // Writes a file.
            let kept = tokio::spawn(async move { volume.keep_all().await });
            kept.await.map_err(unavailable)?
        })
    }

    fn repair(&self) -> VolumeAwaited<VolumeRepaired> {
        self.with(|volume| async move {
            // Goes on if nobody waits: half of it would have to be done again.
            let repaired = tokio::spawn(async move { volume.repaired().await });
            repaired.await.map_err(unavailable)?
        })
    }
}
