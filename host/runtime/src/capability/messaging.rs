//! `wasi:messaging`: publishing to granted topics, and the messages that workers are handed.
//!
//! Granted is `capabilities.publish`, a list of topics; without it an import of `producer` is
//! refused before anything runs. What a worker receives is not a right but `subscriptions`.
//!
//! Limits: a message of [`MESSAGE_BYTES_MAX`], and [`MESSAGE_BYTES_HELD_MAX`] for all messages that
//! an instance holds at once; more is a trap, because the interface has no error for it.
//!
//! Denied with `permission-denied` and a [`Denial::Publish`]: a topic that is not granted. A full
//! queue, a message above the bound and a text that is no topic are `other`, a node without
//! messaging is `connection`. `client` is there for form: every name connects to the node's bus.

use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::messaging::producer;
use self::bindings::wasi::messaging::types::{self as wit, Error, HostClient, HostMessage};
use super::{Grant, Package};
use crate::bounds::MESSAGE_BYTES_HELD_MAX;
use crate::errors::clipped;
use crate::host::Host;
use crate::message::{Message, counted};
use crate::observer::Denial;
use types::{Capability, Topic};

pub(crate) use self::bindings::MessagingCorePre;

#[allow(
    missing_docs,
    unreachable_pub,
    reason = "generated from the WIT package, which documents it"
)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-messaging-0.2.0-draft",
        world: "messaging-core",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:messaging/types.client": super::Client,
            "wasi:messaging/types.message": super::Draft,
        },
    });
}

pub(super) const PACKAGE: Package = Package {
    name: "wasi:messaging",
    version: "0.2.0-draft",
    interfaces: &["producer", "types"],
    grant: Some(Grant {
        interfaces: &["producer"],
        line: "capabilities.publish = [\"TOPIC\"]",
        covers: |capability| matches!(capability, Capability::Publish { .. }),
    }),
    link,
};

fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wit::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)?;
    producer::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

/// A connection of a guest to the bus. Holds nothing: there is one bus.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Client;

/// A message in a guest's hands.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Draft {
    topic: Option<Topic>,
    content_type: Option<String>,
    metadata: Option<Vec<(String, String)>>,
    data: Vec<u8>,
}

/// The topics that the manifest grants, for all instances of a replica.
pub(crate) fn granted_topics(capabilities: &[Capability]) -> Vec<Topic> {
    let granted = capabilities.iter().find_map(|capability| match capability {
        Capability::Publish { topics } => Some(topics.clone()),
        _ => None,
    });
    granted.unwrap_or_default()
}

impl Draft {
    pub(crate) fn received(message: Message) -> Self {
        let Message {
            topic,
            content_type,
            metadata,
            data,
        } = message;
        Self {
            topic: Some(topic),
            content_type,
            metadata: (!metadata.is_empty()).then_some(metadata),
            data: data.into(),
        }
    }

    fn bytes(&self) -> usize {
        let metadata = self.metadata.as_deref().unwrap_or_default();
        counted(self.content_type.as_deref(), metadata, self.data.len())
    }
}

impl Host {
    /// Gives a guest a message, within what it may hold.
    pub(crate) fn receive(&mut self, draft: Draft) -> wasmtime::Result<Resource<Draft>> {
        self.hold(draft.bytes())?;
        Ok(self.table.push(draft)?)
    }

    fn hold(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.message_bytes += bytes;
        if self.message_bytes > MESSAGE_BYTES_HELD_MAX {
            let held = self.message_bytes;
            wasmtime::bail!(
                "messages of {held} bytes held at once, the most is {MESSAGE_BYTES_HELD_MAX}"
            );
        }
        Ok(())
    }

    fn change(
        &mut self,
        draft: &Resource<Draft>,
        edit: impl FnOnce(&mut Draft),
    ) -> wasmtime::Result<()> {
        let draft = self.table.get_mut(draft)?;
        let before = draft.bytes();
        edit(draft);
        let after = draft.bytes();
        self.message_bytes = self.message_bytes.saturating_sub(before);
        self.hold(after)
    }

