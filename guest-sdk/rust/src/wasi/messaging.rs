//! `wasi:messaging`: messages that go out.

use super::imports::wasi::messaging::{producer, types};
use crate::messaging::{Error, Message};

/// The connection of that name; a node has one bus, whatever it is called.
const BUS: &str = "default";

pub(crate) fn publish(message: Message) -> Result<(), Error> {
    let client = types::Client::connect(BUS).map_err(error)?;
    let out = types::Message::new(&message.data);
    if let Some(content_type) = &message.content_type {
        out.set_content_type(content_type);
    }
    if !message.metadata.is_empty() {
        out.set_metadata(&message.metadata);
    }
    producer::send(&client, &message.topic, out).map_err(error)
}

fn error(error: types::Error) -> Error {
    match error {
        types::Error::Timeout => Error::TimedOut,
        types::Error::Connection(text) => Error::NotConnected(text),
        types::Error::PermissionDenied(text) => Error::Denied(text),
        types::Error::Other(text) => Error::Host(text),
    }
}
