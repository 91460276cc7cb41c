//! `hypermesh:assets/volumes`: volumes on leased storage, on this node and on others.
//!
//! *Grant*: `capabilities.storage = "SIZE"`; without it a component that imports the interface is
//! refused at deploy. *Limits*: what a replica has leased stays within the size, which the node counts
//! behind [`crate::Volumes`]; its instances have [`VOLUMES_OPEN_MAX`] volumes at once; one operation
//! has [`VOLUME_SPAN_BYTES_MAX`] at most. *Denial*: the cases of `error`, each with a text that names the
//! bound.
//!
//! A volume is a resource of its instance: it goes with it, however that ends, and what it is answerable
//! for is given back. A call that waits holds nothing else, so the instance is paused and stopped as in
//! any other call.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use types::Capability;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::hypermesh::assets::volumes as wit;
use super::{Grant, Package};
use crate::bounds::{
    VOLUME_CAPABILITY_TEXT_BYTES_MAX, VOLUME_NAME_BYTES_MAX, VOLUME_SPAN_BYTES_MAX,
    VOLUMES_OPEN_MAX,
};
use crate::errors::clipped;
use crate::host::Host;
use crate::memory::AssetError;
use crate::volume::{Volume, VolumeAwaited, VolumeError, VolumeLayout, VolumeShare};

pub(super) const PACKAGE: Package = Package {
    name: "hypermesh:assets",
    version: "0.1.0",
    interfaces: &["volumes"],
    grant: Some(Grant {
        interfaces: &["volumes"],
        line: "capabilities.storage = \"SIZE\"",
        covers: |capability| matches!(capability, Capability::Storage { .. }),
    }),
    link,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/assets",
        world: "volume-user",
        imports: { default: async | trappable },
        with: { "hypermesh:assets/volumes.volume": super::OpenVolume },
    });
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

/// A volume that an instance has open.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OpenVolume {
    volume: Arc<dyn Volume>,
    _place: OwnedSemaphorePermit,
}

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

fn answer<T>(result: Result<T, VolumeError>) -> Answer<T> {
    Ok(result.map_err(|error| match error {
        VolumeError::Asset(error) => match error {
            AssetError::Invalid(text) => wit::Error::Invalid(clipped(&text)),
            AssetError::Denied(text) => wit::Error::Denied(clipped(&text)),
            AssetError::Ended => wit::Error::Ended,
            AssetError::Quota(text) => wit::Error::Quota(clipped(&text)),
            AssetError::Exhausted(text) => wit::Error::Exhausted(clipped(&text)),
            AssetError::Busy(text) => wit::Error::Busy(clipped(&text)),
            AssetError::Lost(text) => wit::Error::Lost(clipped(&text)),
            AssetError::Unavailable(text) => wit::Error::Unavailable(clipped(&text)),
        },
        VolumeError::Full(text) => wit::Error::Full(clipped(&text)),
        VolumeError::Fenced(text) => wit::Error::Fenced(clipped(&text)),
        VolumeError::NotFound(text) => wit::Error::NotFound(clipped(&text)),
        VolumeError::Exists(text) => wit::Error::Exists(clipped(&text)),
    }))
}

/// Refuses what is longer than anything of its kind.
fn bounded(bytes: usize, bytes_max: usize, what: &str) -> Result<(), VolumeError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let text = format!("{bytes} bytes are more than {what} has: {bytes_max}");
    Err(AssetError::Invalid(text).into())
}

fn named(name: &str) -> Result<(), VolumeError> {
    bounded(name.len(), VOLUME_NAME_BYTES_MAX, "the name of a file")
}

fn span(bytes: usize) -> Result<(), VolumeError> {
    bounded(bytes, VOLUME_SPAN_BYTES_MAX, "one operation")
}

fn capability(text: &str) -> Result<(), VolumeError> {
    bounded(text.len(), VOLUME_CAPABILITY_TEXT_BYTES_MAX, "a capability")
}

