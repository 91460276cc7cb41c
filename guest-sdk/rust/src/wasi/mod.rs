//! The host as components see it: bindings made from `wit/`, and their translation.

pub(crate) mod blob;
pub(crate) mod config;
pub(crate) mod cpu;
pub(crate) mod http;
pub(crate) mod keyvalue;
pub(crate) mod ledger;
pub mod lifecycle;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod messaging;
pub(crate) mod network;
pub(crate) mod proofs;
pub(crate) mod volume;
pub mod worker;

use std::time::Duration;

/// Milliseconds, as the interfaces of leases count.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Imports. A component imports those that it calls, and no other.
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "generated; some of it is used by no translation"
)]
mod imports {
    wit_bindgen::generate!({
        inline: "
            package hypermesh:guest;
            world imports {
                import wasi:config/store@0.2.0-rc.1;
                import wasi:logging/logging@0.1.0-draft;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:keyvalue/batch@0.2.0-draft;
                import wasi:blobstore/types@0.2.0-draft;
                import wasi:blobstore/container@0.2.0-draft;
                import wasi:blobstore/blobstore@0.2.0-draft;
                import wasi:messaging/producer@0.2.0-draft;
                import hypermesh:consensus/ledger@0.1.0;
                import hypermesh:consensus/proofs@0.1.0;
                import hypermesh:assets/memory@0.1.0;
                import hypermesh:assets/cpu@0.1.0;
                import hypermesh:assets/network@0.1.0;
                import hypermesh:assets/volumes@0.1.0;
            }
        ",
        path: [
            "wit/deps/wasi-io-0.2.1",
            "wit/deps/wasi-config-0.2.0-rc.1",
            "wit/deps/wasi-logging-0.1.0-draft",
            "wit/deps/wasi-keyvalue-0.2.0-draft",
            "wit/deps/wasi-blobstore-0.2.0-draft",
            "wit/deps/wasi-messaging-0.2.0-draft",
            "wit/consensus",
            "wit/assets",
        ],
        world: "hypermesh:guest/imports",
        with: {
            "wasi:io/error@0.2.1": wasip2::io::error,
            "wasi:io/poll@0.2.1": wasip2::io::poll,
            "wasi:io/streams@0.2.1": wasip2::io::streams,
        },
        generate_all,
    });
}
