//! `hypermesh:assets/memory`: regions of leased memory, on this node and on others.
//!
//! *Grant*: `capabilities.memory = "SIZE"`; without it a component that imports the interface is
//! refused at deploy. *Limits*: what a replica has allocated stays within the size, which the node
//! counts behind [`crate::Memory`]; its instances have [`REGIONS_OPEN_MAX`] regions at once; one
//! operation has the bounds of a region. *Denial*: the cases of `error`, each with a text that names
//! the bound.
//!
//! A region is a resource of its instance: it goes with it, however that ends, and what it is
//! answerable for is given back. A call that waits holds nothing else, so the instance is paused and
//! stopped as in any other call.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use types::Capability;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::hypermesh::assets::memory as wit;
use super::{Grant, Package};
use crate::bounds::{CAPABILITY_TEXT_BYTES_MAX, REGIONS_OPEN_MAX};
use crate::errors::clipped;
use crate::host::Host;
use crate::memory::{AssetError, MemoryRegion, MemoryShare};

pub(super) const PACKAGE: Package = Package {
    name: "hypermesh:assets",
    version: "0.1.0",
    interfaces: &["memory"],
    grant: Some(Grant {
        interfaces: &["memory"],
        line: "capabilities.memory = \"SIZE\"",
        covers: |capability| matches!(capability, Capability::Memory { .. }),
    }),
    link,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/assets",
        world: "memory-user",
        imports: { default: async | trappable },
        with: { "hypermesh:assets/memory.region": super::OpenRegion },
    });
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

/// A region that an instance has open.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OpenRegion {
    region: Arc<dyn MemoryRegion>,
    _place: OwnedSemaphorePermit,
}

type Answer<T> = wasmtime::Result<Result<T, wit::Error>>;

fn answer<T>(result: Result<T, AssetError>) -> Answer<T> {
    Ok(result.map_err(|error| match error {
        AssetError::Invalid(text) => wit::Error::Invalid(clipped(&text)),
        AssetError::Denied(text) => wit::Error::Denied(clipped(&text)),
        AssetError::Ended => wit::Error::Ended,
        AssetError::Quota(text) => wit::Error::Quota(clipped(&text)),
        AssetError::Exhausted(text) => wit::Error::Exhausted(clipped(&text)),
        AssetError::Busy(text) => wit::Error::Busy(clipped(&text)),
        AssetError::Lost(text) => wit::Error::Lost(clipped(&text)),
        AssetError::Unavailable(text) => wit::Error::Unavailable(clipped(&text)),
    }))
}

/// A text that can be a capability by its length.
fn capability(text: String) -> Result<String, AssetError> {
    let bytes = text.len();
    if bytes <= CAPABILITY_TEXT_BYTES_MAX {
        return Ok(text);
    }
    let text = format!("{bytes} bytes are no capability: one has {CAPABILITY_TEXT_BYTES_MAX}");
    Err(AssetError::Invalid(text))
}

impl Host {
    fn region(&mut self, region: &Resource<OpenRegion>) -> wasmtime::Result<Arc<dyn MemoryRegion>> {
        Ok(Arc::clone(&self.table().get(region)?.region))
    }

    /// A place among the regions that the replica's instances have open.
    fn region_place(&self) -> Result<OwnedSemaphorePermit, AssetError> {
        let place = Arc::clone(&self.guest().leased.places).try_acquire_owned();
        place.map_err(|_| {
            AssetError::Quota(format!(
                "the replica has {REGIONS_OPEN_MAX} regions open, the most at once"
            ))
        })
    }

    fn opened(
        &mut self,
        opened: Result<(Arc<dyn MemoryRegion>, OwnedSemaphorePermit), AssetError>,
    ) -> Answer<Resource<OpenRegion>> {
        match opened {
            Ok((region, place)) => {
                let open = OpenRegion {
                    region,
                    _place: place,
                };
                Ok(Ok(self.table().push(open)?))
            }
            Err(error) => answer(Err(error)),
        }
    }
}

