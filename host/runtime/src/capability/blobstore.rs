//! `wasi:blobstore`: containers of the workload, contents through `wasi:io` streams.
//!
//! *Grant*: `capabilities.blobstore = "QUOTA"`; without it a component that imports the package is
//! refused at deploy. *Limits*: names and contents of the workload together stay within the quota;
//! [`crate::OPEN_CONTENTS_MAX`] contents are open at once per replica; names and counts have the
//! bounds of the store behind [`crate::BlobStore`]. *Denial*: the interface's error, a text that
//! names the bound; a quota ends the stream that is written and is [`crate::Breach::Quota`].
//!
//! A value becomes an object when it is finished, whole or not at all; `write-data` says before
//! that which object. Components from before `finish` was in the draft cannot say so: their value is
//! finished when the guest has dropped both it and its stream. A guest that is stopped or traps
//! drops nothing, so that leaves no half object. Offsets include the end, as far as the object goes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;
use types::Capability;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker, Resource};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use self::bindings::wasi::blobstore::{blobstore, container, types as wit};
use super::blob_streams::{Content, Input, OpenRead, Output, SharedContent};
use super::{Grant, Package};
use crate::bounds::{HOSTCALL_BYTES_MAX, STORE_NAMES_MAX};
use crate::errors::clipped;
use crate::host::Host;
use crate::services::StoreError;

pub(super) const PACKAGE: Package = Package {
    name: "wasi:blobstore",
    version: "0.2.0-draft",
    interfaces: &["blobstore", "container", "types"],
    grant: Some(Grant {
        interfaces: &["blobstore", "container", "types"],
        line: "capabilities.blobstore = \"QUOTA\"",
        covers: |capability| matches!(capability, Capability::Blobstore { .. }),
    }),
    link,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/wasi-io-0.2.1", "../../wit/deps/wasi-blobstore-0.2.0-draft"],
        world: "wasi:blobstore/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/types.incoming-value": super::IncomingValue,
            "wasi:blobstore/types.outgoing-value": super::OutgoingValue,
            "wasi:blobstore/container.container": super::Container,
            "wasi:blobstore/container.stream-object-names": super::ObjectNames,
        },
    });
}

/// An open container: its name is all there is to it.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Container {
    name: String,
}

/// A content that a guest may read.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct IncomingValue {
    open: OpenRead,
}

/// A content that a guest writes.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
#[derive(Default)]
pub struct OutgoingValue {
    /// There once the guest took its stream.
    content: Option<SharedContent>,
    /// The container and the object that it becomes.
    object: Option<(String, String)>,
}

/// A listing that a guest reads.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct ObjectNames {
    container: String,
    page: VecDeque<String>,
    last: Option<String>,
    more: bool,
}

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    container::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    blobstore::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

/// Whether a component imports the function that says that a value is whole.
pub(crate) fn finishes_values(component: &Component) -> bool {
    let (engine, component_type) = (component.engine(), component.component_type());
    let finishes = |(name, item): (&str, ComponentItem)| {
        let ComponentItem::ComponentInstance(interface) = item else {
            return false;
        };
        name.starts_with("wasi:blobstore/types@")
            && interface
                .exports(engine)
                .any(|(name, _)| name == "[static]outgoing-value.finish")
    };
    component_type
        .imports(engine)
        .any(|(name, item)| finishes((name, item.ty)))
}

type Answer<T> = wasmtime::Result<Result<T, String>>;

fn answer<T>(result: Result<T, StoreError>) -> Answer<T> {
    Ok(result.map_err(|error| clipped(&error.to_string())))
}

fn no_container(name: &str) -> StoreError {
    StoreError::Refused(format!("no container `{name}`"))
}

impl Host {
    fn container_name(&mut self, container: &Resource<Container>) -> wasmtime::Result<String> {
        Ok(self.table().get(container)?.name.clone())
    }

    async fn container_info(&mut self, name: String) -> Result<wit::ContainerMetadata, StoreError> {
        self.blobstore(move |store| {
            let info = store.container(&name)?.ok_or_else(|| no_container(&name))?;
            Ok(wit::ContainerMetadata {
                name,
                created_at: info.created_ms / 1_000,
            })
        })
        .await
    }

    async fn begin_content(&mut self) -> Result<Content, StoreError> {
        let place = self.guest().stores.open_content()?;
        let content = self.blobstore(|store| store.write()).await?;
        let (guest, meter) = (Arc::clone(self.guest()), Arc::clone(self.meter()));
        Ok(Content::new(guest, content, meter, place))
    }

    async fn finish_value(&mut self, value: OutgoingValue) -> Result<(), StoreError> {
        let content = match value.content {
            Some(content) => content.lock().await.take().await?,
            None => self.begin_content().await?.take().await?,
        };
        let Some((container, object)) = value.object else {
            return Err(StoreError::Refused(
                "write-data did not say which object".to_owned(),
            ));
        };
        self.blobstore(move |_| content.finish((&container, &object)))
            .await
    }

