//! HyperMesh guests in Rust: the host's interfaces as plain Rust, and a host in memory for tests.
//!
//! | kind | written as |
//! |---|---|
//! | HTTP service | [`http_service!`] and a function from [`http::Request`] to an [`http::Answer`] |
//! | worker | [`message_handler!`] and a function of a [`messaging::Message`] |
//! | command | an ordinary `fn main` |
//! | library | [`library!`] and an implementation of the trait that it makes from your WIT |
//!
//! ```
//! use hypermesh_guest::{http, keyvalue};
//!
//! hypermesh_guest::http_service!(handle);
//!
//! fn handle(_: http::Request) -> Result<String, keyvalue::Error> {
//!     let visits = keyvalue::Bucket::open("default")?.increment("visits", 1)?;
//!     Ok(format!("visit {visits}\n"))
//! }
//! ```
//!
//! Compiled for `wasm32-wasip2`, each function calls the host, and a component imports only what it
//! calls. Compiled for your own machine, the same functions work on [`mock`], a host in memory, so
//! that `cargo test` needs no node:
//!
//! ```
//! # use hypermesh_guest::{http, keyvalue};
//! # fn handle(_: http::Request) -> Result<String, keyvalue::Error> {
//! #     let visits = keyvalue::Bucket::open("default")?.increment("visits", 1)?;
//! #     Ok(format!("visit {visits}\n"))
//! # }
//! use hypermesh_guest::mock;
//!
//! mock::reset();
//! assert_eq!(mock::call(handle, mock::get("/")).1, "visit 1\n");
//! assert_eq!(mock::call(handle, mock::get("/")).1, "visit 2\n");
//! ```

pub mod blob;
pub mod config;
pub mod cpu;
pub mod http;
pub mod keyvalue;
pub mod ledger;
pub mod lifecycle;
pub mod log;
pub mod memory;
pub mod messaging;
pub mod network;
pub mod proofs;
pub mod volume;

#[cfg(not(target_os = "wasi"))]
pub mod mock;

mod library;
#[cfg(target_os = "wasi")]
mod wasi;

#[cfg(not(target_os = "wasi"))]
use mock as host;
#[cfg(target_os = "wasi")]
use wasi as host;

/// What the macros expand to. Not for direct use: it changes without notice.
#[doc(hidden)]
pub mod __macros {
    pub use wit_bindgen;

    #[cfg(target_os = "wasi")]
    pub use crate::wasi::{http::serve, lifecycle, worker};
    #[cfg(target_os = "wasi")]
    pub use wasip2;
}