impl wit::HostRegion for Host {
    async fn read(
        &mut self,
        region: Resource<OpenRegion>,
        offset: u64,
        bytes: u32,
    ) -> Answer<Vec<u8>> {
        let read = self.region(&region)?.read(offset, bytes);
        answer(read.await)
    }

    async fn write(
        &mut self,
        region: Resource<OpenRegion>,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Answer<()> {
        let written = self.region(&region)?.write(offset, bytes);
        answer(written.await)
    }

    async fn compare_and_swap(
        &mut self,
        region: Resource<OpenRegion>,
        offset: u64,
        expected: Vec<u8>,
        new: Vec<u8>,
    ) -> Answer<wit::Swapped> {
        let swapped = self.region(&region)?.swap(offset, expected, new);
        answer(swapped.await.map(|found| match found {
            None => wit::Swapped::Done,
            Some(found) => wit::Swapped::Found(found),
        }))
    }

    async fn size(&mut self, region: Resource<OpenRegion>) -> wasmtime::Result<u64> {
        Ok(self.region(&region)?.bytes())
    }

    async fn remaining(&mut self, region: Resource<OpenRegion>) -> Answer<u64> {
        let usage = self.region(&region)?.usage();
        answer(usage.await.map(|usage| usage.left_ms))
    }

    async fn usage(&mut self, region: Resource<OpenRegion>) -> Answer<wit::Usage> {
        let usage = self.region(&region)?.usage();
        answer(usage.await.map(|usage| wit::Usage {
            bytes: usage.bytes,
            resident_bytes: usage.resident_bytes,
            operations: usage.operations,
            left_ms: usage.left_ms,
        }))
    }

    async fn renew(&mut self, region: Resource<OpenRegion>, term_ms: u64) -> Answer<()> {
        let renewed = self.region(&region)?.renew(term_ms);
        answer(renewed.await)
    }

    async fn share(
        &mut self,
        region: Resource<OpenRegion>,
        rights: wit::Rights,
        offset: u64,
        bytes: u64,
        term_ms: u64,
        node: Option<String>,
    ) -> Answer<String> {
        let region = self.region(&region)?;
        answer(region.share(MemoryShare {
            read: rights.contains(wit::Rights::READ),
            write: rights.contains(wit::Rights::WRITE),
            swap: rights.contains(wit::Rights::SWAP),
            offset,
            bytes,
            term_ms,
            node,
        }))
    }

    async fn revoke(&mut self, region: Resource<OpenRegion>, text: String) -> Answer<()> {
        let region = self.region(&region)?;
        match capability(text) {
            Ok(text) => answer(region.revoke(text).await),
            Err(error) => answer(Err(error)),
        }
    }

    async fn drop(&mut self, region: Resource<OpenRegion>) -> wasmtime::Result<()> {
        self.table().delete(region)?;
        Ok(())
    }
}

impl wit::Host for Host {
    async fn allocate(&mut self, bytes: u64, term_ms: u64) -> Answer<Resource<OpenRegion>> {
        let begun = self.region_place().and_then(|place| {
            let memory = self.guest().leased.get()?;
            Ok((memory.allocate(bytes, term_ms), place))
        });
        let opened = match begun {
            Ok((allocated, place)) => allocated.await.map(|region| (region, place)),
            Err(error) => Err(error),
        };
        self.opened(opened)
    }

    async fn open(&mut self, text: String) -> Answer<Resource<OpenRegion>> {
        let begun = self.region_place().and_then(|place| {
            let text = capability(text)?;
            Ok((self.guest().leased.get()?.open(text), place))
        });
        let opened = match begun {
            Ok((opened, place)) => opened.await.map(|region| (region, place)),
            Err(error) => Err(error),
        };
        self.opened(opened)
    }
}
