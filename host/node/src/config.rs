//! What a node is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use types::{ByteSize, HostPattern};

use crate::founding::Founding;
use crate::ingress_tls::HttpsCertificate;

/// How a node runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Where everything of the node is kept; made if it is not there.
    pub data_dir: PathBuf,
    /// The fabric that a fresh directory is to found with others; one of this node alone if none.
    pub founding: Option<Founding>,
    /// Where HTTP for workloads is served; nowhere if none.
    pub http: Option<SocketAddr>,
    /// Where HTTPS for workloads is served, and whose certificate it shows; nowhere if none.
    pub https: Option<(SocketAddr, HttpsCertificate)>,
    /// Where other nodes and remote operators reach this one; it only dials out if none.
    pub stoq: Option<SocketAddr>,
    /// What others are told instead of the address that this node listens at.
    pub advertise: Vec<SocketAddr>,
    /// Whether the node looks for members on the local network by multicast DNS, and is found there
    /// if it listens.
    pub mdns: bool,
    /// Instances that may live at once; derived from the machine if none.
    pub instances: Option<u32>,
    /// Bytes that all artifacts may take together; a share of the disk if none.
    pub storage_quota: Option<ByteSize>,
    /// Where guests of other nodes that lease transport of this one may have it dial; nowhere if empty.
    pub dial_for_leases: Vec<HostPattern>,
    /// Blocks that the ledger may be behind its peers before it takes their state over instead of
    /// executing what it missed; [`consensus::Config::SYNC_BEYOND_BLOCKS`] if none.
    pub sync_beyond_blocks: Option<u64>,
}
