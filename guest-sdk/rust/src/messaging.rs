//! Messages between components, by `wasi:messaging`. Who receives them is the manifests' business.

use std::fmt::Display;

use crate::host;

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The manifest does not grant the topic with `publish`, in the host's words.
    #[error("{0}")]
    Denied(String),
    /// The node passes no messages on, in the host's words.
    #[error("{0}")]
    NotConnected(String),
    /// It took longer than the host waits.
    #[error("publishing took too long")]
    TimedOut,
    /// Something else, in the host's words: the queue of a subscriber is full, the message is too
    /// large, the topic is none.
    #[error("{0}")]
    Host(String),
}

/// A message, received or to be published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// What it is addressed to.
    pub topic: String,
    /// The message itself.
    pub data: Vec<u8>,
    /// The format of `data`, such as `application/json`.
    pub content_type: Option<String>,
    /// Names and values that the host passes on and does not look at.
    pub metadata: Vec<(String, String)>,
}

impl Message {
    /// A message of `data` to `topic`.
    #[must_use]
    pub fn new(topic: &str, data: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.to_owned(),
            data: data.into(),
            ..Self::default()
        }
    }

    /// The same message with a format.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.to_owned());
        self
    }

    /// The same message with one name and value more.
    #[must_use]
    pub fn metadata(mut self, name: &str, value: &str) -> Self {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The data as text; what is not UTF-8 becomes the replacement character.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    /// Sends it to every component that subscribes to its topic. Returns when it is queued for all
    /// of them, before any of them has it.
    ///
    /// ```
    /// use hypermesh_guest::{messaging::Message, mock};
    ///
    /// # mock::reset();
    /// let order = Message::new("orders", "{}").content_type("application/json");
    /// order.clone().publish()?;
    /// assert_eq!(mock::published(), [order]);
    /// # Ok::<(), hypermesh_guest::messaging::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error`]; no subscriber gets it then.
    pub fn publish(self) -> Result<(), Error> {
        host::messaging::publish(self)
    }
}

/// Sends `data` to every component that subscribes to `topic`. The manifest must grant the topic:
/// `publish = ["orders"]` under `component.capabilities`.
///
/// ```
/// use hypermesh_guest::{messaging, mock};
///
/// # mock::reset();
/// messaging::publish("orders", "three apples")?;
/// assert_eq!(mock::published()[0].text(), "three apples");
/// # Ok::<(), hypermesh_guest::messaging::Error>(())
/// ```
///
/// # Errors
/// As [`Message::publish`].
pub fn publish(topic: &str, data: impl Into<Vec<u8>>) -> Result<(), Error> {
    Message::new(topic, data).publish()
}

/// What a handler of messages may return: nothing, or a result. After an error, as after a trap, the
/// host delivers the message again, a few times.
pub trait Outcome {
    /// `Ok` if the message is done with, or why it is not.
    ///
    /// # Errors
    /// A sentence for the log of the component.
    fn outcome(self) -> Result<(), String>;
}

impl Outcome for () {
    fn outcome(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn outcome(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// Handles messages with a function from [`Message`](crate::messaging::Message) to any
/// [`Outcome`](crate::messaging::Outcome). For a crate of type `cdylib`; which topics it gets stands
/// in `subscriptions` of the manifest.
///
/// A message may come more than once, and several at once in several instances.
///
/// ```
/// use hypermesh_guest::{keyvalue, messaging::Message, mock};
///
/// hypermesh_guest::message_handler!(handle);
///
/// fn handle(message: Message) -> Result<(), keyvalue::Error> {
///     keyvalue::Bucket::open("default")?.set("latest", message.data)
/// }
///
/// # mock::reset();
/// mock::deliver(handle, Message::new("orders", "three apples"))?;
/// let stored = keyvalue::Bucket::open("default").unwrap().get_text("latest");
/// assert_eq!(stored.unwrap().as_deref(), Some("three apples"));
/// # Ok::<(), String>(())
/// ```
#[macro_export]
macro_rules! message_handler {
    ($handle:path) => {
        #[cfg(target_os = "wasi")]
        const _: () = {
            use $crate::__macros::worker;
            struct Worker;
            impl worker::Guest for Worker {
                fn handle(message: worker::Message) -> Result<(), worker::Error> {
                    worker::received($handle, message)
                }
            }
    worker::export!(Worker with_types_in worker);
        };
        #[cfg(not(target_os = "wasi"))]
        const _: fn($crate::messaging::Message) -> Result<(), String> =
            |message| $crate::messaging::Outcome::outcome($handle(message));
    };
}