    fn take(&mut self, draft: Resource<Draft>) -> wasmtime::Result<Draft> {
        let draft = self.table.delete(draft)?;
        self.message_bytes = self.message_bytes.saturating_sub(draft.bytes());
        Ok(draft)
    }

    fn publish(&self, topic: &str, draft: Draft) -> Result<(), Error> {
        let topic: Topic = topic.parse().map_err(other)?;
        if !self.guest().publish.contains(&topic) {
            let denial = Denial::Publish { topic };
            let text = denial.to_string();
            self.outgoing.meter().denied(denial);
            return Err(Error::PermissionDenied(text));
        }
        let message = Message {
            topic,
            content_type: draft.content_type,
            metadata: draft.metadata.unwrap_or_default(),
            data: draft.data.into(),
        };
        message.check().map_err(other)?;
        let Some(publisher) = &self.guest().publisher else {
            return Err(Error::Connection(
                "this node passes no messages on".to_owned(),
            ));
        };
        publisher.publish(message).map(|_| ()).map_err(other)
    }
}

fn other(error: impl std::fmt::Display) -> Error {
    Error::Other(clipped(&error.to_string()))
}

impl producer::Host for Host {
    fn send(
        &mut self,
        client: Resource<Client>,
        topic: String,
        draft: Resource<Draft>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.table.get(&client)?;
        let draft = self.take(draft)?;
        Ok(self.publish(&topic, draft))
    }
}

impl wit::Host for Host {}

impl HostClient for Host {
    fn connect(&mut self, _name: String) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        Ok(Ok(self.table.push(Client)?))
    }

    fn disconnect(&mut self, client: Resource<Client>) -> wasmtime::Result<Result<(), Error>> {
        self.table.get(&client)?;
        Ok(Ok(()))
    }

    fn drop(&mut self, client: Resource<Client>) -> wasmtime::Result<()> {
        self.table.delete(client)?;
        Ok(())
    }
}

impl HostMessage for Host {
    fn new(&mut self, data: Vec<u8>) -> wasmtime::Result<Resource<Draft>> {
        self.receive(Draft {
            topic: None,
            content_type: None,
            metadata: None,
            data,
        })
    }

    fn topic(&mut self, draft: Resource<Draft>) -> wasmtime::Result<Option<String>> {
        let topic = self.table.get(&draft)?.topic.as_ref();
        Ok(topic.map(ToString::to_string))
    }

    fn content_type(&mut self, draft: Resource<Draft>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&draft)?.content_type.clone())
    }

    fn set_content_type(&mut self, draft: Resource<Draft>, text: String) -> wasmtime::Result<()> {
        self.change(&draft, |draft| draft.content_type = Some(text))
    }

    fn data(&mut self, draft: Resource<Draft>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&draft)?.data.clone())
    }

    fn set_data(&mut self, draft: Resource<Draft>, data: Vec<u8>) -> wasmtime::Result<()> {
        self.change(&draft, |draft| draft.data = data)
    }

    fn metadata(
        &mut self,
        draft: Resource<Draft>,
    ) -> wasmtime::Result<Option<Vec<(String, String)>>> {
        Ok(self.table.get(&draft)?.metadata.clone())
    }

    fn add_metadata(
        &mut self,
        draft: Resource<Draft>,
        key: String,
        value: String,
    ) -> wasmtime::Result<()> {
        self.change(&draft, |draft| {
            let metadata = draft.metadata.get_or_insert_default();
            metadata.retain(|(known, _)| *known != key);
            metadata.push((key, value));
        })
    }

    fn set_metadata(
        &mut self,
        draft: Resource<Draft>,
        metadata: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        self.change(&draft, |draft| draft.metadata = Some(metadata))
    }

    fn remove_metadata(&mut self, draft: Resource<Draft>, key: String) -> wasmtime::Result<()> {
        self.change(&draft, |draft| {
            if let Some(metadata) = &mut draft.metadata {
                metadata.retain(|(known, _)| *known != key);
            }
        })
    }

    fn drop(&mut self, draft: Resource<Draft>) -> wasmtime::Result<()> {
        self.take(draft).map(|_| ())
    }
}
