//! The export of `wasi:messaging/incoming-handler`, for the macro `message_handler!`.

#![allow(
    missing_docs,
    unreachable_pub,
    reason = "generated, and seen by the macro only; the contract is documented in wit/"
)]

wit_bindgen::generate!({
    inline: "
        package hypermesh:guest;
        world worker { export wasi:messaging/incoming-handler@0.2.0-draft; }
    ",
    path: ["wit/deps/wasi-messaging-0.2.0-draft"],
    world: "hypermesh:guest/worker",
    with: { "wasi:messaging/types@0.2.0-draft": crate::wasi::imports::wasi::messaging::types },
    pub_export_macro: true,
    export_macro_name: "export",
    default_bindings_module: "hypermesh_guest::__macros::worker",
});

pub use crate::wasi::imports::wasi::messaging::types::{Error, Message};
pub use exports::wasi::messaging::incoming_handler::Guest;

use crate::messaging::{self, Outcome};

/// Hands `message` to `handle`.
pub fn received<O: Outcome>(
    handle: impl FnOnce(messaging::Message) -> O,
    message: Message,
) -> Result<(), Error> {
    let received = messaging::Message {
        topic: message.topic().unwrap_or_default(),
        data: message.data(),
        content_type: message.content_type(),
        metadata: message.metadata().unwrap_or_default(),
    };
    // The host counts what it holds for an instance: ours is a copy.
    drop(message);
    handle(received).outcome().map_err(Error::Other)
}