    /// Takes up to `count` names, fewer only at the end or at the bound of one call.
    async fn names(
        &mut self,
        names: &mut ObjectNames,
        count: u64,
    ) -> Result<Vec<String>, StoreError> {
        let count = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(STORE_NAMES_MAX);
        let mut taken = Vec::new();
        loop {
            let wanted = count - taken.len();
            taken.extend(names.page.drain(..wanted.min(names.page.len())));
            if !names.page.is_empty() || !names.more {
                return Ok(taken);
            }
            // Looked up also when enough are there: whether the end is reached must be said.
            let (container, last) = (names.container.clone(), names.last.clone());
            let page = self
                .blobstore(move |store| store.objects(&container, last.as_deref()))
                .await?;
            names.more = page.more;
            names.last = page.names.last().cloned().or_else(|| names.last.take());
            names.page = page.names.into();
        }
    }
}

impl wit::Host for Host {}

impl wit::HostOutgoingValue for Host {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<OutgoingValue>> {
        Ok(self.table().push(OutgoingValue::default())?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<OutgoingValue>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        if self.table().get(&value)?.content.is_some() {
            return Ok(Err(()));
        }
        let Ok(content) = self.begin_content().await else {
            return Ok(Err(()));
        };
        let content = Arc::new(Mutex::new(content));
        self.table().get_mut(&value)?.content = Some(Arc::clone(&content));
        let stream = Output {
            guest: Arc::clone(self.guest()),
            content,
        };
        let stream: DynOutputStream = Box::new(stream);
        // Not a child: components that finish a value before they drop its stream are deployed.
        Ok(Ok(self.table().push(stream)?))
    }

    async fn finish(&mut self, value: Resource<OutgoingValue>) -> Answer<()> {
        let value = self.table().delete(value)?;
        answer(self.finish_value(value).await)
    }

    async fn drop(&mut self, value: Resource<OutgoingValue>) -> wasmtime::Result<()> {
        let value = self.table().delete(value)?;
        if self.guest().finishes_values {
            return Ok(());
        }
        // Such a component is told of no error; the observer learns of a quota.
        match (value.content, value.object) {
            (Some(content), Some(object)) => content.lock().await.release(object).await,
            (None, Some(object)) => {
                let empty = OutgoingValue {
                    content: None,
                    object: Some(object),
                };
                let _ = self.finish_value(empty).await;
            }
            (_, None) => (),
        }
        Ok(())
    }
}

impl wit::HostIncomingValue for Host {
    async fn incoming_value_consume_sync(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> Answer<Vec<u8>> {
        let mut open = self.table().delete(value)?.open;
        let left = open.content.left();
        if left > HOSTCALL_BYTES_MAX as u64 {
            let text = format!("{left} bytes are read as a stream: {HOSTCALL_BYTES_MAX} at once");
            return answer(Err(StoreError::Refused(text)));
        }
        let read = self.blobstore(move |_| {
            let mut whole = Vec::new();
            while open.content.left() > 0 {
                whole.extend(open.content.read(HOSTCALL_BYTES_MAX)?);
            }
            Ok(whole)
        });
        answer(read.await)
    }

    async fn incoming_value_consume_async(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> Answer<Resource<DynInputStream>> {
        let open = self.table().delete(value)?.open;
        let stream: DynInputStream = Box::new(Input::new(Arc::clone(self.guest()), open));
        Ok(Ok(self.table().push(stream)?))
    }

    async fn size(&mut self, value: Resource<IncomingValue>) -> wasmtime::Result<u64> {
        Ok(self.table().get(&value)?.open.content.left())
    }

    async fn drop(&mut self, value: Resource<IncomingValue>) -> wasmtime::Result<()> {
        self.table().delete(value)?;
        Ok(())
    }
}

impl container::Host for Host {}

impl container::HostContainer for Host {
    async fn name(&mut self, container: Resource<Container>) -> Answer<String> {
        Ok(Ok(self.container_name(&container)?))
    }

    async fn info(&mut self, container: Resource<Container>) -> Answer<wit::ContainerMetadata> {
        let name = self.container_name(&container)?;
        answer(self.container_info(name).await)
    }

    async fn get_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        start: u64,
        end: u64,
    ) -> Answer<Resource<IncomingValue>> {
        let container = self.container_name(&container)?;
        let place = match self.guest().stores.open_content() {
            Ok(place) => place,
            Err(error) => return answer(Err(error)),
        };
        let content = self
            .blobstore(move |store| store.read((&container, &name), start, end))
            .await;
        match content {
            Ok(content) => {
                let open = OpenRead {
                    content,
                    _place: place,
                };
                Ok(Ok(self.table().push(IncomingValue { open })?))
            }
            Err(error) => answer(Err(error)),
        }
    }

    async fn write_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        value: Resource<OutgoingValue>,
    ) -> Answer<()> {
        let container = self.container_name(&container)?;
        if let Err(error) = self.container_info(container.clone()).await {
            return answer(Err(error));
        }
        let object = &mut self.table().get_mut(&value)?.object;
        if object.is_some() {
            return answer(Err(StoreError::Refused(
                "the value is another object".to_owned(),
            )));
        }
        *object = Some((container, name));
        Ok(Ok(()))
    }

