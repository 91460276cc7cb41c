//! Why a node does not start: one sentence that says what, where and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::machine::TooManyInstances;

/// A node that did not start. Nothing was changed that a second try would miss.
#[derive(Debug, thiserror::Error)]
pub enum StartNodeError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}{}", advice(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error(
        "data directory {path} is in use by another node: stop that one or name another directory with --data"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Written by another release.
    #[error(
        "data directory {path} was written by another version (format {found}, this one knows {known}): use that version or another directory"
    )]
    OtherFormat {
        /// The directory.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What this release writes.
        known: u32,
    },
    /// Not a data directory of ours.
    #[error("{path} is damaged: {reason}; restore the data directory from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Not empty, and not ours.
    #[error("{path} is not empty and not a data directory: name an empty or a new one with --data")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The name of the admin socket would be too long for the system.
    #[error(
        "the path of the admin socket, {path}, has {bytes} bytes and the system takes {max}: choose a data directory with a shorter path"
    )]
    SocketPath {
        /// Where it would be.
        path: PathBuf,
        /// How long that is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The address for HTTP cannot be had.
    #[error("cannot listen on {address}: {source}{}", listen_advice(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What came back.
        source: io::Error,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] trust::IdentityError),
    /// The artifact store cannot be used.
    #[error(transparent)]
    Storage(#[from] storage::StorageError),
    /// The kernel has too few memory mappings for the pool.
    #[error(transparent)]
    Instances(#[from] TooManyInstances),
    /// No engine for guests.
    #[error("the runtime does not start: {0}")]
    Runtime(#[from] runtime::StartRuntimeError),
    /// No certificate for HTTPS.
    #[error("HTTPS cannot be served: {0}")]
    Certificate(#[from] crate::ingress_tls::ServeTlsError),
    /// No way to other nodes.
    #[error(transparent)]
    Peers(#[from] crate::peers::OpenPeersError),
    /// No fabric behind a ticket.
    #[error(transparent)]
    Bootstrap(#[from] crate::peers::BootstrapError),
    /// Not let in.
    #[error("this node did not join: {0}")]
    Join(#[from] crate::peers::JoinError),
    /// A ticket for another fabric than the directory's.
    #[error(
        "data directory {path} belongs to fabric {}, the ticket is for {}: join with another --data", found.short(), wanted.short()
    )]
    OtherFabric {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: types::FabricId,
        /// The ticket's.
        wanted: types::FabricId,
    },
    /// A node that was about to join, or had to go.
    #[error("this node is not a member of fabric {}{reason}; join with `nexus join TICKET`", fabric.short())]
    NotAMember {
        /// The fabric.
        fabric: types::FabricId,
        /// Why, where that is known.
        reason: String,
    },
    /// Others found a fabric, and this node is not among them.
    #[error(
        "node {node}, whose keys are in {path}, is not among the validators that found the \
         fabric: `nexus node prepare` shows each machine's id"
    )]
    NotAFounder {
        /// This node.
        node: types::NodeId,
        /// Its directory.
        path: PathBuf,
    },
    /// No ledger.
    #[error(transparent)]
    Ledger(#[from] consensus::StartError),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run as the user that owns it or name another directory with --data"
        }
        io::ErrorKind::NotFound => "; name another directory with --data",
        io::ErrorKind::ReadOnlyFilesystem => "; name a directory that can be written with --data",
        io::ErrorKind::StorageFull => "; free some space or name another directory with --data",
        _ => "",
    }
}

fn listen_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what uses it or choose another address with --http",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need privileges: choose another with --http"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: choose another with --http"
        }
        _ => "",
    }
}