fn wide(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Host {
    /// Begins something with a volume once its arguments are within bounds, and waits for it.
    async fn with_volume<T>(
        &mut self,
        volume: &Resource<OpenVolume>,
        checked: Result<(), VolumeError>,
        begin: impl FnOnce(&dyn Volume) -> VolumeAwaited<T>,
    ) -> Answer<T> {
        let volume = Arc::clone(&self.table().get(volume)?.volume);
        match checked {
            Ok(()) => answer(begin(volume.as_ref()).await),
            Err(error) => answer(Err(error)),
        }
    }

    /// A place among the volumes that the replica's instances have open.
    fn volume_place(&self) -> Result<OwnedSemaphorePermit, VolumeError> {
        let place = Arc::clone(&self.guest().stored.places).try_acquire_owned();
        place.map_err(|_| {
            let text = format!("the replica has {VOLUMES_OPEN_MAX} volumes open, the most at once");
            AssetError::Quota(text).into()
        })
    }

    async fn volume_opened(
        &mut self,
        begun: Result<(VolumeAwaited<Arc<dyn Volume>>, OwnedSemaphorePermit), VolumeError>,
    ) -> Answer<Resource<OpenVolume>> {
        let opened = match begun {
            Ok((opened, place)) => opened.await.map(|volume| (volume, place)),
            Err(error) => Err(error),
        };
        match opened {
            Ok((volume, place)) => {
                let open = OpenVolume {
                    volume,
                    _place: place,
                };
                Ok(Ok(self.table().push(open)?))
            }
            Err(error) => answer(Err(error)),
        }
    }
}

impl wit::HostVolume for Host {
    async fn read(
        &mut self,
        volume: Resource<OpenVolume>,
        offset: u64,
        bytes: u32,
    ) -> Answer<Vec<u8>> {
        self.with_volume(&volume, span(wide(bytes)), |volume| {
            volume.read(offset, bytes)
        })
        .await
    }

    async fn write(
        &mut self,
        volume: Resource<OpenVolume>,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Answer<()> {
        self.with_volume(&volume, span(bytes.len()), |volume| {
            volume.write(offset, bytes)
        })
        .await
    }

    async fn sync(&mut self, volume: Resource<OpenVolume>) -> Answer<()> {
        self.with_volume(&volume, Ok(()), |volume| volume.sync())
            .await
    }

    async fn create_file(&mut self, volume: Resource<OpenVolume>, name: String) -> Answer<()> {
        self.with_volume(&volume, named(&name), |volume| volume.create_file(name))
            .await
    }

    async fn read_file(
        &mut self,
        volume: Resource<OpenVolume>,
        name: String,
        offset: u64,
        bytes: u32,
    ) -> Answer<Vec<u8>> {
        let checked = named(&name).and_then(|()| span(wide(bytes)));
        self.with_volume(&volume, checked, |volume| {
            volume.read_file(name, offset, bytes)
        })
        .await
    }

    async fn write_file(
        &mut self,
        volume: Resource<OpenVolume>,
        name: String,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Answer<()> {
        let checked = named(&name).and_then(|()| span(bytes.len()));
        self.with_volume(&volume, checked, |volume| {
            volume.write_file(name, offset, bytes)
        })
        .await
    }

    async fn file_size(&mut self, volume: Resource<OpenVolume>, name: String) -> Answer<u64> {
        self.with_volume(&volume, named(&name), |volume| volume.file_size(name))
            .await
    }

    async fn set_file_size(
        &mut self,
        volume: Resource<OpenVolume>,
        name: String,
        bytes: u64,
    ) -> Answer<()> {
        self.with_volume(&volume, named(&name), |volume| {
            volume.set_file_size(name, bytes)
        })
        .await
    }

    async fn list_files(
        &mut self,
        volume: Resource<OpenVolume>,
        after: Option<String>,
    ) -> Answer<wit::Page> {
        let checked = after.as_deref().map_or(Ok(()), named);
        let listed = self.with_volume(&volume, checked, |volume| volume.list_files(after));
        Ok(listed.await?.map(|(names, more)| wit::Page { names, more }))
    }

    async fn rename_file(
        &mut self,
        volume: Resource<OpenVolume>,
        name: String,
        to: String,
    ) -> Answer<()> {
        let checked = named(&name).and_then(|()| named(&to));
        self.with_volume(&volume, checked, |volume| volume.rename_file(name, to))
            .await
    }

    async fn remove_file(&mut self, volume: Resource<OpenVolume>, name: String) -> Answer<()> {
        self.with_volume(&volume, named(&name), |volume| volume.remove_file(name))
            .await
    }

    async fn usage(&mut self, volume: Resource<OpenVolume>) -> Answer<wit::Usage> {
        let usage = self.with_volume(&volume, Ok(()), |volume| volume.usage());
        Ok(usage.await?.map(|usage| wit::Usage {
            bytes: usage.bytes,
            used_bytes: usage.used_bytes,
            leased_bytes: usage.leased_bytes,
            members: usage.members,
            reached: usage.reached,
            left_ms: usage.left_ms,
        }))
    }

    async fn remaining(&mut self, volume: Resource<OpenVolume>) -> Answer<u64> {
        let usage = self.with_volume(&volume, Ok(()), |volume| volume.usage());
        Ok(usage.await?.map(|usage| usage.left_ms))
    }

    async fn renew(&mut self, volume: Resource<OpenVolume>, term_ms: u64) -> Answer<()> {
        self.with_volume(&volume, Ok(()), |volume| volume.renew(term_ms))
            .await
    }

    async fn share(
        &mut self,
        volume: Resource<OpenVolume>,
        rights: wit::Rights,
        term_ms: u64,
        node: Option<String>,
    ) -> Answer<String> {
        let volume = Arc::clone(&self.table().get(&volume)?.volume);
        answer(volume.share(VolumeShare {
            read: rights.contains(wit::Rights::READ),
            write: rights.contains(wit::Rights::WRITE),
            term_ms,
            node,
        }))
    }

    async fn revoke(&mut self, volume: Resource<OpenVolume>, text: String) -> Answer<()> {
        self.with_volume(&volume, capability(&text), |volume| volume.revoke(text))
            .await
    }

    async fn keep(&mut self, volume: Resource<OpenVolume>) -> Answer<String> {
        self.with_volume(&volume, Ok(()), |volume| volume.keep())
            .await
    }

    async fn repair(&mut self, volume: Resource<OpenVolume>) -> Answer<wit::Repaired> {
        let repaired = self.with_volume(&volume, Ok(()), |volume| volume.repair());
        Ok(repaired.await?.map(|repaired| wit::Repaired {
            members: repaired.members,
            blocks: repaired.blocks,
            pieces: repaired.pieces,
            lost: repaired.lost,
        }))
    }

    async fn drop(&mut self, volume: Resource<OpenVolume>) -> wasmtime::Result<()> {
        self.table().delete(volume)?;
        Ok(())
    }
}

impl wit::Host for Host {
    async fn allocate(
        &mut self,
        bytes: u64,
        term_ms: u64,
        layout: wit::Layout,
    ) -> Answer<Resource<OpenVolume>> {
        let layout = match layout {
            wit::Layout::Single => VolumeLayout::Single,
            wit::Layout::Replicated(members) => VolumeLayout::Replicated(members),
            wit::Layout::Sharded => VolumeLayout::Sharded,
        };
        let begun = self.volume_place().and_then(|place| {
            let volumes = self.guest().stored.get()?;
            Ok((volumes.allocate(bytes, term_ms, layout), place))
        });
        self.volume_opened(begun).await
    }

    async fn open(&mut self, text: String) -> Answer<Resource<OpenVolume>> {
        let begun = self.volume_place().and_then(|place| {
            capability(&text)?;
            Ok((self.guest().stored.get()?.open(text), place))
        });
        self.volume_opened(begun).await
    }
}