    async fn list_objects(
        &mut self,
        container: Resource<Container>,
    ) -> Answer<Resource<ObjectNames>> {
        let container = self.container_name(&container)?;
        let (page, last, more) = (VecDeque::new(), None, true);
        Ok(Ok(self.table().push(ObjectNames {
            container,
            page,
            last,
            more,
        })?))
    }

    async fn delete_object(&mut self, container: Resource<Container>, name: String) -> Answer<()> {
        container::HostContainer::delete_objects(self, container, vec![name]).await
    }

    async fn delete_objects(
        &mut self,
        container: Resource<Container>,
        names: Vec<String>,
    ) -> Answer<()> {
        let container = self.container_name(&container)?;
        answer(
            self.blobstore(move |store| store.delete(&container, names))
                .await,
        )
    }

    async fn has_object(&mut self, container: Resource<Container>, name: String) -> Answer<bool> {
        let container = self.container_name(&container)?;
        let found = self
            .blobstore(move |store| store.object((&container, &name)))
            .await;
        answer(found.map(|found| found.is_some()))
    }

    async fn object_info(
        &mut self,
        container: Resource<Container>,
        name: String,
    ) -> Answer<wit::ObjectMetadata> {
        let container = self.container_name(&container)?;
        let info = self.blobstore(move |store| {
            let info = store.object((&container, &name))?;
            let info = info.ok_or_else(|| {
                StoreError::Refused(format!("no object `{name}` in container `{container}`"))
            })?;
            let (created_at, size) = (info.created_ms / 1_000, info.bytes);
            Ok(wit::ObjectMetadata {
                name,
                container,
                created_at,
                size,
            })
        });
        answer(info.await)
    }

    async fn clear(&mut self, container: Resource<Container>) -> Answer<()> {
        let container = self.container_name(&container)?;
        answer(
            self.blobstore(move |store| store.clear(&container, false))
                .await,
        )
    }

    async fn drop(&mut self, container: Resource<Container>) -> wasmtime::Result<()> {
        self.table().delete(container)?;
        Ok(())
    }
}

impl container::HostStreamObjectNames for Host {
    async fn read_stream_object_names(
        &mut self,
        stream: Resource<ObjectNames>,
        count: u64,
    ) -> Answer<(Vec<String>, bool)> {
        let empty = ObjectNames {
            container: String::new(),
            page: VecDeque::new(),
            last: None,
            more: false,
        };
        let mut names = std::mem::replace(self.table().get_mut(&stream)?, empty);
        let taken = self.names(&mut names, count).await;
        let end = names.page.is_empty() && !names.more;
        *self.table().get_mut(&stream)? = names;
        answer(taken.map(|taken| (taken, end)))
    }

    async fn skip_stream_object_names(
        &mut self,
        stream: Resource<ObjectNames>,
        count: u64,
    ) -> Answer<(u64, bool)> {
        let read = container::HostStreamObjectNames::read_stream_object_names(self, stream, count);
        Ok(read.await?.map(|(names, end)| (names.len() as u64, end)))
    }

    async fn drop(&mut self, stream: Resource<ObjectNames>) -> wasmtime::Result<()> {
        self.table().delete(stream)?;
        Ok(())
    }
}

impl blobstore::Host for Host {
    async fn create_container(&mut self, name: String) -> Answer<Resource<Container>> {
        let created = name.clone();
        match self
            .blobstore(move |store| store.create_container(&created))
            .await
        {
            Ok(()) => Ok(Ok(self.table().push(Container { name })?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn get_container(&mut self, name: String) -> Answer<Resource<Container>> {
        match self.container_info(name).await {
            Ok(found) => Ok(Ok(self.table().push(Container { name: found.name })?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn delete_container(&mut self, name: String) -> Answer<()> {
        answer(self.blobstore(move |store| store.clear(&name, true)).await)
    }

    async fn container_exists(&mut self, name: String) -> Answer<bool> {
        let found = self.blobstore(move |store| store.container(&name)).await;
        answer(found.map(|found| found.is_some()))
    }

    async fn copy_object(&mut self, from: wit::ObjectId, to: wit::ObjectId) -> Answer<()> {
        let copied = self.blobstore(move |store| {
            store.copy((&from.container, &from.object), (&to.container, &to.object))
        });
        answer(copied.await)
    }

    async fn move_object(&mut self, from: wit::ObjectId, to: wit::ObjectId) -> Answer<()> {
        let moved = self.blobstore(move |store| {
            store.rename((&from.container, &from.object), (&to.container, &to.object))
        });
        answer(moved.await)
    }
}
